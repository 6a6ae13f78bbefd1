/** Inputs for kernels. */

export type DType = "float32" | "int32" | "bool";
export interface Input {
  readonly values: readonly number[];
  readonly shape: readonly number[];
  readonly dtype: DType;
}
export interface Case {
  readonly inputs: Readonly<Record<string, Input>>;
  readonly attrs?: Readonly<Record<string, unknown>>;
}

/** Numbers in [0, 1) from a linear congruential generator (Numerical Recipes). */
let state = 1;
export const random = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;

const SPECIAL = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, -0, 1e-30, -1e30];
const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

interface Range {
  readonly low?: number;
  readonly high?: number;
  readonly special?: boolean;
}
/** Random elements. */
export function make(
  shape: readonly number[],
  dtype: DType = "float32",
  { low = -3, high = 3, special }: Range = {},
): Input {
  const draw = (): number => {
    const x = low + (high - low) * random();
    return dtype === "bool" ? Number(random() < 0.5) : dtype === "int32" ? Math.floor(x) : Math.fround(x);
  };
  const values = Array.from({ length: sizeOf(shape) }, draw);
  if (special) SPECIAL.forEach((value, i) => i < values.length && (values[(i * 5) % values.length] = value));
  return { values, shape, dtype };
}

export const SHAPES = [[], [7], [3, 5], [2, 3, 4], [0], [2, 0, 3], [2, 1, 2, 3, 1, 2]] as const;
export const DTYPES: readonly DType[] = ["float32", "int32", "bool"];

/** Restarts the sequence of random numbers. */
export const restart = (): void => {
  state = 1;
};

export const inEveryType = (shape: readonly number[], name: string, attrs: Case["attrs"]): Case[] =>
  DTYPES.map((dtype) => ({ inputs: { [name]: make(shape, dtype) }, ...(attrs && { attrs }) }));

/** An input with the given elements. */
export const exact = (values: readonly number[], shape: readonly number[], dtype: DType = "float32"): Input => ({
  values,
  shape,
  dtype,
});

export const ACTIVATIONS = ["linear", "relu", "relu6", "elu", "sigmoid", "leakyrelu", "prelu"];

export const lists = (shapes: readonly (readonly number[])[], attrs: Case["attrs"]): Case[] =>
  DTYPES.map((dtype) => ({
    inputs: Object.fromEntries(shapes.map((shape, i) => [i, make(shape, dtype)])),
    ...(attrs && { attrs }),
  }));
