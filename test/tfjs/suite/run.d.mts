export interface Results {
  readonly passed: readonly string[];
  readonly failed: readonly { readonly name: string; readonly messages: readonly string[] }[];
  readonly skipped: readonly string[];
}
type Init = Parameters<typeof import("nabla").init>[0];
export interface Options {
  readonly filter?: string;
}
export function runInNode(
  backend: string,
  init?: Init,
  options?: Options & { readonly command?: readonly string[] },
): Promise<Results>;
export function runInChromium(backend: string, init?: Init, options?: Options): Promise<Results>;
export function compare(
  cpu: Results,
  own: Results,
): { readonly failed: Results["failed"]; readonly missing: readonly string[]; readonly added: readonly string[] };
