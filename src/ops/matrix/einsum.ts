/** Einstein summation: letters name the dimensions to multiply and sum over. */
import { ShapeError } from "../../runtime/errors.ts";
import { show, sizeOf, type Value } from "../definition/value.ts";
import { mul } from "../pointwise/arithmetic.ts";
import { sum } from "../reduce/reduce.ts";
import { reshape } from "../shape/reshape.ts";
import { broadcastTo, permute, slice } from "../shape/shape.ts";
import { matmul } from "./matmul.ts";

/** A value with named dims. */
interface Labelled {
  readonly x: Value;
  readonly labels: string;
}

/** The letters that stand for the dims in "...", beginning with the last dim. */
const REST = "αβγδεζηθ";

/** For every letter that occurs more than once, replaces the letter's dims with their diagonal. */
function diagonals({ x, labels }: Labelled): Labelled {
  const twice = [...labels].find((label, i) => labels.indexOf(label) < i);
  if (!twice) return { x, labels };
  const [i, j] = [labels.indexOf(twice), labels.lastIndexOf(twice)];
  const n = x.shape[i]!;
  if (x.shape[j] !== n)
    throw new ShapeError(
      `einsum: "${twice}" has sizes ${n} and ${x.shape[j]} in ${show(x.shape)}. Its dims must have the same size.`,
    );
  const others = [...labels].map((_, at) => at).filter((at) => at !== i && at !== j);
  const kept = others.map((at) => x.shape[at]!);
  const flat = reshape(permute(x, [...others, i, j]), [...kept, n * n]);
  const diagonal = slice(flat, ...kept.map(() => null), [null, null, n + 1]);
  return diagonals({ x: diagonal, labels: others.map((at) => labels[at]).join("") + twice });
}

/** Sums over the dims whose letters are not in `kept`. */
function summed({ x, labels }: Labelled, kept: ReadonlySet<string>): Labelled {
  const gone = [...labels].flatMap((label, i) => (kept.has(label) ? [] : [i]));
  if (!gone.length) return { x, labels };
  return { x: sum(x, gone), labels: [...labels].filter((label) => kept.has(label)).join("") };
}

/**
 * Permutes a value's dims into the order of `groups`, broadcasts them to `sizes`, and merges each group into one dim.
 */
function arranged({ x, labels }: Labelled, groups: readonly string[], sizes: ReadonlyMap<string, number>): Value {
  const order = groups.join("");
  const sorted = permute(
    x,
    [...order].map((label) => labels.indexOf(label)),
  );
  const whole = broadcastTo(
    sorted,
    [...order].map((label) => sizes.get(label)!),
  );
  return reshape(
    whole,
    groups.map((group) => sizeOf([...group].map((label) => sizes.get(label)!))),
  );
}

/** Multiplies two operands and sums over the letters that only these two have, with one batched matrix product. */
function contracted(a: Labelled, b: Labelled, kept: ReadonlySet<string>, sizes: ReadonlyMap<string, number>): Labelled {
  const [left, right] = [summed(a, new Set([...kept, ...b.labels])), summed(b, new Set([...kept, ...a.labels]))];
  const shared = [...left.labels].filter((label) => right.labels.includes(label));
  const pick = (labels: Iterable<string>, test: (label: string) => boolean): string =>
    [...labels].filter(test).join("");
  if (shared.every((label) => kept.has(label))) {
    // If there is no letter to sum over, the product is elementwise.
    const labels = left.labels + pick(right.labels, (label) => !left.labels.includes(label));
    const aligned = ({ x, labels: own }: Labelled): Value => {
      const order = pick(labels, (label) => own.includes(label));
      const sorted = permute(
        x,
        [...order].map((label) => own.indexOf(label)),
      );
      return reshape(
        sorted,
        [...labels].map((label) => (own.includes(label) ? x.shape[own.indexOf(label)]! : 1)),
      );
    };
    return { x: mul(aligned(left), aligned(right)), labels };
  }
  const batch = pick(shared, (label) => kept.has(label));
  const inner = pick(shared, (label) => !kept.has(label));
  const rows = pick(left.labels, (label) => !right.labels.includes(label));
  const columns = pick(right.labels, (label) => !left.labels.includes(label));
  const product = matmul(arranged(left, [batch, rows, inner], sizes), arranged(right, [batch, inner, columns], sizes));
  const labels = batch + rows + columns;
  return {
    x: reshape(
      product,
      [...labels].map((label) => sizes.get(label)!),
    ),
    labels,
  };
}

