/**
 * Trains a network with one hidden layer on digits, and tests it. Does not depend on a terminal: callers pass functions
 * that receive the progress, and a signal that stops the training.
 */
import { type Compiled, compile, losses, manualSeed, nn, optim, randperm, type Tensor, tidy } from "nabla";
import { CLASSES, type Digits, type Mnist, PIXELS } from "./data.ts";

export interface TrainOptions {
  /** The number of passes over the training digits. If it is 0, the untrained network is tested. */
  readonly epochs: number;
  /** Digits per step. */
  readonly batch: number;
  /** The number of neurons in the hidden layer. */
  readonly width: number;
  /** Adam's learning rate. With several epochs, the last one uses a tenth of it. */
  readonly lr: number;
  /** The seed for the initial weights and the order of the digits. */
  readonly seed: number;
}

/** The progress of training. Loss and accuracy are means over the epoch so far, on training digits. */
export interface Progress {
  readonly epoch: number;
  readonly epochs: number;
  /** The number of digits seen in this epoch, of `count` in total. */
  readonly seen: number;
  readonly count: number;
  readonly loss: number;
  readonly accuracy: number;
  /** The number of digits seen in all epochs, of `allImages` in total. */
  readonly images: number;
  readonly allImages: number;
  /** The training time, excluding tests. */
  readonly seconds: number;
}

/** The results on digits that the network has not been trained on. */
export interface Evaluation {
  readonly accuracy: number;
  /** How often each label (row) was read as each digit (column). */
  readonly confusion: readonly (readonly number[])[];
  /** The prediction for each digit, and its probability. */
  readonly read: Uint8Array;
  readonly probability: Float32Array;
}

/** The results at the end of an epoch. `seen` is less than `count` if training was stopped. */
export interface EpochResult extends Progress {
  readonly test: Evaluation;
}

export interface TrainResult {
  readonly model: nn.Sequential;
  readonly epochs: readonly EpochResult[];
  readonly test: Evaluation;
  /** The number of digits seen in training, counted once per pass. */
  readonly images: number;
  /** The training time, excluding tests. */
  readonly seconds: number;
  readonly stopped: boolean;
}

export interface Watcher {
  onProgress?(progress: Progress): void;
  onEpoch?(result: EpochResult): void;
  /** Stops training within a few steps. The network is still tested and returned. */
  readonly signal?: AbortSignal;
}

/**
 * The mean and standard deviation of the pixels of the 60,000 training digits, which range from 0 (paper) to 1 (ink).
 * Training is faster on normalized inputs.
 */
const MEAN = 0.1307;
const DEVIATION = 0.3081;

/** The number of steps between turns of the event loop, which handles timers and signals. */
const STRIDE = 8;
const nextTurn = (): Promise<unknown> => new Promise(setImmediate);

/**
 * Trains a network 784 → width → 10 with Adam on the cross-entropy, and tests it after each epoch. The same options produce the same
 * network. The caller must dispose the model.
 * @throws RangeError if the loss becomes NaN or infinite
 */
