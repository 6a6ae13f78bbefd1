/**
 * float64 vectors in JavaScript, for optimizers that treat all parameters as one vector. Saved states contain the vectors as
 * bytes.
 */

import { fromElements, type Tensor } from "../core/tensor.ts";
import { show } from "../ops/definition/value.ts";
import { mergeOptions, type OptimizerState, type State, stateError } from "./optimizerState.ts";

/** Concatenates vectors. */
export function concatenate(parts: readonly ArrayLike<number>[]): Float64Array<ArrayBuffer> {
  const all = new Float64Array(parts.reduce((total, { length }) => total + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Σ aᵢbᵢ. */
export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += a[i]! * b[i]!;
  return total;
}

/**
 * Encodes each list of vectors as a uint8 tensor [count, 8·length] under the list's name, and adds the sizes of `params`.
 * Omits empty lists.
 */
export function packVectors(
  params: readonly Tensor[],
  vectors: Readonly<Record<string, readonly Float64Array[]>>,
): State {
  const state: State = {};
  for (const [name, list] of Object.entries({ ...vectors, sizes: [sizesOf(params)] })) {
    const bytes = new Uint8Array(concatenate(list).buffer);
    if (list.length) state[name] = fromElements(bytes, [list.length, bytes.length / list.length], "uint8", "stateDict");
  }
  return state;
}
const sizesOf = (params: readonly Tensor[]): Float64Array => Float64Array.from(params, ({ size }) => size);

/**
 * Decodes what packVectors encoded.
 * @param lengths the length of the vectors in each list
 * @throws Error if the state has unknown lists, vectors with other lengths, or parameters with other sizes
 */
export function unpackVectors<K extends string>(
  optimizer: string,
  params: readonly Tensor[],
  state: State,
  lengths: Readonly<Record<K, number>>,
): Record<K, Float64Array[]> {
  const vectors = (name: string, length: number): Float64Array[] => {
    if (!Object.hasOwn(state, name)) return [];
    const { dtype, shape } = state[name]!;
    if (dtype !== "uint8" || shape.length !== 2 || shape[1] !== 8 * length)
      throw stateError(optimizer, `has ${name} as ${dtype} ${show(shape)}, but must be uint8 [n, ${8 * length}]`);
    const { buffer, byteOffset } = state[name]!.live();
    return Array.from({ length: shape[0]! }, (_, i) =>
      new Float64Array(buffer, byteOffset + 8 * length * i, length).slice(),
    );
  };
  const unknown = Object.keys(state).find((name) => name !== "sizes" && !Object.hasOwn(lengths, name));
  if (unknown !== undefined) throw stateError(optimizer, `has an unknown entry ${unknown}`);
  const [sizes] = vectors("sizes", params.length);
  if (String(sizes) !== String(sizesOf(params))) throw stateError(optimizer, `is for parameters with sizes ${sizes}`);
  return Object.fromEntries(
    Object.entries<number>(lengths).map(([name, length]) => [name, vectors(name, length)]),
  ) as Record<K, Float64Array[]>;
}

/**
 * The options in a saved state, completed with the optimizer's own. The state must have one group and `parts` parts.
 * @throws Error if the state has a different structure or other options
 */
export function readOptions<O extends object>(
  optimizer: string,
  { groups, state }: OptimizerState,
  own: O,
  parts: number,
): O {
  if (groups?.length !== 1 || state?.length !== parts)
    throw stateError(
      optimizer,
      `has ${groups?.length ?? 0} groups and ${state?.length ?? 0} parts, but must have 1 and ${parts}`,
    );
  return mergeOptions(optimizer, own, groups[0]!);
}
