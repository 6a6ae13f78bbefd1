/** Runs the code that documentation shows, against the built package, and collects what its comments claim. */
import { mkdirSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import ts from "typescript";

export interface Claim {
  readonly expression: string;
  readonly actual: unknown;
  readonly expected: unknown;
}

/** A line that is a whole expression with its value behind it: `expression; // [1, 2], and words`. */
const CLAIM = /^(?!import|const|let|for|\/\/)(\S.*?);?\s*\/\/\s*(\[[^a-z]*\]|-?[\d.]+)/;

/** Runs TypeScript as a module of this package, on an engine of its own. The claims are in the order of the lines. */
export async function run(source: string, name: string): Promise<Claim[]> {
  const expected: unknown[] = [];
  const expressions: string[] = [];
  const lines = source.split("\n").map((line) => {
    const match = CLAIM.exec(line);
    if (!match) return line;
    expressions.push(match[1]!);
    expected.push(JSON.parse(match[2]!));
    return `__actual.push(${match[1]});`;
  });
  const anew = 'import { dispose as __dispose } from "nabla";\nawait __dispose();';
  const module = `${anew}\nexport const __actual: unknown[] = [];\n${lines.join("\n")}`;
  const { outputText } = ts.transpileModule(module, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  });
  mkdirSync("build/snippets", { recursive: true });
  const file = `build/snippets/${name}.mjs`;
  writeFileSync(file, outputText);
  const { __actual } = (await import(/* @vite-ignore */ pathToFileURL(file).href)) as { __actual: unknown[] };
  return expressions.map((expression, i) => ({ expression, actual: __actual[i], expected: expected[i] }));
}
