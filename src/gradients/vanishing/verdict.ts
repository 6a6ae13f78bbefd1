/** What a step's numbers say of a model's health, in words, with a remedy for each illness. */

/** One parameter in one step. */
export interface ParameterRow {
  /** The parameter's name in the model. */
  readonly name: string;
  /** The parameter's shape. */
  readonly shape: readonly number[];
  /** ‖∂L/∂W‖₂. */
  readonly gradient: number;
  /** The root mean square of the parameter. */
  readonly weight: number;
  /** ‖ΔW‖/‖W‖ of the step before last to last; NaN where it is not known. About 10⁻³ is healthy. */
  readonly update: number;
}

/** One activation in one step. */
export interface ActivationRow {
  /** The name of the layer whose results were watched. */
  readonly name: string;
  /** The class of that layer. */
  readonly type: string;
  /** Whether it is flat on one side by design, as relu is: then it does not count as saturated. */
  readonly oneSided: boolean;
  /** The share of its outputs in the flat part: |σ − ½| > 0.49 (slope below 1/25 of the steepest), |tanh| > 0.98, relu at 0. */
  readonly saturated: number;
  /** The share of its units that were in the flat part for all of the batch. */
  readonly dead: number;
  /** Over how many rows (samples, times places) that was seen. */
  readonly rows: number;
  /** The root of the outputs' mean square. */
  readonly rms: number;
}

/** What was seen in one step. */
export interface WatchedStep {
  /** One row for each parameter. */
  readonly parameters: readonly ParameterRow[];
  /** One row for each watched layer. */
  readonly activations: readonly ActivationRow[];
}

/** The findings that watch can report. */
export type VerdictKind =
  | "healthy"
  | "vanishing"
  | "exploding"
  | "saturated"
  | "dead"
  | "too fast"
  | "too slow"
  | "no gradient";

/** One finding about a layer or parameter. */
export interface Verdict {
  /** What was found. */
  readonly kind: VerdictKind;
  /** What is seen, with the numbers. */
  readonly text: string;
  /** What to try; "" where all is well. */
  readonly remedy: string;
}

/** Bounds between what is healthy and what is not. */
export const LIMITS = {
  /** The first weight matrix's gradient by the last's, in root mean square per element: below, it vanishes. */
  vanishing: 1e-3,
  /** Above, it explodes. */
  exploding: 1e3,
  /** A gradient larger than this many times its weights explodes too. */
  overWeights: 1e3,
  saturated: 0.5,
  dead: 0.5,
  /** Fewer rows than this say nothing of dead units. */
  rows: 16,
  /** ‖ΔW‖/‖W‖ of a step. */
  fast: 0.1,
  /** Weights smaller than this per element (a head that starts from 0) have no size to move by. */
  size: 0.01,
  slow: 1e-6,
};

const digits = (v: number): string => v.toPrecision(2);
const REMEDIES = {
  vanishing:
    "Try another initialisation (nn.init.xavierUniform for tanh, kaimingNormal for relu), relu or gelu for sigmoid, residual connections, or a normalization layer.",
  exploding:
    "Clip the gradient (optim.clipGradNorm), start from smaller weights, or use a normalization layer or gates (nn.LSTM, nn.GRU).",
  saturated: "Start from smaller weights, standardize the inputs, or put a normalization layer before it.",
  dead: "Lower the learning rate, use nn.LeakyReLU or nn.GELU, or start from biases of 0.",
  fast: "Lower the learning rate, or warm it up.",
  slow: "Raise the learning rate.",
  none: "Does the loss depend on it? Was step() called after backward?",
};

/** Verdicts on a step: what is wrong, or that nothing is. */
export function verdictsOf({ parameters, activations }: WatchedStep): Verdict[] {
  const found = [...gradientVerdicts(parameters), ...updateVerdicts(parameters)];
  for (const { name, type, oneSided, saturated, dead, rows } of activations) {
    if (!oneSided && saturated > LIMITS.saturated)
      found.push({
        kind: "saturated",
        text: `${name} (${type}) is saturated in ${(100 * saturated).toFixed(0)} % of its outputs: little gradient passes.`,
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

/** Weights are matrices and what has more dimensions: biases and scales have no depth to speak of. */
const isWeight = ({ shape }: ParameterRow): boolean => shape.length > 1;
const perElement = (value: number, { shape }: ParameterRow): number =>
  value / Math.sqrt(shape.reduce((a, b) => a * b, 1));

/** Gradients of weights, first layer against last. */
function gradientVerdicts(parameters: readonly ParameterRow[]): Verdict[] {
  const odd = parameters.find(({ gradient }) => !Number.isFinite(gradient));
  if (odd) return [{ kind: "exploding", text: `${odd.name}'s gradient is not finite.`, remedy: REMEDIES.exploding }];
  const weights = parameters.filter(isWeight);
  const still = weights.filter(({ gradient }) => gradient === 0);
  if (still.length)
    return [
      {
        kind: "no gradient",
        text: `No gradient reaches ${still.map(({ name }) => name).join(", ")}.`,
        remedy: REMEDIES.none,
      },
    ];
  const wrong = weights.find(({ gradient, weight }) => gradient > LIMITS.overWeights * Math.max(weight, 1));
  if (wrong)
    return [
      {
        kind: "exploding",
        text: `${wrong.name}'s gradient is ${digits(wrong.gradient)}, its weights ${digits(wrong.weight)}: exploding.`,
        remedy: REMEDIES.exploding,
      },
    ];
  if (weights.length < 2) return [];
  const [first, last] = [weights[0]!, weights.at(-1)!];
  const ratio = perElement(first.gradient, first) / perElement(last.gradient, last);
  const text = `${first.name}'s gradient is ${digits(ratio)} times ${last.name}'s, per element`;
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
        text: `${worst.name} moves by ${digits(worst.update)} of its size in a step.`,
        remedy: REMEDIES.fast,
      },
    ];
  }
  if (known.length && known.every(({ update }) => update < LIMITS.slow))
    return [
      {
        kind: "too slow",
        text: `No weight moves by more than ${LIMITS.slow} of its size in a step.`,
        remedy: REMEDIES.slow,
      },
    ];
  return [];
}
