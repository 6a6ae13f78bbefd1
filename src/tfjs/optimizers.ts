/**
 * Runs the steps of TensorFlow.js's SGD, momentum, RMSProp, Adagrad and Adam in one pass over each variable, which
 * changes the variable and the optimizer's state in place. TensorFlow.js's own Adam needs fourteen kernels and as many
 * new tensors per variable and step.
 */
import {
  AdagradOptimizer,
  AdamOptimizer,
  fill,
  MomentumOptimizer,
  RMSPropOptimizer,
  SGDOptimizer,
  type Tensor,
  engine as tfEngine,
  type Variable,
} from "@tensorflow/tfjs-core";
import { UpdateFlag } from "../../assembly/opcodes.ts";
import { sameShape } from "../ops/definition/value.ts";
import { updateParameter } from "../ops/update/update.ts";
import { BACKEND, type NablaBackend } from "./backend.ts";
import { newView, runOps, vector } from "./view.ts";

/** One variable of an optimizer's state, such as the momentum of one of the model's variables. */
interface Slot {
  readonly originalName: string;
  readonly variable: Variable;
}
/** The fields of an optimizer that all rules read. TensorFlow.js's types hide most of these fields. */
interface State {
  readonly learningRate: number;
  readonly iterations: number;
  incrementIterations(): void;
}
type Gradient = { readonly name: string; readonly tensor: Tensor | null | undefined };
type Gradients = Gradient[] | Record<string, Tensor | null | undefined>;

const listed = (gradients: Gradients): Gradient[] =>
  Array.isArray(gradients) ? gradients : Object.entries(gradients).map(([name, tensor]) => ({ name, tensor }));

/** How to run an optimizer's step as one of nabla's updates. */
interface Rule<S extends State> {
  readonly kind: Parameters<typeof updateParameter>[0];
  /** The lists of state variables. Each list comes with the suffix and the initial value (default 0) of its variables. */
  readonly slots: (state: S) => [list: Slot[], suffix: string, initial?: number][];
  readonly constants: (state: S) => number[];
  readonly flags?: (state: S) => number;
  /** The step count, starting at 1. */
  readonly step: (state: S) => number;
  /** Whether the optimizer has options that the update does not support. */
  readonly rejects?: (state: S) => boolean;
  /** Updates state that does not belong to a variable. */
  readonly after?: (state: S, backend: NablaBackend) => void;
}

function slotOf(list: Slot[], i: number, { name, shape }: Variable, suffix: string, initial = 0): Variable {
  list[i] ??= {
    originalName: `${name}/${suffix}`,
    variable: tfEngine().tidy(() => fill(shape, initial).variable(false)),
  };
  return list[i].variable;
}

/**
 * If other tensors share a variable's data, gives the variable its own copy, because an update must not change the
 * other tensors.
 */
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

/**
 * Whether nabla can apply a gradient: the gradient and its variable must be float32 and have the same shape.
 * TensorFlow.js broadcasts gradients of other shapes, and rejects other types.
 */
function fits({ name, tensor }: Gradient): boolean {
  if (!tensor) return true;
  const variable = tfEngine().registeredVariables[name];
  return variable?.dtype === "float32" && tensor.dtype === "float32" && sameShape(variable.shape, tensor.shape);
}

function applyRule<S extends State>(
  state: S,
  gradients: readonly Gradient[],
  rule: Rule<S>,
  backend: NablaBackend,
): void {
  const slots = rule.slots(state);
  const parts = gradients.flatMap(({ name, tensor: gradient }, i) => {
    const value = tfEngine().registeredVariables[name]!;
    const written = [value, ...slots.map(([list, ...rest]) => slotOf(list, i, value, ...rest))];
    return gradient ? [{ gradient, written }] : [];
  });
  for (const { written } of parts) for (const variable of written) own(variable, backend);
  const attributes = { flags: rule.flags?.(state) ?? 0, constants: rule.constants(state) };
  runOps(() => {
    const [lr, step] = [vector([state.learningRate], "float32"), vector([rule.step(state)], "int32")];
    for (const { gradient, written } of parts) {
      const [p, ...rest] = written.map((variable) => backend.view(variable));
      updateParameter(rule.kind, { p: p!, g: backend.view(gradient), lr, step, state: rest }, attributes);
    }
    return null;
  });
  for (const { written } of parts) for (const { dataId } of written) backend.data.get(dataId).changed();
  rule.after?.(state, backend);
  state.incrementIterations();
}

