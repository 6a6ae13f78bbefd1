/** Mistakes that mutation tests make on purpose. */
import type { Edit } from "./mutate.ts";

type Kind = "sign" | "factor ½" | "missing term" | "off by one" | "inverse" | "order" | "condition";
export interface Mutation extends Edit {
  readonly kind: Kind;
}
/** Replaces the text `from` with `to`. */
type Change = readonly [kind: Kind, from: string, to: string];

/** Mistakes in a file of src. */
export const within = (file: string, ...changes: readonly Change[]): readonly Mutation[] =>
  changes.map(([kind, from, to]) => ({ kind, file, from, to }));
