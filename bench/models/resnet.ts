/** ResNet-18 (He et al. 2016): two residual blocks for each of four widths. */
import { globalAvgPool2d, nn, type Tensor } from "../../src/index.ts";

const conv = (from: number, to: number, kernelSize: number, stride: number): nn.Sequential =>
  new nn.Sequential(
    new nn.Conv2d(from, to, kernelSize, { stride, padding: kernelSize >> 1, bias: false }),
    new nn.BatchNorm2d(to),
  );

/** Two 3×3 convolutions, added to the input, which a 1×1 convolution resizes if the block has a stride. */
class Block extends nn.Module {
  private readonly first: nn.Sequential;
  private readonly second: nn.Sequential;
  private readonly shortcut: nn.Module;

  constructor(from: number, to: number, stride: number) {
    super();
    this.first = conv(from, to, 3, stride);
    this.second = conv(to, to, 3, 1);
    this.shortcut = stride > 1 ? conv(from, to, 1, stride) : new nn.Identity();
  }
  forward(x: Tensor): Tensor {
    const y = this.second.forward(this.first.forward(x).relu());
    return y.add(this.shortcut.forward(x)).relu();
  }
}

/** The stem for images of 224² pixels, and the one for images of 32² pixels, which keeps their resolution. */
export const stems = {
  large: () => [conv(3, 64, 7, 2), new nn.ReLU(), new nn.MaxPool2d(3, { stride: 2, padding: 1 })],
  small: () => [conv(3, 64, 3, 1), new nn.ReLU()],
};

/** images [batch, height, width, 3] → logits [batch, classes]. */
export class ResNet18 extends nn.Module {
  private readonly features: nn.Sequential;
  private readonly linear: nn.Linear;

  constructor(stem: keyof typeof stems, classes: number) {
    super();
    const blocks = [64, 128, 256, 512].flatMap((width, i) => [
      new Block(i ? width / 2 : 64, width, i ? 2 : 1),
      new Block(width, width, 1),
    ]);
    this.features = new nn.Sequential(...stems[stem](), ...blocks);
    this.linear = new nn.Linear(512, classes);
  }
  forward(images: Tensor): Tensor {
    return this.linear.forward(globalAvgPool2d(this.features.forward(images)));
  }
}
