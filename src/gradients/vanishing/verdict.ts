/** Diagnoses a training step from its norms and activations: names the problem and a remedy. */

import type { DepthRow } from "./depth.ts";

/** The measurements of a parameter W in one step. */
export interface ParameterRow {
  /** The path in the model. */
  readonly name: string;
  /** The parameter's shape. */
  readonly shape: readonly number[];
  /** ‖∂L/∂W‖₂. */
  readonly gradient: number;
  /** ‖W‖₂. */
  readonly weight: number;
  /** ‖ΔW‖/‖W‖ since the previous step; NaN if unknown. About 10⁻³ is healthy. */
  readonly update: number;
}

/** The measurements of an activation in one step. */
export interface ActivationRow {
  /** The path in the model. */
  readonly name: string;
  /** The kind of activation, such as "ReLU". */
  readonly type: string;
  /** Whether the activation is flat on one side by design, like relu, and therefore never counts as saturated. */
  readonly oneSided: boolean;
  /**
   * The fraction of outputs in the flat part, 0 … 1: |σ − ½| > 0.49 (slope below 1/25 of the maximum), |tanh| > 0.98,
   * relu at 0.
   */
  readonly saturated: number;
  /** The fraction of units that were in the flat part for the whole batch, 0 … 1. */
  readonly dead: number;
  /** The number of rows seen: samples times positions. */
  readonly rows: number;
  /** The root mean square of the outputs. */
  readonly rms: number;
}

/** The measurements of one step. */
export interface WatchedStep {
  /**
   * The gradient at the output of each layer with weights, in the order of the forward pass. Empty if these gradients
   * were not measured.
   */
  readonly depth: readonly DepthRow[];
  /** One row per parameter. */
  readonly parameters: readonly ParameterRow[];
  /** One row per use of an activation. */
  readonly activations: readonly ActivationRow[];
}

/** The kind of problem that a diagnosis finds, or "healthy". */
export type VerdictKind =
  | "healthy"
  | "vanishing"
  | "exploding"
  | "saturated"
  | "dead"
  | "too fast"
  | "too slow"
  | "no gradient";

/** One finding from a diagnosis. */
export interface Verdict {
  /** The kind of problem, or "healthy". */
  readonly kind: VerdictKind;
  /** The observation, with numbers. */
  readonly text: string;
  /** The remedy to try; "" for "healthy". */
  readonly remedy: string;
}

/** The thresholds for the diagnosis. */
export const LIMITS = {
  /**
   * Gradients vanish if the norm of the gradient at the first layer's output, divided by the norm at the last layer's
   * output, is below this. If these norms were not measured, the rms gradients of the first and the last weight matrix
   * are compared.
   */
  vanishing: 1e-3,
  /** Gradients explode if the ratio that `vanishing` describes is above this. */
  exploding: 1e3,
  /** Gradients also explode if a weight's gradient exceeds the weight's norm by this factor. */
  overWeights: 1e3,
  /** An activation is saturated if more than this fraction of its outputs is in the flat part. */
  saturated: 0.5,
  /** Dead units are reported if more than this fraction of all units is dead. */
  dead: 0.5,
  /** The minimum number of rows needed to conclude that units are dead. */
  rows: 16,
  /** Updates are too fast if ‖ΔW‖/‖W‖ is above this. */
  fast: 0.1,
  /** If a weight's rms is below this, as in a head that starts at 0, the size of the weight's updates is not judged. */
  size: 0.01,
  /** Updates are too slow if all ‖ΔW‖/‖W‖ are below this. */
  slow: 1e-6,
};

const digits = (v: number): string => v.toPrecision(2);
const REMEDIES = {
  vanishing:
    "Try another initialization (nn.init.xavierUniform for tanh, kaimingNormal for relu), relu or gelu instead of sigmoid, residual connections, or a normalization layer.",
  exploding:
    "Clip the gradient (optim.clipGradNorm), start from smaller weights, or use a normalization layer or gates (nn.LSTM, nn.GRU).",
  saturated: "Start from smaller weights, standardize the inputs, or put a normalization layer before the activation.",
  dead: "Lower the learning rate, use nn.LeakyReLU or nn.GELU, or start from biases of 0.",
  fast: "Lower the learning rate, or use a warmup.",
  slow: "Raise the learning rate.",
  none: "Check that the loss depends on these parameters, and that you call step() after backward.",
};

