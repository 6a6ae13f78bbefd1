/**
 * Describes in plain words how the gradient passes through a network, from measured derivatives, and offers remedies. It
 * depends on the library only for the slope of a list of norms.
 */
import { type ActivationRow, growthPerStep } from "nabla/gradients";
import { showTick } from "../../scale.ts";
import { type Settings, USUAL_RATES } from "./settings.ts";

/** What one mini-batch shows. */
export interface Measured {
  readonly settings: Settings;
  readonly steps: number;
  readonly loss: number;
  /** The median loss of the last 100 mini-batches; undefined if there were fewer. */
  readonly recentLoss: number | undefined;
  /** ‖∂L/∂z‖ of each hidden layer's z = Wx + b, from the first to the last. */
  readonly norms: readonly number[];
  readonly activations: readonly ActivationRow[];
  /** ‖ΔW‖/‖W‖ of each layer's weight, from the first to the output, in the last step; undefined before the first step. */
  readonly updates: readonly number[] | undefined;
}

export type Kind =
  | "diverged"
  | "no gradient"
  | "vanishing"
  | "exploding"
  | "saturated"
  | "dead"
  | "too fast"
  | "stuck"
  | "shrinking"
  | "growing"
  | "healthy";

/** Changes to the settings that remove the problem. */
export interface Remedy {
  readonly text: string;
  readonly settings: Partial<Settings>;
}

export interface Diagnosis {
  readonly kind: Kind;
  readonly title: string;
  readonly text: string;
  readonly remedies: readonly Remedy[];
  /** The factor by which ‖∂L/∂z‖ changes per layer on the way back; NaN for a single hidden layer. */
  readonly factor: number;
}

/** The gradient vanishes or explodes if its norm changes by more than this factor between the first and the last hidden layer. */
const LIMIT = 30;
/** It shrinks or grows if it changes by more than this factor per layer. */
const FOLD = 2;
/** The fraction of outputs in the flat part, or of units that are always off, that is worth a mention. */
const MANY = 0.5;
/** The fraction of outputs in the flat part that is a problem by itself. Training saturates half of a layer's sigmoids. */
const MOST = 0.75;
/** A factor per layer between 1/STEADY and STEADY keeps the gradient's size. */
const STEADY = 1.25;
/** The loss of guessing is ln 10. A network with more than this part of it has learned nothing. */
const GUESSING = 0.97;
/** A step that changes a weight by more than this part of its norm is too large. */
const FAST = 0.5;

const RELU: Remedy = { text: "ReLU with He", settings: { activation: "ReLU", init: "He" } };
const FEWER: Remedy = { text: "2 layers", settings: { layers: 2 } };
const TANH: Remedy = { text: "tanh with Xavier", settings: { activation: "tanh", init: "Xavier" } };

/** The diagnosis of the most serious problem, or "healthy". */
export function diagnosisOf(measured: Measured): Diagnosis {
  const { settings, steps, loss, recentLoss, norms, activations, updates } = measured;
  const factor = Math.exp(growthPerStep(norms));
  const describe = (kind: Kind, title: string, text: string, remedies: readonly Remedy[] = []): Diagnosis => ({
    kind,
    title,
    text: [text, kind === "diverged" ? "" : flatText(activations), updateText(updates)].filter(Boolean).join(" "),
    remedies,
    factor,
  });
  const slower = slowerOf(settings);

  if (![loss, ...norms].every(Number.isFinite))
    return describe(
      "diverged",
      "Training diverged",
      "The loss or a gradient is no longer a finite number.",
      isUsual(settings) ? slower : [remedyFor(settings), ...slower],
    );
  const last = norms.length;
  const blocked = norms.lastIndexOf(0);
  if (blocked >= 0)
    return describe(
      "no gradient",
      "No gradient arrives",
      `The gradient at ${blocked ? `layers 1 to ${blocked + 1}` : "layer 1"} is exactly 0, so ${blocked ? "they learn" : "it learns"} nothing.`,
      isUsual(settings) ? slower : [remedyFor(settings), ...slower],
    );
  const ratio = norms[0]! / norms[last - 1]!;
  if (ratio < 1 / LIMIT)
    return describe(
      "vanishing",
      "The gradient vanishes",
      `On the way back it ${trend(factor)}: layer 1 receives ${showPart(1 / ratio)} of the gradient at layer ${last}.`,
      remediesFor(settings),
    );
  if (ratio > LIMIT)
    return describe(
      "exploding",
      "The gradient explodes",
      `On the way back it ${trend(factor)}: at layer 1 it is ${showCount(ratio)} times as large as at layer ${last}.`,
      remediesFor(settings),
    );
  const flat = mostFlat(activations);
  if (flat && flat.saturated > MOST)
    return describe(
      "saturated",
      "Units are saturated",
      `The gradient ${trend(factor)}, but many units pass on almost none of it.`,
      isUsual(settings) ? slower : [remedyFor(settings)],
    );
  const off = activations.find(({ dead, oneSided }) => oneSided && dead > MANY);
  if (off)
    return describe("dead", "Units are dead", "Units whose output is 0 pass on no gradient and learn nothing.", [
      ...slower,
      { text: "leaky ReLU", settings: { activation: "leaky ReLU" } },
    ]);
  const fastest = updates?.reduce((most, update, i) => (update > updates[most]! ? i : most), 0);
  if (updates && updates[fastest!]! > FAST)
    return describe(
      "too fast",
      "The steps are too large",
      `A step changes a weight by ${percent(updates[fastest!]!)} of its norm.`,
      slower,
    );
  if (recentLoss !== undefined && recentLoss > GUESSING * Math.log(10))
    return describe(
      "stuck",
      "It learns nothing",
      `After ${steps.toLocaleString("en")} mini-batches, the loss is ${recentLoss.toFixed(2)}, no better than guessing (ln 10 ≈ 2.30). On the way back the gradient ${trend(factor)}.`,
      isUsual(settings) ? usualOf(settings) : remediesFor(settings),
    );
  if (factor < 1 / FOLD)
    return describe(
      "shrinking",
      "The gradient shrinks",
      `On the way back it ${trend(factor)}. With more layers it would vanish.`,
      remediesFor(settings),
    );
  if (factor > FOLD)
    return describe(
      "growing",
      "The gradient grows",
      `On the way back it ${trend(factor)}. With more layers it would explode.`,
      remediesFor(settings),
    );
  return describe(
    "healthy",
    "The gradient reaches every layer",
    last === 1
      ? "With one hidden layer, it passes through one activation only."
      : `On the way back it ${trend(factor)}.`,
  );
}