/**
 * Einstein summation (Einstein 1916): multiplies tensors and sums over named dims. Each letter names a dim; letters
 * that are not in the result are summed over. Without "->", the result has the letters that occur once, in alphabetical
 * order. "..." stands for dims that broadcast. Operands are multiplied from left to right, one matrix product at a
 * time.
 *
 * operands: any shapes that match their letters → the sizes of the letters after "->", float32.
 *
 * @param equation The letters of each operand and of the result, such as "ij,jk->ik" (a matrix product), "bij->bji" (a
 * transpose) or "ii->" (a trace).
 * @param operands One tensor per term of the equation.
 * @throws ShapeError if the equation does not match the operands
 * @example
 * ```ts
 * const a = tensor([[1, 2], [3, 4]]);
 * einsum("ij,jk->ik", a, a).toArray(); // [[7, 10], [15, 22]]
 * einsum("ii->", a).item(); // 5
 * ```
 * @op function
 */
export function einsum(equation: string, ...operands: Value[]): Value {
  const [left = "", right, more] = equation.replaceAll(" ", "").split("->");
  if (more !== undefined || !/^[a-zA-Z.,]*$/.test(left + (right ?? "")))
    throw new ShapeError(`einsum: "${equation}" must consist of letters, commas and "...", with at most one "->".`);
  const terms = left.split(",");
  if (terms.length !== operands.length)
    throw new ShapeError(`einsum: "${equation}" needs ${terms.length} operands, got ${operands.length}.`);
  let most = 0;
  const named = terms.map((term, i): Labelled => {
    const x = operands[i]!;
    const rest = x.shape.length - term.replace("...", "").length;
    const labels = term.replace("...", () => [...REST.slice(0, Math.max(0, rest))].reverse().join(""));
    if (!/^[a-zA-Zα-θ]*$/.test(labels) || labels.length !== x.shape.length || rest > REST.length)
      throw new ShapeError(
        `einsum: "${term}" does not name the ${x.shape.length} dimensions of ${show(x.shape)}. Write one letter for each, or "..." for several.`,
      );
    most = Math.max(most, term.includes("...") ? rest : 0);
    return diagonals({ x, labels });
  });
  const sizes = new Map<string, number>();
  for (const { x, labels } of named)
    [...labels].forEach((label, i) => {
      const [size, before = 1] = [x.shape[i]!, sizes.get(label)];
      if (size !== before && size !== 1 && before !== 1)
        throw new ShapeError(
          `einsum: "${label}" has sizes ${before} and ${size} in "${equation}". Its dims must have the same size, or size 1.`,
        );
      sizes.set(label, size === 1 ? before : size);
    });
  const rest = [...REST.slice(0, most)].reverse().join("");
  const letters = left.replace(/[.,]/g, "");
  const once = [...new Set(letters)].filter((label) => letters.split(label).length === 2).sort();
  const result = right === undefined ? rest + once.join("") : right.replace("...", rest);
  const unknown = [...result].find((label) => !sizes.has(label));
  if (unknown || new Set(result).size !== result.length)
    throw new ShapeError(`einsum: the result "${result}" must name dimensions of the operands, without repeats.`);
  const all = named.reduce((a, b, i) => {
    const later = named.slice(i + 1).flatMap(({ labels }) => [...labels]);
    return contracted(a, b, new Set([...result, ...later]), sizes);
  });
  const kept = summed(all, new Set(result));
  return permute(
    kept.x,
    [...result].map((label) => kept.labels.indexOf(label)),
  );
}
