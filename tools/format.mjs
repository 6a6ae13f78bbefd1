// Formats assembly/ with dprint (`--check`: only reports files that are not formatted). Biome formats everything else.
// AssemblyScript allows decorators on functions and constants, but TypeScript does not, so they become comments while dprint runs.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createFromBuffer } from "@dprint/formatter";
import { getPath } from "@dprint/typescript";

const WIDTH = 120;

const formatter = createFromBuffer(readFileSync(getPath()));
formatter.setConfig(
  { lineWidth: WIDTH, indentWidth: 2 },
  {
    "arguments.preferHanging": "always",
    "parameters.preferHanging": "always",
    "importDeclaration.preferHanging": true,
    "importDeclaration.sortNamedImports": "maintain",
    "module.sortImportDeclarations": "maintain",
    "module.sortExportDeclarations": "maintain",
    "variableStatement.preferHanging": true,
    useBraces: "maintain",
    "typeAssertion.spaceBeforeExpression": false,
    "commentLine.forceSpaceAfterSlashes": false,
  },
);

/** Match code on one line: a class, function or method (`@final class Neg { … }`), or a case (`case Op.Sum: sum(x); break;`). */
const ONE_LINE = /^( *)((?:@\w+ |export )*(?:class \w+|function \w+|(?!if|for|while|switch)\w+\().* \{ .* \})$/gm;
const CASE = /^( *)(case .*: .*; break;)$/gm;
/** Decorators before a top-level declaration. */
const DECORATOR = /^(@\w+(?:\(.*?\))?)/gm;

/** The formatted text of a file. Code that is on one line stays on one line if it fits. */
export function format(filePath, text) {
  const kept = [];
  const keep = (mask) => (line, indent, code) => (line.length > WIDTH ? line : indent + mask(kept.push(code) - 1));
  const masked = text
    .replace(
      ONE_LINE,
      keep((i) => `//kept ${i}.`),
    )
    .replace(
      CASE,
      keep((i) => `case kept${i}:`),
    )
    .replace(DECORATOR, "/*decorator $1*/");
  return formatter
    .formatText({ filePath, fileText: masked })
    .replace(/\/\*decorator (.*?)\*\//g, "$1")
    .replace(/\/\/kept (\d+)\.|case kept(\d+):/g, (_, declaration, branch) => kept[declaration ?? branch]);
}

if (process.argv[1] === import.meta.filename) {
  const check = process.argv.includes("--check");
  // tsc compiles opcodes.ts too, so Biome formats and lints it.
  const files = readdirSync("assembly", { recursive: true }).filter(
    (name) => /\.ts$/.test(name) && name !== "opcodes.ts",
  );
  const unformatted = files
    .map((name) => `assembly/${name}`)
    .filter((path) => {
      const text = readFileSync(path, "utf8");
      const formatted = format(path, text);
      if (formatted !== text && !check) writeFileSync(path, formatted);
      return formatted !== text;
    });
  for (const path of unformatted)
    console.error(check ? `${path} is not formatted. Run npm run format.` : `formatted ${path}`);
  if (check && unformatted.length) process.exit(1);
}