/** Diagnoses a step: all problems found, or one "healthy" verdict. */
export function verdictsOf({ depth, parameters, activations }: WatchedStep): Verdict[] {
  const found = [...gradientVerdicts(parameters, depth), ...updateVerdicts(parameters)];
  for (const { name, type, oneSided, saturated, dead, rows } of activations) {
    if (!oneSided && saturated > LIMITS.saturated)
      found.push({
        kind: "saturated",
        text: `${name} (${type}) is saturated in ${(100 * saturated).toFixed(0)} % of its outputs, so little gradient passes.`,
        remedy: REMEDIES.saturated,
      });
    if (rows >= LIMITS.rows && dead > LIMITS.dead)
      found.push({
        kind: "dead",
        text: `${name} (${type}): ${(100 * dead).toFixed(0)} % of its units are flat for the whole batch and learn nothing.`,
        remedy: REMEDIES.dead,
      });
  }
  if (!found.length)
    found.push({ kind: "healthy", text: "Gradients, updates and activations look healthy.", remedy: "" });
  return found;
}

/**
 * Whether a parameter is compared across layers: weights with two or more dimensions are, biases and scales are not.
 */
const isWeight = ({ shape }: ParameterRow): boolean => shape.length > 1;
const perElement = (value: number, { shape }: ParameterRow): number =>
  value / Math.sqrt(shape.reduce((a, b) => a * b, 1));

/** Checks the gradients of all weights, and compares the first layer with the last. */
function gradientVerdicts(parameters: readonly ParameterRow[], depth: readonly DepthRow[]): Verdict[] {
  const infinite = parameters.find(({ gradient }) => !Number.isFinite(gradient));
  if (infinite)
    return [{ kind: "exploding", text: `${infinite.name}'s gradient is not finite.`, remedy: REMEDIES.exploding }];
  const weights = parameters.filter(isWeight);
  const untouched = weights.filter(({ gradient }) => gradient === 0);
  if (untouched.length)
    return [
      {
        kind: "no gradient",
        text: `No gradient reaches ${untouched.map(({ name }) => name).join(", ")}.`,
        remedy: REMEDIES.none,
      },
    ];
  const huge = weights.find(({ gradient, weight }) => gradient > LIMITS.overWeights * Math.max(weight, 1));
  if (huge)
    return [
      {
        kind: "exploding",
        text: `${huge.name}'s gradient has norm ${digits(huge.gradient)}, but the weight has norm ${digits(huge.weight)}: exploding.`,
        remedy: REMEDIES.exploding,
      },
    ];
  const reached = depth.filter(({ gradient }) => gradient > 0);
  return reached.length > 1 ? depthVerdicts(reached) : weightVerdicts(weights);
}

/** Compares the gradients at the outputs of the first and the last layer. */
function depthVerdicts(layers: readonly DepthRow[]): Verdict[] {
  const [first, last] = [layers[0]!, layers.at(-1)!];
  const ratio = first.gradient / last.gradient;
  const perLayer = digits(ratio ** (1 / (layers.length - 1)));
  return ratioVerdicts(
    ratio,
    `On its way back, the gradient changes by a factor of about ${perLayer} per layer, from ${digits(last.gradient)} at ${last.name} to ${digits(first.gradient)} at ${first.name}`,
  );
}

/** Compares the gradients of the first and the last layer's weights, which also depend on the sizes of the layers' inputs. */
function weightVerdicts(weights: readonly ParameterRow[]): Verdict[] {
  if (weights.length < 2) return [];
  const [first, last] = [weights[0]!, weights.at(-1)!];
  const ratio = perElement(first.gradient, first) / perElement(last.gradient, last);
  return ratioVerdicts(ratio, `${first.name}'s gradient is ${digits(ratio)} times ${last.name}'s, per element`);
}

function ratioVerdicts(ratio: number, text: string): Verdict[] {
  if (ratio < LIMITS.vanishing) return [{ kind: "vanishing", text: `${text}: vanishing.`, remedy: REMEDIES.vanishing }];
  if (ratio > LIMITS.exploding) return [{ kind: "exploding", text: `${text}: exploding.`, remedy: REMEDIES.exploding }];
  return [];
}

function updateVerdicts(parameters: readonly ParameterRow[]): Verdict[] {
  const known = parameters.filter(
    (row) => isWeight(row) && Number.isFinite(row.update) && perElement(row.weight, row) > LIMITS.size,
  );
  const fast = known.filter(({ update }) => update > LIMITS.fast);
  if (fast.length) {
    const worst = fast.reduce((a, b) => (a.update > b.update ? a : b));
    return [
      {
        kind: "too fast",
        text: `A step changes ${worst.name} by ${digits(worst.update)} times its norm.`,
        remedy: REMEDIES.fast,
      },
    ];
  }
  if (known.length && known.every(({ update }) => update < LIMITS.slow))
    return [
      {
        kind: "too slow",
        text: `A step changes no weight by more than ${LIMITS.slow} times its norm.`,
        remedy: REMEDIES.slow,
      },
    ];
  return [];
}
