/** Suggests valid names for unknown options and choices. */
import { listed, RangeError } from "./errors.ts";
import { describe } from "./kinds.ts";

/** Other libraries' names for options. */
const aliases: Readonly<Record<string, readonly string[]>> = {
  lr: ["learningrate", "rate", "eta", "stepsize", "alpha"],
  eps: ["epsilon"],
  epsilon: ["eps"],
  betas: ["beta1", "beta2", "beta"],
  beta: ["delta"],
  delta: ["beta"],
  decay: ["momentum", "alpha"],
  weightDecay: ["wd", "decay", "l2"],
  keepdim: ["keepdims"],
  correction: ["unbiased", "ddof"],
  dim: ["axis", "dims"],
  dropout: ["p", "rate", "dropoutrate"],
  numLayers: ["layers", "depth", "nlayers"],
  bias: ["usebias"],
  mask: ["attnmask"],
  causal: ["iscausal"],
  stride: ["strides"],
  padding: ["pad"],
  dtype: ["type"],
  reduction: ["reduce", "sizeaverage"],
  input: ["inputs"],
  model: ["module", "net", "network"],
  step: ["epoch", "iteration"],
  scaleFactor: ["scale"],
};
/** A name in lower case, without separators or spaces. */
const normalize = (name: string): string => name.toLowerCase().replace(/[_\- ]/g, "");

/** The Levenshtein distance between two strings. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + Number(a[i - 1] !== b[j - 1])));
    row = next;
  }
  return row[b.length]!;
}

/** The valid name closest to an unknown one; undefined if none is close. */
export function nearest(name: string, valid: readonly string[]): string | undefined {
  if (name.length > 40) return undefined;
  const wanted = normalize(name);
  const exact = valid.find((one) => normalize(one) === wanted) ?? valid.find((one) => aliases[one]?.includes(wanted));
  if (exact !== undefined) return exact;
  const [best] = valid
    .map((one) => ({ one, edits: distance(wanted, normalize(one)) }))
    .sort((a, b) => a.edits - b.edits);
  return best && best.edits <= Math.max(1, Math.floor(wanted.length / 3)) ? best.one : undefined;
}

/** @throws RangeError that lists the valid choices and suggests the nearest, unless `v` is one of them @internal */
export function requireChoice(op: string, name: string, v: string, valid: readonly string[]): void {
  if (valid.includes(v)) return;
  const near = nearest(String(v), valid);
  throw new RangeError(
    `${op}: ${name} must be ${valid.length ? `one of ${listed(valid)}` : "empty"}, got ${describe(v)}. ${near === undefined ? "" : `Did you mean "${near}"?`}`.trimEnd(),
  );
}
