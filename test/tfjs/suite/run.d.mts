export interface Results {
  readonly passed: readonly string[];
  readonly failed: readonly { readonly name: string; readonly messages: readonly string[] }[];
  readonly skipped: readonly string[];
}
export interface Options {
  readonly filter?: string;
}
export function runInNode(
  backend: string,
  build?: string,
  options?: Options & { readonly command?: readonly string[] },
): Promise<Results>;
export function runInChromium(backend: string, build?: string, options?: Options): Promise<Results>;
export function compare(
  cpu: Results,
  own: Results,
): { readonly failed: Results["failed"]; readonly missing: readonly string[]; readonly added: readonly string[] };
