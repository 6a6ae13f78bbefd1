/** A parameter of an op. */
export interface Parameter {
  readonly name: string;
  readonly type: string;
  readonly optional: boolean;
  readonly rest: boolean;
  readonly isOptions?: boolean;
  /** The default, as written in the source. */
  readonly default?: string;
  /** The options' defaults. */
  readonly defaults?: Readonly<Record<string, string>>;
}
export interface Declaration {
  readonly name: string;
  readonly function?: string;
  readonly method?: string;
  readonly parameters: readonly Parameter[];
  readonly text: string;
  readonly tags: readonly { readonly tag: string; readonly text: string }[];
}
export function readDeclarations(root?: string): {
  readonly ops: readonly Declaration[];
  fieldsOf(name: string): readonly { readonly name: string; readonly type: string; readonly text: string }[];
};
