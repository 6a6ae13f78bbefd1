/**
 * Describes in plain words how the gradient passes through a network, and offers remedies. The library's `diagnose` finds
 * faults in the gradients of one mini-batch; this file also looks at the loss over many mini-batches.
 */
import { type ActivationRow, growthPerStep, type ParameterRow, type VerdictKind } from "nabla/gradients";
import { showTick } from "../../scale.ts";
import { type Settings, USUAL_RATES } from "./settings.ts";

/** The input of a diagnosis: the settings, and what was measured on the last mini-batches. */
export interface Measured {
  readonly settings: Settings;
  readonly steps: number;
  readonly loss: number;
  /** The median loss of the last 100 mini-batches; undefined if there were fewer. */
  readonly recentLoss: number | undefined;
  /** The problems found in the gradients and the last step, the most serious first. */
  readonly problems: readonly VerdictKind[];
  /** ‖∂L/∂z‖ of each layer's z = Wx + b, from the first to the output. */
  readonly norms: readonly number[];
  /** The weight of each layer, from the first to the output. */
  readonly weights: readonly ParameterRow[];
  readonly activations: readonly ActivationRow[];
  /** ‖ΔW‖/‖W‖ of each weight W after the last step; undefined before the first step. */
  readonly updates: readonly number[] | undefined;
}

/** The kind of a diagnosis: one of the library's verdicts, or a verdict based on the loss. */
export type Kind = VerdictKind | "diverged" | "stuck";

/** Changes to the settings that should solve the problem. */
export interface Remedy {
  readonly text: string;
  readonly settings: Partial<Settings>;
}

export interface Diagnosis {
  readonly kind: Kind;
  readonly title: string;
  readonly text: string;
  readonly remedies: readonly Remedy[];
  /** The factor by which ‖∂L/∂z‖ changes per hidden layer on the way back; NaN for a single hidden layer. */
  readonly factor: number;
}

/** If the factor per layer is between 1/STEADY and STEADY, the text says that the gradient keeps its size. */
const STEADY = 1.25;
/** Guessing gives a loss of ln 10. A network whose loss is above this fraction of ln 10 has learned nothing. */
const GUESSING = 0.97;

const RELU: Remedy = { text: "ReLU with He", settings: { activation: "ReLU", init: "He" } };
const FEWER: Remedy = { text: "2 layers", settings: { layers: 2 } };
const TANH: Remedy = { text: "tanh with Xavier", settings: { activation: "tanh", init: "Xavier" } };

type Words = readonly [title: string, text: string, remedies: readonly Remedy[]];

/** The title, the text and the remedies of each kind of diagnosis. */
const WORDS: Readonly<Record<Kind, (measured: Measured, trend: string) => Words>> = {
  diverged: ({ settings }) => [
    "Training diverged",
    "The loss or a gradient is no longer a finite number.",
    fittingOrSlower(settings),
  ],
  "no gradient": ({ settings, weights }) => {
    const names = weights.flatMap(({ gradient }, i) => (gradient === 0 ? [layerName(i, weights.length)] : []));
    return [
      "No gradient arrives",
      `The gradient of the weights of ${listed(names)} is exactly 0, so they learn nothing.`,
      fittingOrSlower(settings),
    ];
  },
  vanishing: ({ settings, norms }, trend) => [
    "The gradient vanishes",
    `On the way back it ${trend}. Layer 1 receives ${showPart(norms.at(-1)! / norms[0]!)} of the gradient at the output.`,
    remediesFor(settings),
  ],
  exploding: ({ settings, norms, weights }, trend) => {
    const ratio = norms[0]! / norms.at(-1)!;
    const sizes = weights.map(({ gradient, weight }) => gradient / weight);
    const largest = sizes.indexOf(Math.max(...sizes));
    return [
      "The gradient explodes",
      ratio > sizes[largest]!
        ? `On the way back it ${trend}. At layer 1 it is ${showCount(ratio)} times as large as at the output.`
        : `The gradient of the weights of ${layerName(largest, weights.length)} is ${showCount(sizes[largest]!)} times as large as the weights.`,
      remediesFor(settings),
    ];
  },
  saturated: ({ settings }, trend) => [
    "Units are saturated",
    `The gradient ${trend}, but many units pass on almost none of it.`,
    isUsual(settings) ? slowerOf(settings) : [remedyFor(settings)],
  ],
  dead: ({ settings }) => [
    "Units are dead",
    "Units whose output is 0 pass on no gradient and learn nothing.",
    [...slowerOf(settings), { text: "leaky ReLU", settings: { activation: "leaky ReLU" } }],
  ],
  "too fast": ({ settings, updates }) => [
    "The steps are too large",
    `A step changes a weight by ${percent(Math.max(...updates!))} of its norm.`,
    slowerOf(settings),
  ],
  "too slow": ({ settings }) => ["The steps are too small", "A step hardly changes any weight.", usualOf(settings)],
  stuck: ({ settings, steps, recentLoss }, trend) => [
    "It learns nothing",
    `After ${steps.toLocaleString("en")} mini-batches, the loss is ${recentLoss!.toFixed(2)}, no better than guessing (ln 10 ≈ 2.30). On the way back the gradient ${trend}.`,
    isUsual(settings) ? usualOf(settings) : remediesFor(settings),
  ],
  healthy: ({ norms }, trend) => [
    "The gradient reaches every layer",
    norms.length === 2
      ? "With one hidden layer, it passes through only one activation."
      : `On the way back it ${trend}.`,
    [],
  ],
};

