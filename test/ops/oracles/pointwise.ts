/** The oracles for pointwise ops, each made from a formula for one element and the range that tests draw values from. */

import type { OpDefinition } from "../../../src/ops/definition/op.ts";
import { broadcastShapes, broadcastStrides, type Shape } from "../../../src/ops/definition/value.ts";
import type { Parameters } from "../../../src/ops/pointwise/pointwise.ts";
import { pointwiseDefinitions } from "../../../src/ops/pointwiseDefinitions.ts";
import type { Oracle, SampleInput } from "./oracle.ts";

/** The test values of an operand: uniform in [low, high) and away from kinks, plus ±extreme in edge-case tests. */
interface Range extends Pick<SampleInput, "extreme" | "kinks"> {
  readonly low: number;
  readonly high: number;
}

/** A range, with the kernel's parameters if it has any. */
interface ParameterRange extends Range {
  readonly parameters?: Parameters;
}

const LENGTHS: Shape[] = [[], [0], [1], [3], [4], [5], [31], [33], [2, 3, 5]];

/** Finds the definition of a pointwise op, with or without parameters, by its name. */
export function definitionOf(name: string): OpDefinition<Parameters> {
  const found = Object.values(pointwiseDefinitions).find((definition) => definition.name === name);
  if (!found) throw new Error(`There is no pointwise op ${name}.`);
  return found as OpDefinition<Parameters>;
}

/** The oracle of `unary({…})`: f(x; p, q). */
export function unary(
  f: (x: number, p: number, q: number) => number,
  { parameters = [0, 0], ...range }: ParameterRange,
): Oracle<Parameters> {
  return {
    reference: ([x], [p, q]) => [{ shape: x!.shape, data: Float64Array.from(x!.data, (v) => f(v, p, q)) }],
    samples: LENGTHS.map((shape) => ({ inputs: [{ ...range, shape }], attributes: parameters })),
  };
}

/** The oracle of `derivative({…})`: dy·f(x; p, q). */
export function derivative(
  f: (x: number, p: number, q: number) => number,
  { parameters = [0, 0], ...range }: ParameterRange,
): Oracle<Parameters> {
  return {
    reference: ([dy, x], [p, q]) => [
      { shape: dy!.shape, data: Float64Array.from(dy!.data, (v, i) => v * f(x!.data[i]!, p, q)) },
    ],
    samples: LENGTHS.map((shape) => ({ inputs: [{ shape }, { ...range, shape }], attributes: parameters })),
  };
}

// biome-ignore format: a list
const PAIRS: [Shape, Shape][] = [
  [[], []], [[0], [0]], [[1], [1]], [[3], [3]], [[4], [4]], [[5], [5]], [[31], [31]], [[33], [33]],
  [[5], []], [[], [5]], [[3, 5], [5]], [[5], [3, 5]], [[3, 5], [3, 1]], [[3, 1], [3, 5]], [[3, 1], [1, 5]], [[0, 4], [4]],
  [[2, 3, 4], [3, 1]], [[2, 1, 4], [1, 3, 1]], [[2, 1, 3, 1], [5, 1, 4]], [[1, 1], [2, 3]],
];

/** The oracle of `binary({…})`: f(a, b), broadcast. `second` is b's range if it differs from a's. */
export function binary(
  f: (a: number, b: number) => number,
  { second, ...first }: Range & { readonly second?: Range },
): Oracle<null> {
  return {
    reference([a, b]) {
      const shape = broadcastShapes("reference", a!.shape, b!.shape);
      const [sa, sb] = [broadcastStrides(a!.shape, shape), broadcastStrides(b!.shape, shape)];
      const data: number[] = [];
      const visit = (dim: number, i: number, j: number): void => {
        if (dim === shape.length) data.push(f(a!.data[i]!, b!.data[j]!));
        else for (let k = 0; k < shape[dim]!; k++) visit(dim + 1, i + k * sa[dim]!, j + k * sb[dim]!);
      };
      visit(0, 0, 0);
      return [{ shape, data }];
    },
    samples: PAIRS.map(([a, b]) => ({
      inputs: [
        { ...first, shape: a },
        { ...(second ?? first), shape: b },
      ],
      attributes: null,
    })),
  };
}
