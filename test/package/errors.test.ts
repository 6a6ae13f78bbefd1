/** Every error that the package throws has a capped message: files that make errors import the classes of runtime/errors.ts. */
import { readdirSync, readFileSync } from "node:fs";
import ts from "typescript";
import { expect, test } from "vitest";

const CAPPED = ["Error", "RangeError", "TypeError"];
const GLOBAL = [...CAPPED, "AggregateError", "DOMException", "EvalError", "ReferenceError", "SyntaxError", "URIError"];

/** The classes of errors that a file makes, extends or calls without importing them from runtime/errors.ts. */
function uncapped(name: string, text: string): string[] {
  const file = ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true);
  const imported = new Set<string>();
  const made: string[] = [];
  const classOf = (node: ts.Expression): string | undefined =>
    ts.isIdentifier(node)
      ? node.text
      : ts.isPropertyAccessExpression(node)
        ? `${node.expression.getText()}.${node.name.text}`
        : undefined;
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) && /\/errors\.ts$/.test((node.moduleSpecifier as ts.StringLiteral).text)) {
      const bindings = node.importClause?.namedBindings;
      // A type is erased: the name stands for the global class.
      if (bindings && ts.isNamedImports(bindings) && !node.importClause?.isTypeOnly)
        for (const one of bindings.elements) if (!one.isTypeOnly) imported.add(one.name.text);
    }
    if (ts.isNewExpression(node) || ts.isCallExpression(node) || ts.isExpressionWithTypeArguments(node)) {
      const own = classOf(node.expression)?.replace(/^globalThis\./, "");
      const isGlobal = GLOBAL.includes(own ?? "");
      // Without a message there is nothing to cut: such an error is made for its stack.
      const hasMessage = ts.isExpressionWithTypeArguments(node) || Boolean(node.arguments?.length);
      const message = ts.isExpressionWithTypeArguments(node) ? undefined : node.arguments?.[0];
      // Classes without a capped twin may have a fixed text.
      const isFixed =
        !CAPPED.includes(own ?? "") && message && ts.isStringLiteral(message) && message.text.length <= 300;
      if (isGlobal && hasMessage && !isFixed && (!imported.has(own!) || classOf(node.expression) !== own))
        made.push(
          `${name}:${file.getLineAndCharacterOfPosition(node.getStart()).line + 1}: ${node.expression.getText()}`,
        );
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return made;
}

test("every file in src that makes an error imports its class from runtime/errors.ts", () => {
  const files = readdirSync("src", { recursive: true, encoding: "utf8" }).filter(
    (name) => name.endsWith(".ts") && name !== "runtime/errors.ts",
  );
  expect(files.length).toBeGreaterThan(150);
  expect(files.flatMap((name) => uncapped(name, readFileSync(`src/${name}`, "utf8")))).toEqual([]);
});

test.each<[string, string, string[]]>([
  ["a global class", 'throw new TypeError("x");', ["a.ts:1: TypeError"]],
  ["one without new", 'throw Error("x");', ["a.ts:1: Error"]],
  ["a class that extends one", "class Mine extends RangeError {}", ["a.ts:1: RangeError"]],
  ["one that is named in full", 'import { Error } from "./errors.ts";\nthrow new globalThis.Error("x");', ["a.ts:2: globalThis.Error"]],
  ["one that has no capped class", "throw new SyntaxError(`${x}`);", ["a.ts:1: SyntaxError"]],
  ["none in a fixed text of such a class", 'abort(new DOMException("x", "AbortError"));', []],
  ["one of which only the type is imported", 'import type { Error } from "./errors.ts";\nthrow new Error("x");', ["a.ts:2: Error"]],
  ["another class of errors.ts", 'import { ShapeError } from "./errors.ts";\nthrow new TypeError("x");', ["a.ts:2: TypeError"]],
  ["an imported class", 'import { Error } from "../runtime/errors.ts";\nthrow new Error("x");', []],
  ["an error without a message", "const { stack } = new Error();", []],
])("finds %s", (_, text, found) => expect(uncapped("a.ts", text)).toEqual(found)); // biome-ignore format: a table