/** The diagnosis of the most serious problem, or "healthy". */
export function diagnosisOf(measured: Measured): Diagnosis {
  const { norms, activations, updates, problems } = measured;
  const factor = Math.exp(growthPerStep(norms.slice(0, -1)));
  const kind = kindOf(measured);
  const [title, text, remedies] = WORDS[kind](measured, trend(factor));
  const flat = kind === "diverged" ? "" : flatText(activations, problems);
  return { kind, title, text: [text, flat, updateText(updates)].filter(Boolean).join(" "), remedies, factor };
}

function kindOf({ loss, recentLoss, norms, weights, problems }: Measured): Kind {
  if (![loss, ...norms, ...weights.map(({ gradient }) => gradient)].every(Number.isFinite)) return "diverged";
  if (problems.length) return problems[0]!;
  return recentLoss !== undefined && recentLoss > GUESSING * Math.log(10) ? "stuck" : "healthy";
}

/**
 * Whether the initialization was derived for the activation, and the combination works in deep networks. No
 * initialization makes the sigmoid work in deep networks.
 */
const isUsual = ({ activation, init }: Settings): boolean =>
  init === (activation === "tanh" || activation === "sigmoid" ? "Xavier" : "He") && activation !== "sigmoid";

/** Offers the initialization that fits the activation. If the activation is the sigmoid, offers ReLU with He initialization instead. */
function remedyFor({ activation }: Settings): Remedy {
  if (activation === "sigmoid") return RELU;
  if (activation === "tanh") return TANH;
  return { text: `${activation} with He`, settings: { activation, init: "He" } };
}
/** Offers the initialization that fits the activation, unless it is the current one, and a lower learning rate. */
const fittingOrSlower = (settings: Settings): Remedy[] =>
  isUsual(settings) ? slowerOf(settings) : [remedyFor(settings), ...slowerOf(settings)];
/**
 * Offers combinations of activation and initialization that keep the gradient's size, or fewer layers if the current
 * combination already does.
 */
function remediesFor(settings: Settings): Remedy[] {
  if (isUsual(settings)) return [FEWER];
  const fitting = remedyFor(settings);
  return [fitting, fitting.settings.activation === "tanh" ? RELU : TANH];
}
/** Offers the optimizer's usual learning rate, or fewer layers if that is already the current rate. */
const usualOf = ({ optimizer, lr }: Settings): Remedy[] =>
  lr === USUAL_RATES[optimizer]
    ? [FEWER]
    : [{ text: `learning rate ${USUAL_RATES[optimizer]}`, settings: { lr: USUAL_RATES[optimizer] } }];
/** Offers the optimizer's usual learning rate or a third of the current one, whichever is lower. */
function slowerOf({ optimizer, lr }: Settings): Remedy[] {
  const usual = Math.min(USUAL_RATES[optimizer], lr / 3);
  return [{ text: `learning rate ${Number(usual.toPrecision(1))}`, settings: { lr: Number(usual.toPrecision(1)) } }];
}

const layerName = (i: number, count: number): string => (i < count - 1 ? `layer ${i + 1}` : "the output");
/** "layer 1", "layer 1 and layer 2", "layer 1, layer 2 and the output". */
const listed = (names: readonly string[]): string => names.join(", ").replace(/, ([^,]*)$/, " and $1");

/** The row with the largest value for `key`, and the number of its layer. The rows are in the order of the layers. */
function mostOf(rows: readonly ActivationRow[], oneSided: boolean, key: "saturated" | "dead"): [ActivationRow, number] {
  const most = rows.filter((row) => row.oneSided === oneSided).sort((a, b) => b[key] - a[key])[0]!;
  return [most, rows.indexOf(most) + 1];
}

/**
 * A sentence about the most saturated layer, or about the layer with the most dead units; empty if there is neither
 * problem.
 */
function flatText(activations: readonly ActivationRow[], problems: readonly VerdictKind[]): string {
  if (problems.includes("saturated")) {
    const [{ saturated, type }, layer] = mostOf(activations, false, "saturated");
    return `${percent(saturated)} of layer ${layer}’s outputs are in the flat part of ${type.toLowerCase()}.`;
  }
  if (!problems.includes("dead")) return "";
  const [{ dead }, layer] = mostOf(activations, true, "dead");
  return `${percent(dead)} of layer ${layer}’s units are 0 for the whole mini-batch.`;
}

/** Describes how the gradient's size changes from a layer to the previous one. */
function trend(factor: number): string {
  if (factor > 1 / STEADY && factor < STEADY) return "keeps its size";
  const fold = Number(Math.max(factor, 1 / factor).toPrecision(2)).toLocaleString("en");
  return `${factor < 1 ? "shrinks" : "grows"} ${fold}-fold per layer`;
}

function updateText(updates: readonly number[] | undefined): string {
  if (!updates?.every(Number.isFinite)) return "";
  return `A step changes the weights of layer 1 by ${percent(updates[0]!)} and those of the output by ${percent(updates.at(-1)!)}.`;
}

const percent = (part: number): string => `${plain(100 * part)} %`;
const showCount = (ratio: number): string => Number(ratio.toPrecision(2)).toLocaleString("en");
/** 1/1,200, or 10⁻¹². */
const showPart = (ratio: number): string =>
  ratio < 1e6 ? `1/${showCount(ratio)}` : showTick(1 / 10 ** Math.round(Math.log10(ratio)));
const plain = (value: number): string => showTick(Number(value.toPrecision(2)));