/** Whether the activation has the initialization that was derived for it, and still works in a deep network. */
const isUsual = ({ activation, init }: Settings): boolean =>
  init === (activation === "tanh" || activation === "sigmoid" ? "Xavier" : "He") && activation !== "sigmoid";

/** The initialization that fits the activation; for sigmoid, another activation. */
function remedyFor({ activation }: Settings): Remedy {
  if (activation === "sigmoid") return RELU;
  if (activation === "tanh") return TANH;
  return { text: `${activation} with He`, settings: { activation, init: "He" } };
}
/** Combinations that keep the gradient's size, other than the current one; for the best of them, fewer layers. */
function remediesFor(settings: Settings): Remedy[] {
  if (isUsual(settings)) return [FEWER];
  const fitting = remedyFor(settings);
  return [fitting, fitting.settings.activation === "tanh" ? RELU : TANH];
}
/** The optimizer's usual learning rate, or fewer layers if it has that already. */
const usualOf = ({ optimizer, lr }: Settings): Remedy[] =>
  lr === USUAL_RATES[optimizer]
    ? [FEWER]
    : [{ text: `learning rate ${USUAL_RATES[optimizer]}`, settings: { lr: USUAL_RATES[optimizer] } }];
/** A lower learning rate, at most the usual one. */
function slowerOf({ optimizer, lr }: Settings): Remedy[] {
  const usual = Math.min(USUAL_RATES[optimizer], lr / 3);
  return [{ text: `learning rate ${Number(usual.toPrecision(1))}`, settings: { lr: Number(usual.toPrecision(1)) } }];
}

/** The layer that an activation belongs to: activations are measured in the order of the layers. */
const layerOf = (row: ActivationRow, all: readonly ActivationRow[]): string => `layer ${all.indexOf(row) + 1}`;

/** The activation with the most outputs in its flat part. One side of ReLU is flat by design. */
const mostFlat = (activations: readonly ActivationRow[]): ActivationRow | undefined =>
  activations.filter(({ oneSided }) => !oneSided).sort((a, b) => b.saturated - a.saturated)[0];

/** The most saturated layer, and the layer with the most dead units, if they are worth a mention. */
function flatText(activations: readonly ActivationRow[]): string {
  const flat = mostFlat(activations);
  if (flat && flat.saturated > MANY)
    return `${percent(flat.saturated)} of ${layerOf(flat, activations)}’s outputs are in the flat part of ${flat.type.toLowerCase()}.`;
  const off = activations.filter(({ oneSided }) => oneSided).sort((a, b) => b.dead - a.dead)[0];
  if (!off || off.dead <= MANY) return "";
  return `${percent(off.dead)} of ${layerOf(off, activations)}’s units are 0 for the whole mini-batch.`;
}

/** How the gradient changes from a layer to the one before. */
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
