/** Access to Node's own modules, for code that browsers and bundlers read too: they never see an import of one. */

/** A module of Node, Deno or Bun, such as "fs/promises"; undefined on the web. */
export async function nodeModule<T>(name: string): Promise<T | undefined> {
  const { process } = globalThis as { process?: { versions?: { node?: string }; getBuiltinModule?(name: string): T } };
  if (!process?.versions?.node) return undefined;
  const id = `node:${name}`;
  return process.getBuiltinModule?.(id) ?? ((await import(/* @vite-ignore */ /* webpackIgnore: true */ id)) as T);
}