/** p ← p − η·g. */
const sgd: Rule<State> = { kind: "sgd", slots: () => [], constants: () => [0, 0, 0], step: () => 1 };

interface MomentumState extends State {
  readonly momentum: number;
  readonly useNesterov: boolean;
  readonly accumulations: Slot[];
}
/**
 * b ← μb + g; p ← p − η·b, or p − η·(g + μb) with Nesterov's momentum. b starts at 0, so the first step needs no
 * special case, and `step` is always 2.
 */
const momentum: Rule<MomentumState> = {
  kind: "sgd",
  slots: ({ accumulations }) => [[accumulations, "momentum"]],
  constants: (state) => [state.momentum, 0, 0],
  flags: ({ useNesterov }) => (useNesterov ? UpdateFlag.Nesterov : 0),
  step: () => 2,
};

interface RMSPropState extends State {
  readonly decay: number;
  readonly momentum: number;
  readonly epsilon: number;
  readonly centered: boolean;
  readonly accumulatedMeanSquares: Slot[];
  readonly accumulatedMoments: Slot[];
}
/** v ← αv + (1 − α)g²; b ← μb + η·g/√(v + ε); p ← p − b. The centered variant is left to TensorFlow.js. */
const rmsProp: Rule<RMSPropState> = {
  kind: "rmsProp",
  slots: (state) => [
    [state.accumulatedMeanSquares, "rms"],
    [state.accumulatedMoments, "momentum"],
  ],
  constants: ({ decay, epsilon, momentum }) => [decay, epsilon, 0, momentum],
  flags: () => UpdateFlag.TensorFlow,
  step: () => 1,
  rejects: ({ centered }) => centered,
};

interface AdagradState extends State {
  readonly initialAccumulatorValue: number;
  readonly accumulatedGrads: Slot[];
}
/** s ← s + g²; p ← p − η·g/√(s + ε), with the backend's ε. */
const adagrad: Rule<AdagradState> = {
  kind: "adagrad",
  slots: (state) => [[state.accumulatedGrads, "accumulator", state.initialAccumulatorValue]],
  constants: () => [tfEngine().backend.epsilon(), 0, 0],
  flags: () => UpdateFlag.TensorFlow,
  step: () => 1,
};

interface AdamState extends State {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly accBeta1: Variable;
  readonly accBeta2: Variable;
  readonly accumulatedFirstMoment: Slot[];
  readonly accumulatedSecondMoment: Slot[];
}
/** Kingma and Ba 2015, with TensorFlow.js's defaults: m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², p ← p − η·m̂/(√v̂ + ε). */
const adam: Rule<AdamState> = {
  kind: "adam",
  slots: (state) => [
    [state.accumulatedFirstMoment, "m"],
    [state.accumulatedSecondMoment, "v"],
  ],
  constants: ({ beta1, beta2, epsilon }) => [beta1, beta2, epsilon, 0],
  step: ({ iterations }) => iterations + 1,
  after({ accBeta1, beta1, accBeta2, beta2 }, backend) {
    // Update β₁ᵗ and β₂ᵗ too, because TensorFlow.js needs them if training moves to another backend.
    for (const [power, beta] of [
      [accBeta1, beta1],
      [accBeta2, beta2],
    ] as const) {
      own(power, backend);
      const live = backend.view(power).live();
      live[0] = live[0]! * beta;
      backend.data.get(power.dataId).changed();
    }
  },
};

/**
 * Makes an optimizer class use a rule while nabla's backend is active. Steps that the rule does not support are left to
 * TensorFlow.js.
 */
function install<S extends State>(
  { prototype }: { readonly prototype: { applyGradients(gradients: never): void } },
  rule: Rule<S>,
): void {
  const original = prototype.applyGradients as (gradients: Gradients) => void;
  prototype.applyGradients = function (this: unknown, gradients: Gradients): void {
    const engine = tfEngine();
    const all = listed(gradients);
    if (engine.backendName === BACKEND && all.every(fits) && !rule.rejects?.(this as S))
      applyRule(this as S, all, rule, engine.backend as NablaBackend);
    else original.call(this, gradients);
  };
}

export function installOptimizers(): void {
  install(SGDOptimizer, sgd);
  install(MomentumOptimizer, momentum);
  install(RMSPropOptimizer, rmsProp);
  install(AdagradOptimizer, adagrad);
  install(AdamOptimizer, adam);
}
