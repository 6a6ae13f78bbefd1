/**
 * `npm run cnn`: a convolutional network learns to read handwritten digits. Its test accuracy is about 99% after a
 * minute. The network has two convolutions with pooling and a linear layer. Each training step is one compiled program.
 */
import { compile, losses, manualSeed, nn, optim, type Tensor } from "nabla";
import { options, trainAndTest } from "../cli/mnist/classify.ts";
import { CLASSES, PIXELS, SIDE } from "../cli/mnist/data.ts";

const settings = options("cnn", "a convolutional network", { epochs: 6, lr: 2e-3 });

manualSeed(settings.seed);
// Channels are last: [batch, 28, 28, 1] → [batch, 14, 14, 16] → [batch, 7, 7, 32] → [batch, 1568] → [batch, 10].
const model = new nn.Sequential(
  new nn.Conv2d(1, 16, 3, { padding: "same" }),
  new nn.ReLU(),
  new nn.MaxPool2d(2),
  new nn.Conv2d(16, 32, 3, { padding: "same" }),
  new nn.ReLU(),
  new nn.MaxPool2d(2),
  new nn.Flatten(),
  new nn.Dropout(0.3),
  new nn.Linear(7 * 7 * 32, CLASSES),
);
const optimizer = new optim.Adam(model.parameters(), { lr: settings.lr });
const images = (pixels: Tensor): Tensor =>
  pixels
    .to("float32")
    .div(255)
    .reshape([pixels.size / PIXELS, SIDE, SIDE, 1]);

const step = compile((pixels: Tensor, labels: Tensor) =>
  optimizer.minimize(() => losses.crossEntropy(model.forward(images(pixels)), labels)),
);
const read = compile((pixels: Tensor) => model.forward(images(pixels)).argMax(-1));

await trainAndTest({ model, optimizer, step, read }, settings);
