/** Imports Node's built-in modules in code that also runs in browsers, in a way that bundlers do not detect. */

/** A built-in module of Node, Deno or Bun, such as "fs/promises"; undefined on the web. */
export async function nodeModule<T>(name: string): Promise<T | undefined> {
  const { process } = globalThis as { process?: { versions?: { node?: string }; getBuiltinModule?(name: string): T } };
  if (!process?.versions?.node) return undefined;
  const id = `node:${name}`;
  return process.getBuiltinModule?.(id) ?? ((await import(/* @vite-ignore */ /* webpackIgnore: true */ id)) as T);
}
