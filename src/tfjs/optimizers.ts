/**
 * TensorFlow.js's Adam in one pass over each variable. Its own needs fourteen kernels and as many new tensors per variable and step; ours
 * updates the variable and both moments in place.
 */
import { AdamOptimizer, type Tensor, engine as tfEngine, type Variable, zerosLike } from "@tensorflow/tfjs-core";
import { updateParameter } from "../ops/update/update.ts";
import { BACKEND, type NablaBackend } from "./backend.ts";
import { newView, runOps, vector } from "./view.ts";

interface Moment {
  readonly originalName: string;
  readonly variable: Variable;
}
/** The fields of an AdamOptimizer, some of which its type hides. */
interface AdamState {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly iterations: number;
  readonly accBeta1: Variable;
  readonly accBeta2: Variable;
  readonly accumulatedFirstMoment: Moment[];
  readonly accumulatedSecondMoment: Moment[];
  incrementIterations(): void;
}
type Gradients = { readonly name: string; readonly tensor: Tensor }[] | Record<string, Tensor | null | undefined>;

const moment = (list: Moment[], i: number, value: Variable, suffix: string): Variable => {
  const { name } = value;
  list[i] ??= { originalName: `${name}/${suffix}`, variable: tfEngine().tidy(() => zerosLike(value).variable(false)) };
  return list[i].variable;
};

/** Gives a variable data of its own, if other tensors share it. Nothing else may see the update. */
function own(variable: Variable, backend: NablaBackend): void {
  if (backend.data.get(variable.dataId).isExclusive) return;
  const shared = backend.view(variable);
  const [copy] = runOps(() => {
    const view = newView(shared.shape, shared.dtype);
    view.live().set(shared.live());
    return view;
  })!;
  const tensor = tfEngine().makeTensorFromTensorInfo(backend.adopt(copy!), backend);
  variable.assign(tensor);
  tensor.dispose();
}

/** Kingma and Ba 2015, with TensorFlow.js's defaults: m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², p ← p − η·m̂/(√v̂ + ε). */
function applyAdam(state: AdamState, gradients: Gradients, backend: NablaBackend): void {
  const { learningRate, beta1, beta2, epsilon, iterations } = state;
  const names = Array.isArray(gradients) ? gradients.map(({ name }) => name) : Object.keys(gradients);
  const parts = names.flatMap((name, i) => {
    const value = tfEngine().registeredVariables[name]!;
    const first = moment(state.accumulatedFirstMoment, i, value, "m");
    const second = moment(state.accumulatedSecondMoment, i, value, "v");
    const gradient = Array.isArray(gradients) ? gradients[i]!.tensor : gradients[name];
    return gradient ? [{ gradient, written: [value, first, second] }] : [];
  });
  for (const { written } of parts) for (const variable of written) own(variable, backend);
  runOps(() => {
    const [lr, step] = [vector([learningRate], "float32"), vector([iterations + 1], "int32")];
    for (const { gradient, written } of parts) {
      const [p, m, v] = written.map((variable) => backend.view(variable));
      const io = { p: p!, g: backend.view(gradient), lr, step, state: [m, v] };
      updateParameter("adam", io, { flags: 0, constants: [beta1, beta2, epsilon, 0] });
    }
    return null;
  });
  for (const { written } of parts) for (const { dataId } of written) backend.data.get(dataId).changed();
  // These powers are what TensorFlow.js continues with on another backend.
  for (const [power, beta] of [
    [state.accBeta1, beta1],
    [state.accBeta2, beta2],
  ] as const) {
    own(power, backend);
    const live = backend.view(power).live();
    live[0] = live[0]! * beta;
    backend.data.get(power.dataId).changed();
  }
  state.incrementIterations();
}

/** Replaces Adam's update while nabla's backend is active. */
export function installOptimizers(): void {
  const original = AdamOptimizer.prototype.applyGradients;
  AdamOptimizer.prototype.applyGradients = function (this: AdamOptimizer, gradients: Gradients): void {
    const engine = tfEngine();
    const all = Array.isArray(gradients) ? gradients.map(({ tensor }) => tensor) : Object.values(gradients);
    if (engine.backendName !== BACKEND || all.some((g) => g && g.dtype !== "float32")) {
      original.call(this, gradients as never);
      return;
    }
    applyAdam(this as unknown as AdamState, gradients, engine.backend as NablaBackend);
  };
}
