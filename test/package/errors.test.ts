/** Every error that the package throws has a capped message: files that create errors import their classes from runtime/errors.ts. */
import { readdirSync, readFileSync } from "node:fs";
import ts from "typescript";
import { expect, test } from "vitest";

const CAPPED = ["Error", "RangeError", "TypeError"];
const GLOBAL = [...CAPPED, "AggregateError", "DOMException", "EvalError", "ReferenceError", "SyntaxError", "URIError"];

/** The error classes that a file constructs, calls or extends without importing them from runtime/errors.ts. */
function uncapped(name: string, text: string): string[] {
  const file = ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true);
  const imported = new Set<string>();
  const found: string[] = [];
  const classOf = (node: ts.Expression): string | undefined =>
    ts.isIdentifier(node)
      ? node.text
      : ts.isPropertyAccessExpression(node)
        ? `${node.expression.getText()}.${node.name.text}`
        : undefined;
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) && /\/errors\.ts$/.test((node.moduleSpecifier as ts.StringLiteral).text)) {
      const bindings = node.importClause?.namedBindings;
      // A type import does not exist at run time, so its name refers to the global class.
      if (bindings && ts.isNamedImports(bindings) && !node.importClause?.isTypeOnly)
        for (const one of bindings.elements) if (!one.isTypeOnly) imported.add(one.name.text);
    }
    if (ts.isNewExpression(node) || ts.isCallExpression(node) || ts.isExpressionWithTypeArguments(node)) {
      const own = classOf(node.expression)?.replace(/^globalThis\./, "");
      const isGlobal = GLOBAL.includes(own ?? "");
      // An error without a message, created for its stack, needs no cap.
      const hasMessage = ts.isExpressionWithTypeArguments(node) || Boolean(node.arguments?.length);
      const message = ts.isExpressionWithTypeArguments(node) ? undefined : node.arguments?.[0];
      // Classes without a capped version, such as SyntaxError, are allowed if the message is a string literal of at most 300 characters.
      const isFixed =
        !CAPPED.includes(own ?? "") && message && ts.isStringLiteral(message) && message.text.length <= 300;
      if (isGlobal && hasMessage && !isFixed && (!imported.has(own!) || classOf(node.expression) !== own))
        found.push(
          `${name}:${file.getLineAndCharacterOfPosition(node.getStart()).line + 1}: ${node.expression.getText()}`,
        );
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

test("every file in src that creates an error imports its class from runtime/errors.ts", () => {
  const files = readdirSync("src", { recursive: true, encoding: "utf8" }).filter(
    (name) => name.endsWith(".ts") && name !== "runtime/errors.ts",
  );
  expect(files.length).toBeGreaterThan(150);
  expect(files.flatMap((name) => uncapped(name, readFileSync(`src/${name}`, "utf8")))).toEqual([]);
});

test.each<[string, string, string[]]>([
  ["a global class", 'throw new TypeError("x");', ["a.ts:1: TypeError"]],
  ["a call without new", 'throw Error("x");', ["a.ts:1: Error"]],
  ["a subclass of a global class", "class Mine extends RangeError {}", ["a.ts:1: RangeError"]],
  ["a class of globalThis", 'import { Error } from "./errors.ts";\nthrow new globalThis.Error("x");', ["a.ts:2: globalThis.Error"]],
  ["a class without a capped version", 'throw new SyntaxError("a" + x);', ["a.ts:1: SyntaxError"]],
  ["a short fixed message of such a class", 'abort(new DOMException("x", "AbortError"));', []],
  ["a class imported only as a type", 'import type { Error } from "./errors.ts";\nthrow new Error("x");', ["a.ts:2: Error"]],
  ["a global class if another class is imported", 'import { ShapeError } from "./errors.ts";\nthrow new TypeError("x");', ["a.ts:2: TypeError"]],
  ["an imported class", 'import { Error } from "../runtime/errors.ts";\nthrow new Error("x");', []],
  ["an error without a message", "const { stack } = new Error();", []],
])("%s: finds exactly the uncapped classes", (_, text, found) => expect(uncapped("a.ts", text)).toEqual(found)); // biome-ignore format: a table
