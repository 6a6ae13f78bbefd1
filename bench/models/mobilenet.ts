/** MobileNetV2 with width 1 (Sandler et al. 2018). */
import { globalAvgPool2d, nn, type Tensor } from "../../src/index.ts";

const conv = (from: number, to: number, kernelSize: number, stride = 1, groups = 1): nn.Module[] => [
  new nn.Conv2d(from, to, kernelSize, { stride, padding: kernelSize >> 1, groups, bias: false }),
  new nn.BatchNorm2d(to),
];

/** Widens the channels, filters each one, and narrows them again. Adds the input if the shapes agree. */
class InvertedResidual extends nn.Module {
  private readonly layers: nn.Sequential;
  private readonly isResidual: boolean;

  constructor(from: number, to: number, stride: number, expansion: number) {
    super();
    const hidden = from * expansion;
    const widen = expansion > 1 ? [...conv(from, hidden, 1), new nn.ReLU6()] : [];
    const filter = [...conv(hidden, hidden, 3, stride, hidden), new nn.ReLU6()];
    this.layers = new nn.Sequential(...widen, ...filter, ...conv(hidden, to, 1));
    this.isResidual = stride === 1 && from === to;
  }
  forward(x: Tensor): Tensor {
    const y = this.layers.forward(x);
    return this.isResidual ? y.add(x) : y;
  }
}

/** The groups of blocks: expansion, channels, number of blocks, and the stride of the first block (table 2 of the paper). */
const GROUPS = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
] as const;

/** images [batch, height, width, 3] → logits [batch, classes]. */
export class MobileNetV2 extends nn.Module {
  private readonly features: nn.Sequential;
  private readonly linear: nn.Linear;

  constructor(classes: number) {
    super();
    const blocks: nn.Module[] = [];
    let from = 32;
    for (const [expansion, to, count, stride] of GROUPS)
      for (let i = 0; i < count; i++) {
        blocks.push(new InvertedResidual(from, to, i ? 1 : stride, expansion));
        from = to;
      }
    const ends = { stem: [...conv(3, 32, 3, 2), new nn.ReLU6()], head: [...conv(from, 1280, 1), new nn.ReLU6()] };
    this.features = new nn.Sequential(...ends.stem, ...blocks, ...ends.head);
    this.linear = new nn.Linear(1280, classes);
  }
  forward(images: Tensor): Tensor {
    return this.linear.forward(globalAvgPool2d(this.features.forward(images)));
  }
}
