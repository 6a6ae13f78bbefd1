/** Vectors in float64, in JavaScript, of those who reckon with all parameters at once; in a state of tensors they are bytes. */

import { fromElements, type Tensor } from "../core/tensor.ts";
import { show } from "../ops/definition/value.ts";
import { foreign, mergedOptions, type OptimizerState, type State } from "./optimizer.ts";

/** The vectors one behind the other. */
export function concatenated(parts: readonly ArrayLike<number>[]): Float64Array<ArrayBuffer> {
  const all = new Float64Array(parts.reduce((total, { length }) => total + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += a[i]! * b[i]!;
  return total;
}

/** Lists of vectors of one length each, by name, as uint8 [count, 8·length], with the sizes of `params`; empty ones are left out. */
export function packed(params: readonly Tensor[], vectors: Readonly<Record<string, readonly Float64Array[]>>): State {
  const state: State = {};
  for (const [name, list] of Object.entries({ ...vectors, sizes: [sizesOf(params)] })) {
    const bytes = new Uint8Array(concatenated(list).buffer);
    if (list.length) state[name] = fromElements(bytes, [list.length, bytes.length / list.length], "uint8", "stateDict");
  }
  return state;
}
const sizesOf = (params: readonly Tensor[]): Float64Array => Float64Array.from(params, ({ size }) => size);

/**
 * The lists again.
 * @param lengths of the vectors of each list
 * @throws Error where the state has others, or another form, or is of parameters of other sizes
 */
export function unpacked<K extends string>(
  optimizer: string,
  params: readonly Tensor[],
  state: State,
  lengths: Readonly<Record<K, number>>,
): Record<K, Float64Array[]> {
  const vectors = (name: string, length: number): Float64Array[] => {
    if (!Object.hasOwn(state, name)) return [];
    const { dtype, shape } = state[name]!;
    if (dtype !== "uint8" || shape.length !== 2 || shape[1] !== 8 * length)
      throw foreign(optimizer, `has ${name} as ${dtype} ${show(shape)}, but it must be uint8 [n, ${8 * length}]`);
    const { buffer, byteOffset } = state[name]!.live();
    return Array.from({ length: shape[0]! }, (_, i) =>
      new Float64Array(buffer, byteOffset + 8 * length * i, length).slice(),
    );
  };
  const other = Object.keys(state).find((name) => name !== "sizes" && !Object.hasOwn(lengths, name));
  if (other !== undefined) throw foreign(optimizer, `has ${other}`);
  const [sizes] = vectors("sizes", params.length);
  if (String(sizes) !== String(sizesOf(params))) throw foreign(optimizer, `is of parameters of ${sizes} numbers`);
  return Object.fromEntries(
    Object.entries<number>(lengths).map(([name, length]) => [name, vectors(name, length)]),
  ) as Record<K, Float64Array[]>;
}

/** The options of a state with one group and some parts, over one's own. @throws Error where it is of another form, or has other options */
export function savedOptions<O extends object>(
  optimizer: string,
  { groups, state }: OptimizerState,
  own: O,
  parts: number,
): O {
  if (groups?.length !== 1 || state?.length !== parts) throw foreign(optimizer, "is of another form");
  return mergedOptions(optimizer, own, groups[0]!);
}
