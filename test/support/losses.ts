/** Helpers for the loss tests: values and gradients, eager and compiled, and float64 references. */
import { compile, type Tensor, tensor, valueAndGrad } from "nabla";

export const labels = (v: number[]): Tensor => tensor(v, { dtype: "int32" });

/** The value and gradient of a function of one tensor, in eager and compiled mode. */
export function valuesOf(f: (x: Tensor) => Tensor, x: Tensor): { mode: string; value: number[]; gradient: number[] }[] {
  const both = valueAndGrad((v: Tensor) => f(v).sum());
  const run = (v: Tensor): [Tensor, Tensor, Tensor] => [f(v), ...both(v)];
  return (
    [
      ["eager", run],
      ["compiled", compile(run)],
    ] as const
  ).map(([mode, g]) => {
    const [value, , gradient] = g(x);
    return { mode, value: Array.from(value.data), gradient: Array.from(gradient.data) };
  });
}

/** −log softmax in float64. */
export function costs(row: readonly number[]): number[] {
  const top = Math.max(...row);
  const k = row.indexOf(top);
  const rest = row.reduce((sum, v, i) => (i === k ? sum : sum + Math.exp(v - top)), 0);
  return row.map((v) => top - v + Math.log1p(rest));
}

/** log(1 + eˣ) in float64. */
export const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
