/** The text that the program prints: the model, a line per epoch, the confusion table, misread digits, a summary. Pure functions. */
import { CLASSES, type Digits, PIXELS } from "./data.ts";
import { DRAWN, drawDigit, sideBySide } from "./draw.ts";
import { type Style, visible } from "./style.ts";
import type { EpochResult, Evaluation, TrainOptions, TrainResult } from "./train.ts";

export const number = (value: number): string => Math.round(value).toLocaleString("en-US");
export const percent = (fraction: number): string => `${(100 * fraction).toFixed(2)}%`;
/** Digits per second, or a dash before the first digit. */
export const rate = (images: number, seconds: number): string =>
  seconds > 0 && images > 0 ? number(images / seconds) : "–";
const plural = (n: number, noun: string): string => `${number(n)} ${noun}${n === 1 ? "" : "s"}`;
const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MB`;

/** The heading that describes the network and the data, before training. */
export function heading(
  { epochs, batch, width, lr, seed }: TrainOptions,
  counts: { train: number; test: number },
  build: string,
  style: Style,
): string {
  const parameters = (PIXELS + 1) * width + (width + 1) * CLASSES;
  return [
    `${style.bold("MNIST")}  ${PIXELS} → ${width} → ${CLASSES} with ReLU, ${number(parameters)} parameters, Adam, ${build} kernels`,
    `${plural(counts.train, "training digit")}, ${plural(counts.test, "test digit")}; ${plural(epochs, "epoch")}, batch ${batch}, lr ${lr}, seed ${seed}`,
  ].join("\n");
}

const COLUMNS = ["epoch", "train loss", "train accuracy", "test accuracy", "images/s", "seconds"] as const;
const row = (cells: readonly string[]): string => cells.map((cell, i) => cell.padStart(COLUMNS[i]!.length)).join("   ");

export const epochHeader = (style: Style): string => style.dim(row(COLUMNS));

/** The table row of one epoch. */
export function epochLine(result: EpochResult, secondsBefore: number): string {
  const { epoch, epochs, seen, count, loss, accuracy, test, seconds } = result;
  const took = seconds - secondsBefore;
  const cells = [
    `${epoch}/${epochs}`,
    loss.toFixed(4),
    percent(accuracy),
    percent(test.accuracy),
    rate(seen, took),
    took.toFixed(1),
  ];
  return row(cells) + (seen < count ? `   stopped after ${number(seen)} of ${number(count)}` : "");
}

/**
 * The confusion table, with labels in rows and predictions in columns; a dot means 0. The last column is the accuracy
 * for each label.
 */
export function confusionTable(confusion: Evaluation["confusion"], style: Style): string {
  const largest = Math.max(...confusion.flat());
  const wide = Math.max(4, number(largest).length + 1);
  const head = `label ${confusion.map((_, digit) => String(digit).padStart(wide)).join("")}${"accuracy".padStart(9)}`;
  const lines = confusion.map((counts, label) => {
    const total = counts.reduce((sum, n) => sum + n, 0);
    const cells = counts.map((n, digit) => {
      const text = (n ? number(n) : "·").padStart(wide);
      return n === 0 ? style.dim(text) : digit === label ? style.good(text) : text;
    });
    return `${String(label).padStart(5)} ${cells.join("")}${(total ? percent(counts[label]! / total) : "–").padStart(9)}`;
  });
  return [style.dim(head), ...lines].join("\n");
}

/** The indices of misread digits, the most confident mistakes first. */
export function misread(
  { labels }: Pick<Digits, "labels">,
  { read, probability }: Pick<Evaluation, "read" | "probability">,
): number[] {
  const wrong = Array.from(labels.keys()).filter((i) => labels[i] !== read[i]);
  return wrong.sort((a, b) => probability[b]! - probability[a]!);
}

/** Digits drawn side by side, each above its label and its prediction. */
export function drawMisread(
  digits: Digits,
  test: Evaluation,
  places: readonly number[],
  width: number,
  style: Style,
): string {
  const blocks = places.map((i) => [
    ...drawDigit(digits.pixels.subarray(i * PIXELS, (i + 1) * PIXELS), style),
    `label ${digits.labels[i]}, read as ${style.bad(String(test.read[i]))}`,
    `(p = ${test.probability[i]!.toFixed(2)})`,
  ]);
  return sideBySide(blocks, DRAWN, width, visible);
}

export interface Costs {
  /** The time since the program started, in seconds. */
  readonly seconds: number;
  /** The peak memory of tensors and of the whole process, in bytes. */
  readonly tensorBytes: number;
  readonly processBytes: number;
}

/** The summary: accuracy, time and memory. */
export function summary(
  { test, images, seconds, stopped }: TrainResult,
  perEpoch: number,
  costs: Costs,
  style: Style,
): string {
  const right = test.confusion.reduce((sum, counts, label) => sum + counts[label]!, 0);
  const amount = stopped
    ? `Stopped after ${(images / perEpoch).toFixed(2)} epochs`
    : `Trained for ${plural(images / perEpoch, "epoch")}`;
  const trained = images
    ? `${amount}: ${plural(images, "image")} in ${seconds.toFixed(1)} s, ${rate(images, seconds)} images/s.`
    : "Not trained.";
  return [
    `${style.bold(`Test accuracy ${percent(test.accuracy)}`)}  (${number(right)} of ${number(test.read.length)})`,
    `${trained} ${costs.seconds.toFixed(1)} s in total, including loading and testing.`,
    `Peak memory: ${megabytes(costs.tensorBytes)} in tensors, ${megabytes(costs.processBytes)} in the whole process.`,
  ].join("\n");
}

/** A tested network's confusion table and misread digits. */
export function details(digits: Digits, test: Evaluation, width: number, style: Style, shown = 6): string {
  const wrong = misread(digits, test);
  const table = ["Labels (rows) and predictions (columns):", confusionTable(test.confusion, style)];
  if (!wrong.length) return [...table, "", "No digit was misread."].join("\n");
  const places = wrong.slice(0, shown);
  const title =
    places.length < wrong.length
      ? `${plural(wrong.length, "digit")} misread; the ${places.length} most confident mistakes:`
      : `${plural(wrong.length, "digit")} misread:`;
  return [...table, "", title, "", drawMisread(digits, test, places, width, style)].join("\n");
}
