/**
 * Trains a network of one hidden layer on digits, and tests it. Knows nothing of terminals: those who want to watch pass
 * functions, those who want to stop it pass a signal.
 */
import { type Compiled, compile, losses, manualSeed, nn, optim, randperm, type Tensor, tidy } from "nabla";
import { CLASSES, type Digits, type Mnist, PIXELS } from "./data.ts";

export interface TrainOptions {
  /** How often every digit is seen. 0 tests the untrained network. */
  readonly epochs: number;
  /** Digits in a step. */
  readonly batch: number;
  /** Neurons in the hidden layer. */
  readonly width: number;
  /** Adam's learning rate. The last of several epochs runs at a tenth of it. */
  readonly lr: number;
  /** Of the first weights and of the order of the digits. */
  readonly seed: number;
}

/** How far training is. Loss and accuracy are means over the epoch so far, on the digits trained on. */
export interface Progress {
  readonly epoch: number;
  readonly epochs: number;
  /** Digits seen in this epoch, of how many. */
  readonly seen: number;
  readonly count: number;
  readonly loss: number;
  readonly accuracy: number;
  /** Digits seen in all epochs, of how many. */
  readonly images: number;
  readonly allImages: number;
  /** Time spent training, without tests. */
  readonly seconds: number;
}

/** How the network did on digits it has not seen. */
export interface Evaluation {
  readonly accuracy: number;
  /** How often the label (row) was read as the digit (column). */
  readonly confusion: readonly (readonly number[])[];
  /** What each digit was read as, and the probability that the network gave to that. */
  readonly read: Uint8Array;
  readonly probability: Float32Array;
}

/** An epoch's end: `seen` is less than `count` if it was stopped. */
export interface EpochResult extends Progress {
  readonly test: Evaluation;
}

export interface TrainResult {
  readonly model: nn.Sequential;
  readonly epochs: readonly EpochResult[];
  readonly test: Evaluation;
  /** Digits trained on, each as often as it was seen. */
  readonly images: number;
  /** Time spent training, without tests. */
  readonly seconds: number;
  readonly stopped: boolean;
}

export interface Watcher {
  onProgress?(progress: Progress): void;
  onEpoch?(result: EpochResult): void;
  /** Stops training within a few steps; what was learnt so far is tested and returned. */
  readonly signal?: AbortSignal;
}

/** Of the pixels of the 60,000 digits, from 0 (paper) to 1 (ink): inputs with mean 0 and deviation 1 learn faster. */
const MEAN = 0.1307;
const DEVIATION = 0.3081;

/** Steps between two breaths, in which timers and signals are handled. */
const STRIDE = 8;
const breath = (): Promise<unknown> => new Promise(setImmediate);

/**
 * Trains [784 → width → 10] with Adam on the cross-entropy, and tests it after each epoch. The same options give the same
 * network. The caller owns the model.
 * @throws RangeError where the loss stops being a number
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
  // Forward, backward and update as one program, recorded for whole batches and once more for the last, smaller one.
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
          `The loss is no number any more (epoch ${epoch}, image ${seen}). Try a smaller --lr than ${lr}.`,
        );
      watcher.onProgress?.(progress(seen));
      await breath();
      stopped = watcher.signal?.aborted ?? false;
    }
    const ended = progress(seen);
    ({ images, seconds } = ended);
    const result: EpochResult = { ...ended, test: evaluate(model, test) };
    results.push(result);
    watcher.onEpoch?.(result);
    await breath();
    stopped ||= watcher.signal?.aborted ?? false;
  }
  trainOn.dispose();
  optimizer.dispose();
  model.zeroGrad();
  return { model, epochs: results, test: results.at(-1)?.test ?? evaluate(model, test), images, seconds, stopped };
}

/** Reads every digit, a thousand at a time. */
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

/** Accuracy and confusion of what was read, against the labels. */
export function compare(labels: Uint8Array, read: Uint8Array): Pick<Evaluation, "accuracy" | "confusion"> {
  const confusion = Array.from({ length: CLASSES }, () => new Array<number>(CLASSES).fill(0));
  let hits = 0;
  labels.forEach((label, i) => {
    confusion[label]![read[i]!]!++;
    if (label === read[i]) hits++;
  });
  return { accuracy: hits / labels.length, confusion };
}

/** Pixels from 0 to 255, n digits one behind the other, as the network wants them: [n, 784]. */
const normalized = (pixels: Tensor, n: number): Tensor =>
  pixels.reshape([n, PIXELS]).to("float32").div(255).sub(MEAN).div(DEVIATION);

/** A function that gathers digits: their pixels one behind the other, and their labels; at most `size` digits at a time. */
function batches(
  { pixels, labels }: Digits,
  size: number,
): (picks: Int32Array) => { pixels: Uint8Array; labels: Int32Array } {
  // Used by every batch: compiled functions copy what they are given.
  const batch = { pixels: new Uint8Array(size * PIXELS), labels: new Int32Array(size) };
  return (picks) => {
    picks.forEach((pick, row) => {
      batch.pixels.set(pixels.subarray(pick * PIXELS, (pick + 1) * PIXELS), row * PIXELS);
      batch.labels[row] = labels[pick]!;
    });
    return { pixels: batch.pixels.subarray(0, picks.length * PIXELS), labels: batch.labels.subarray(0, picks.length) };
  };
}