export async function trainMnist(
  { train, test }: Mnist,
  options: TrainOptions,
  watcher: Watcher = {},
): Promise<TrainResult> {
  const { epochs, batch, width, lr, seed } = options;
  manualSeed(seed);
  const model = new nn.Sequential(new nn.Linear(PIXELS, width), new nn.ReLU(), new nn.Linear(width, CLASSES));
  const optimizer = new optim.Adam(model.parameters(), { lr });
  // A training step (forward, backward and update) as one program, which is recorded once for full batches, and again
  // for the smaller last batch.
  const trainOn = compile((pixels: Tensor, labels: Tensor) => {
    const logits = model.forward(normalized(pixels, labels.size));
    const loss = losses.crossEntropy(logits, labels);
    optimizer.minimize(loss);
    return { loss, hits: logits.argMax(-1).eq(labels).to("float32").sum() };
  });
  const batchOf = batches(train, Math.min(batch, train.count));
  const results: EpochResult[] = [];
  let images = 0;
  let seconds = 0;
  let stopped = watcher.signal?.aborted ?? false;

  for (let epoch = 1; epoch <= epochs && !stopped; epoch++) {
    optimizer.lr = epoch > 1 && epoch === epochs ? lr / 10 : lr;
    const order = tidy(() => randperm(train.count).data) as Int32Array;
    const started = performance.now();
    let lossSum = 0;
    let hits = 0;
    const progress = (seen: number): Progress => ({
      epoch,
      epochs,
      seen,
      count: train.count,
      loss: lossSum / seen,
      accuracy: hits / seen,
      images: images + seen,
      allImages: epochs * train.count,
      seconds: seconds + (performance.now() - started) / 1000,
    });

    let seen = 0;
    for (let step = 1; seen < train.count && !stopped; step++) {
      const picks = order.subarray(seen, seen + batch);
      const { pixels, labels } = batchOf(picks);
      const result = trainOn(pixels, labels);
      lossSum += result.loss.item() * picks.length;
      hits += result.hits.item();
      seen += picks.length;
      if (step % STRIDE && seen < train.count) continue;
      if (!Number.isFinite(lossSum))
        throw new RangeError(
          `The loss became ${lossSum} (epoch ${epoch}, image ${seen}). Use a smaller --lr than ${lr}.`,
        );
      watcher.onProgress?.(progress(seen));
      await nextTurn();
      stopped = watcher.signal?.aborted ?? false;
    }
    const ended = progress(seen);
    ({ images, seconds } = ended);
    const result: EpochResult = { ...ended, test: evaluate(model, test) };
    results.push(result);
    watcher.onEpoch?.(result);
    await nextTurn();
    stopped ||= watcher.signal?.aborted ?? false;
  }
  trainOn.dispose();
  optimizer.dispose();
  model.zeroGrad();
  return { model, epochs: results, test: results.at(-1)?.test ?? evaluate(model, test), images, seconds, stopped };
}

/** Classifies all digits, `batch` at a time. */
export function evaluate(model: nn.Module, digits: Digits, batch = 1000): Evaluation {
  const read = new Uint8Array(digits.count);
  const probability = new Float32Array(digits.count);
  const readDigits: Compiled<[Tensor], { read: Tensor; probability: Tensor }> = compile((pixels: Tensor) => {
    const p: Tensor = model.forward(normalized(pixels, pixels.size / PIXELS)).softmax(-1);
    return { read: p.argMax(-1), probability: p.max(-1) };
  });
  const batchOf = batches(digits, batch);
  for (let at = 0; at < digits.count; at += batch) {
    const picks = Int32Array.from({ length: Math.min(batch, digits.count - at) }, (_, i) => at + i);
    const result = readDigits(batchOf(picks).pixels);
    read.set(result.read.live(), at);
    probability.set(result.probability.live(), at);
  }
  readDigits.dispose();
  return { ...compare(digits.labels, read), read, probability };
}

/** The accuracy and confusion table of predictions, compared with the labels. */
export function compare(labels: Uint8Array, read: Uint8Array): Pick<Evaluation, "accuracy" | "confusion"> {
  const confusion = Array.from({ length: CLASSES }, () => new Array<number>(CLASSES).fill(0));
  let hits = 0;
  labels.forEach((label, i) => {
    confusion[label]![read[i]!]!++;
    if (label === read[i]) hits++;
  });
  return { accuracy: hits / labels.length, confusion };
}

/** Converts the pixels of n digits, from 0 to 255, to the network's normalized input, [n, 784]. */
const normalized = (pixels: Tensor, n: number): Tensor =>
  pixels.reshape([n, PIXELS]).to("float32").div(255).sub(MEAN).div(DEVIATION);

/** Returns a function that gathers the pixels and labels of up to `size` digits. */
function batches(
  { pixels, labels }: Digits,
  size: number,
): (picks: Int32Array) => { pixels: Uint8Array; labels: Int32Array } {
  // All batches share these arrays, because compiled functions copy their inputs.
  const batch = { pixels: new Uint8Array(size * PIXELS), labels: new Int32Array(size) };
  return (picks) => {
    picks.forEach((pick, row) => {
      batch.pixels.set(pixels.subarray(pick * PIXELS, (pick + 1) * PIXELS), row * PIXELS);
      batch.labels[row] = labels[pick]!;
    });
    return { pixels: batch.pixels.subarray(0, picks.length * PIXELS), labels: batch.labels.subarray(0, picks.length) };
  };
}
