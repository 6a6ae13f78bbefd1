/**
 * A small convolutional network that learns to read digits while the user watches. It trains in short bursts, reads
 * drawings, and computes the gradient of its answer with respect to each pixel. It does not depend on workers or pages.
 */
import { compile, grad, losses, manualSeed, nn, optim, randint, randperm, type Tensor, tensor, tidy } from "nabla";
import { objective } from "nabla/gradients";
import { type Digits, SIDE } from "../../../cli/mnist/packed.ts";

const PIXELS = SIDE * SIDE;
const CLASSES = 10;
const BATCH = 50;
const EPOCHS = 8;
/** The number of steps in a burst, and the number of steps between tests. */
const BURST = 15;
const TEST_EVERY = 60;

/** The result of a burst of training. */
export interface Burst {
  readonly step: number;
  readonly steps: number;
  /** The mean loss over the burst. */
  readonly loss: number;
  /** ‖∂L/∂W‖ of each layer's weight, on the last batch. */
  readonly norms: Readonly<Record<string, number>>;
  /** The accuracy on test digits, if the network was tested after the burst. */
  readonly accuracy?: number;
}

export interface Reading {
  readonly probabilities: readonly number[];
  /** |∂ score / ∂ pixel|, where the score is the logit of the most likely digit. */
  readonly saliency: readonly number[];
}

/** The layers whose gradients are shown. Keys are names of model.namedParameters(). */
const LAYERS: Readonly<Record<string, string>> = {
  "0.weight": "first convolution",
  "3.weight": "second convolution",
  "7.weight": "linear layer",
};

const images = (pixels: Tensor): Tensor => pixels.reshape([pixels.size / PIXELS, SIDE, SIDE, 1]);

export class Reader {
  private readonly model: nn.Sequential;
  private readonly logits: (pixels: Tensor) => Tensor;

  constructor(private readonly digits: { readonly train: Digits; readonly test: Digits }) {
    manualSeed(1);
    this.model = new nn.Sequential(
      new nn.Conv2d(1, 8, 5, { padding: "same" }),
      new nn.ReLU(),
      new nn.MaxPool2d(2),
      new nn.Conv2d(8, 16, 3, { padding: "same" }),
      new nn.ReLU(),
      new nn.MaxPool2d(2),
      new nn.Flatten(),
      new nn.Linear(7 * 7 * 16, CLASSES),
    );
    this.logits = (pixels) => this.model.forward(images(pixels));
  }

  /** Trains to the end, one burst per iteration. lr falls to zero in the second half. */
  *train(lr: number): Generator<Burst> {
    const optimizer = new optim.Adam(this.model.parameters(), { lr });
    const lossOf = (pixels: Tensor, labels: Tensor): Tensor => losses.crossEntropy(this.logits(pixels), labels);
    const step = compile((pixels: Tensor, labels: Tensor) => optimizer.minimize(() => lossOf(pixels, labels)));
    const steps = EPOCHS * Math.floor(this.digits.train.count / BATCH);
    const batches = batchesOf(this.digits.train);
    let total = 0;
    for (let done = 1; done <= steps; done++) {
      optimizer.lr = lr * Math.min(1, 2 * (1 - (done - 1) / steps));
      const batch = batches.next().value;
      total += step(batch.pixels, batch.labels).item();
      if (done % BURST) continue;
      const tested = done % TEST_EVERY === 0;
      yield {
        step: done,
        steps,
        loss: total / BURST,
        norms: this.norms(batch, lossOf),
        ...(tested && { accuracy: this.accuracy() }),
      };
      total = 0;
    }
  }

  private norms(batch: Batch, lossOf: (pixels: Tensor, labels: Tensor) => Tensor): Record<string, number> {
    return tidy(() => {
      const [pixels, labels] = [tensor(batch.pixels), tensor(batch.labels)];
      const gradients = objective(this.model, () => lossOf(pixels, labels)).gradientsByName();
      return Object.fromEntries(
        Object.entries(LAYERS).map(([name, layer]) => [layer, Math.hypot(...(gradients[name] ?? []))]),
      );
    });
  }

  private readonly classes = compile((pixels: Tensor) => this.logits(pixels).argMax(-1));
  private accuracy(): number {
    const { pixels, labels, count } = this.digits.test;
    const read = this.classes(Float32Array.from(pixels, (v) => v / 255)).toArray() as number[];
    return labels.reduce((right, label, i) => right + Number(read[i] === label), 0) / count;
  }

  /** Reads one drawing: 28 × 28 values from 0 (paper) to 1 (ink). */
  read(drawing: Float32Array): Reading {
    return tidy(() => {
      const x = tensor(drawing);
      const logits = this.logits(x).reshape([CLASSES]);
      const probabilities = logits.softmax(-1).toArray() as number[];
      const best = probabilities.indexOf(Math.max(...probabilities));
      const score = tensor(probabilities.map((_, digit) => Number(digit === best)));
      const slopes = grad((pixels: Tensor) => this.logits(pixels).reshape([CLASSES]).dot(score))(x);
      return { probabilities, saliency: (slopes.toArray() as number[]).map(Math.abs) };
    });
  }
}

interface Batch {
  readonly pixels: Float32Array;
  readonly labels: Int32Array;
}

/** Digits in a new order for each pass, each shifted by up to a pixel, because drawings are not perfectly centred either. */
function* batchesOf({ pixels, labels, count }: Digits): Generator<Batch, never> {
  const batch = { pixels: new Float32Array(BATCH * PIXELS), labels: new Int32Array(BATCH) };
  for (;;) {
    const [order, across, down] = tidy(() => [randperm(count).data, moves(count).data, moves(count).data] as const);
    for (let at = 0; at + BATCH <= count; at += BATCH) {
      for (let k = 0; k < BATCH; k++) {
        const from = order[at + k]!;
        const shift = down[at + k]! * SIDE + across[at + k]!;
        batch.labels[k] = labels[from]!;
        // A shift wraps around, but MNIST's digits have margins of four pixels.
        for (let p = 0; p < PIXELS; p++) batch.pixels[k * PIXELS + p] = (pixels[from * PIXELS + p + shift] ?? 0) / 255;
      }
      yield batch;
    }
  }
}

/** n random shifts, each −1, 0 or 1. */
const moves = (n: number): Tensor => randint(-1, 2, [n]);
