/**
 * `npm run lstm`: a recurrent network reads handwritten digits row by row, and predicts the digit after the last row. It remembers earlier
 * rows only through its state. A training step is one compiled program.
 */
import { compile, losses, manualSeed, nn, optim, type Tensor } from "nabla";
import { options, trainAndTest } from "../cli/mnist/classify.ts";
import { CLASSES, PIXELS, SIDE } from "../cli/mnist/data.ts";

const settings = options("lstm", "a recurrent network that reads one row of pixels at a time", { epochs: 4, lr: 4e-3 });

class RowReader extends nn.Module {
  readonly lstm = new nn.LSTM(SIDE, 128, { batchFirst: true });
  readonly linear = new nn.Linear(128, CLASSES);

  /** pixels: uint8 [batch · 784] → logits: [batch, 10] */
  forward(pixels: Tensor): Tensor {
    const rows = pixels
      .to("float32")
      .div(255)
      .reshape([pixels.size / PIXELS, SIDE, SIDE]);
    const [, [hn]] = this.lstm.forward(rows);
    return this.linear.forward(hn.squeeze(0));
  }
}

manualSeed(settings.seed);
const model = new RowReader();
const optimizer = new optim.Adam(model.parameters(), { lr: settings.lr });
const step = compile((pixels: Tensor, labels: Tensor) =>
  optimizer.minimize(() => losses.crossEntropy(model.forward(pixels), labels)),
);
const read = compile((pixels: Tensor) => model.forward(pixels).argMax(-1));

await trainAndTest({ model, optimizer, step, read }, settings);
