/** The names that a file imports from a module, excluding types. */
export function importsOf(source: string, module: string): string[] {
  const statements = Array.from(source.matchAll(/^import \{([^}]*)\} from "([^"]+)";$/gm), ([, names, from]) => ({
    names: names!.split(",").map((name) => name.trim()),
    from,
  }));
  return statements.flatMap(({ names, from }) =>
    from === module ? names.filter((name) => name && !name.startsWith("type ")) : [],
  );
}
