/** Non-maximum suppression: selects the boxes with the highest scores that overlap little with each other. */
import { reshape } from "../../ops/shape/reshape.ts";
import { vector } from "../view.ts";
import { type Attributes, type Inputs, isFilled, type NativeKernel } from "./kernel.ts";

/**
 * A heap of boxes. The top has the highest score; among boxes with equal scores, the one with the lowest index comes
 * first.
 */
class Candidates {
  private readonly boxes: Int32Array;
  count = 0;

  constructor(readonly scores: Float64Array) {
    this.boxes = new Int32Array(scores.length);
  }
  /** Adds a box at the end. Call `order` after adding the last box. */
  append(box: number): void {
    this.boxes[this.count++] = box;
  }
  order(): void {
    for (let at = (this.count >> 1) - 1; at >= 0; at--) this.sift(this.boxes[at]!, at);
  }
  pop(): number {
    const top = this.boxes[0]!;
    if (--this.count > 0) this.sift(this.boxes[this.count]!, 0);
    return top;
  }
  push(box: number): void {
    const { boxes } = this;
    let at = this.count++;
    for (; at > 0 && this.isAbove(box, boxes[(at - 1) >> 1]!); at = (at - 1) >> 1) boxes[at] = boxes[(at - 1) >> 1]!;
    boxes[at] = box;
  }
  private isAbove(a: number, b: number): boolean {
    const [one, other] = [this.scores[a]!, this.scores[b]!];
    return one > other || (one === other && a < b);
  }
  /** Inserts a box at or below the free place `from`, and moves up the boxes that belong above it. */
  private sift(box: number, from: number): void {
    const { boxes, count } = this;
    let at = from;
    for (let child = 2 * at + 1; child < count; child = 2 * at + 1) {
      if (child + 1 < count && this.isAbove(boxes[child + 1]!, boxes[child]!)) child++;
      if (!this.isAbove(boxes[child]!, box)) break;
      boxes[at] = boxes[child]!;
      at = child;
    }
    boxes[at] = box;
  }
}

/**
 * Selects boxes, and returns their indices and scores. If softNmsSigma > 0, the score of a candidate that overlaps a
 * selected box is multiplied by a Gaussian weight. A candidate whose overlap reaches iouThreshold is dropped. Null if a
 * score is Infinity, or if the area of a candidate is not finite.
 */
function select({ boxes, scores }: Inputs, attributes: Attributes): { indices: number[]; scores: number[] } | null {
  const { maxOutputSize, iouThreshold, scoreThreshold, softNmsSigma = 0 } = attributes;
  const scale = softNmsSigma > 0 ? -0.5 / softNmsSigma : 0;
  const corners = boxes!.live();
  const current = Float64Array.from(scores!.live());
  const candidates = new Candidates(current);
  for (let box = 0; box < current.length; box++) {
    if (current[box] === Number.POSITIVE_INFINITY) return null;
    if (current[box]! > scoreThreshold) candidates.append(box);
  }
  candidates.order();
  /** For each candidate, the number of selected boxes that its score already takes into account. */
  const seen = new Int32Array(current.length);
  /** [top, left, bottom, right, area] of the selected boxes. */
  const selected = new Float64Array(5 * Math.min(maxOutputSize, current.length));
  const indices: number[] = [];
  const values: number[] = [];
  while (indices.length < maxOutputSize && candidates.count > 0) {
    const box = candidates.pop();
    let top = Math.min(corners[4 * box]!, corners[4 * box + 2]!);
    const left = Math.min(corners[4 * box + 1]!, corners[4 * box + 3]!);
    const bottom = Math.max(corners[4 * box]!, corners[4 * box + 2]!);
    const right = Math.max(corners[4 * box + 1]!, corners[4 * box + 3]!);
    const area = (bottom - top) * (right - left);
    if (!(area < Number.POSITIVE_INFINITY)) return null;
    // Move the top of a zero-area box to infinity, so that the box overlaps nothing.
    if (area === 0) top = Number.POSITIVE_INFINITY;
    const original = current[box]!;
    let score = original;
    let iou = 0;
    for (let j = indices.length - 1; j >= seen[box]!; j--) {
      const height = Math.min(bottom, selected[5 * j + 2]!) - Math.max(top, selected[5 * j]!);
      const width = Math.min(right, selected[5 * j + 3]!) - Math.max(left, selected[5 * j + 1]!);
      const shared = height > 0 && width > 0 ? height * width : 0;
      iou = shared > 0 ? shared / (area + selected[5 * j + 4]! - shared) : 0;
      if (iou >= iouThreshold) break;
      if (scale !== 0 && shared > 0) score *= Math.exp(scale * iou * iou);
      if (score <= scoreThreshold) break;
    }
    if (seen[box]! < indices.length && iou >= iouThreshold) continue;
    if (score === original) {
      selected.set([top, left, bottom, right, area], 5 * indices.length);
      indices.push(box);
      values.push(score);
    } else if (score > scoreThreshold) {
      seen[box] = indices.length;
      current[box] = score;
      candidates.push(box);
    }
  }
  return { indices, scores: values };
}

export const suppressionKernels: Readonly<Record<string, NativeKernel>> = {
  NonMaxSuppressionV3: {
    accepts: isFilled,
    run(inputs, attributes) {
      const found = select(inputs, { ...attributes, softNmsSigma: 0 });
      return found && vector(found.indices, "int32");
    },
  },
  NonMaxSuppressionV4: {
    accepts: isFilled,
    run(inputs, attributes) {
      const found = select(inputs, { ...attributes, softNmsSigma: 0 });
      if (!found) return null;
      const { length } = found.indices;
      const missing = attributes.padToMaxOutputSize ? Math.max(0, attributes.maxOutputSize - length) : 0;
      const count = reshape(vector([length], "int32"), []);
      return [vector([...found.indices, ...new Array<number>(missing).fill(0)], "int32"), count];
    },
  },
  NonMaxSuppressionV5: {
    accepts: isFilled,
    run(inputs, attributes) {
      const found = select(inputs, attributes);
      return found && [vector(found.indices, "int32"), vector(found.scores, "float32")];
    },
  },
};
