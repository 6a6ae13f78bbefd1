/** Models with batch normalization, and a check of their fused copies. */
import { compile, nn, noGrad, rand, randn, type Tensor } from "nabla";
import { expect } from "vitest";

/** Gives batch normalization running statistics and parameters that differ from channel to channel. */
export function train<M extends nn.Module>(model: M): M {
  for (const [, module] of model.namedModules()) {
    if (!(module instanceof nn.BatchNorm)) continue;
    const { runningMean, runningVar, weight, bias, numFeatures } = module;
    noGrad(() => {
      for (const [x, value] of [
        [runningMean, randn([numFeatures])],
        [runningVar, rand([numFeatures]).add(0.1)],
        [weight, randn([numFeatures])],
        [bias, randn([numFeatures])],
      ] as const)
        x?.copyFrom(value);
    });
  }
  return model;
}

export const kinds = (model: nn.Module): string[] =>
  Array.from(model.namedModules(), ([, { constructor }]) => constructor.name);
export const norms = (model: nn.Module): number => kinds(model).filter((kind) => kind.startsWith("BatchNorm")).length;

/** The largest difference, relative to the largest element. */
export function difference(a: Tensor, b: Tensor): number {
  const [x, y] = [a.data, b.data];
  expect(x.length).toBe(y.length);
  let [most, size] = [0, 0];
  for (let i = 0; i < y.length; i++) {
    most = Math.max(most, Math.abs(x[i]! - y[i]!));
    size = Math.max(size, Math.abs(y[i]!));
    expect(Number.isFinite(x[i])).toBe(true);
  }
  return most / size;
}

/** Fuses the model, and fails unless the copy agrees with the model, eager and compiled, and the model is unchanged. */
export function requireFused<M extends nn.Module>(model: M, x: Tensor, left: number, options?: nn.FuseOptions): M {
  const before = [model.toString(), ...Object.values(model.stateDict()).map(({ data }) => data)];
  const modes = Array.from(model.namedModules(), ([, { training }]) => training);
  const fused = nn.fuse(model, options);
  expect([model.toString(), ...Object.values(model.stateDict()).map(({ data }) => data)]).toEqual(before);
  expect(Array.from(model.namedModules(), ([, { training }]) => training)).toEqual(modes);
  expect(norms(fused)).toBe(left);
  for (const [, module] of fused.namedModules()) expect(module.training).toBe(false);
  model.eval();
  const expected = model.forward(x) as Tensor;
  const y = fused.forward(x) as Tensor;
  expect(difference(y, expected)).toBeLessThan(5e-6);
  const step = compile((input: Tensor) => noGrad(() => fused.forward(input) as Tensor));
  expect(step(x).data).toEqual(y.data);
  step.dispose();
  return fused;
}
