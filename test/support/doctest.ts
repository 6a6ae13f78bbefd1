/** Runs code samples from the documentation and compares results with the values in their comments. */
import { mkdirSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import ts from "typescript";
import { expect } from "vitest";

export interface Claim {
  readonly expression: string;
  readonly actual: unknown;
  readonly expected: unknown;
}

const { SyntaxKind } = ts;
const KEYWORDS = new Map<ts.SyntaxKind, unknown>([
  [SyntaxKind.TrueKeyword, true],
  [SyntaxKind.FalseKeyword, false],
  [SyntaxKind.NullKeyword, null],
]);
const NAMES: Readonly<Record<string, unknown>> = {
  undefined,
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
};
/** Marks a comment that does not start with a value. */
const PROSE = Symbol();

/** The value of a literal: a number, string, boolean, null, undefined, or an array or object of these; otherwise PROSE. */
function literal(node: ts.Expression): unknown {
  if (ts.isNumericLiteral(node)) return Number(node.text);
  if (ts.isStringLiteral(node)) return node.text;
  if (KEYWORDS.has(node.kind)) return KEYWORDS.get(node.kind);
  if (ts.isIdentifier(node)) return Object.hasOwn(NAMES, node.text) ? NAMES[node.text] : PROSE;
  if (ts.isPrefixUnaryExpression(node) && node.operator === SyntaxKind.MinusToken) {
    const value = literal(node.operand);
    return typeof value === "number" ? -value : PROSE;
  }
  if (ts.isArrayLiteralExpression(node)) {
    const values = node.elements.map(literal);
    return values.includes(PROSE) ? PROSE : values;
  }
  if (ts.isObjectLiteralExpression(node)) {
    const entries = node.properties.map((property): [string, unknown] =>
      ts.isPropertyAssignment(property) && !ts.isComputedPropertyName(property.name)
        ? [property.name.text, literal(property.initializer)]
        : ["", PROSE],
    );
    return entries.some(([, value]) => value === PROSE) ? PROSE : Object.fromEntries(entries);
  }
  return PROSE;
}

/** Whether a text is valid JavaScript. TypeScript's parser cannot tell, because it repairs invalid text. */
function isProgram(text: string): boolean {
  try {
    new Function(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * The value that a comment starts with. Words may follow it after a comma, a semicolon or a colon, or in parentheses: `[1, 2], the
 * article's first example`. `≈ 0.69` stands for any number that rounds to 0.69. Returns PROSE if the comment does not start with a value.
 */
export function valueOf(comment: string): unknown {
  const rounded = /^≈ (-?\d+(?:\.(\d+))?)(?![\w.])/.exec(comment);
  if (rounded) return expect.closeTo(Number(rounded[1]), rounded[2]?.length ?? 0);
  const opening = /^[[{]/.test(comment);
  // Find the literal by trying each closing bracket, because brackets may contain any text.
  const ends = opening
    ? Array.from(comment.matchAll(/[\]}]/g), ({ index }) => index + 1)
    : [/^("(?:[^"\\]|\\.)*"|-?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Infinity)|\w+)/.exec(comment)?.[0].length ?? 0];
  for (const end of ends) {
    if (!end || !/^\s*($|[,;:(])/.test(comment.slice(end))) continue;
    const text = `(${comment.slice(0, end)})`;
    if (!isProgram(text)) continue;
    const file = ts.createSourceFile("claim.ts", text, ts.ScriptTarget.ES2022);
    const [statement] = file.statements;
    if (file.statements.length !== 1 || !statement || !ts.isExpressionStatement(statement)) continue;
    if (!ts.isParenthesizedExpression(statement.expression)) continue;
    const value = literal(statement.expression.expression);
    if (value !== PROSE) return value;
  }
  return PROSE;
}

/** The expression whose value a statement shows: the statement itself, the argument of console.log, or a variable's initial value. */
function shownIn(statement: ts.Statement): ts.Expression | undefined {
  if (ts.isVariableStatement(statement)) {
    const { declarations } = statement.declarationList;
    return declarations.length === 1 ? declarations[0]!.initializer : undefined;
  }
  if (!ts.isExpressionStatement(statement)) return undefined;
  const { expression } = statement;
  const isPrinted = ts.isCallExpression(expression) && expression.expression.getText() === "console.log";
  return isPrinted ? (expression.arguments.length === 1 ? expression.arguments[0] : undefined) : expression;
}

/** The program with its claims recorded: `x.sum().item(); // 6` becomes `__claim(0, x.sum().item());`. */
function recording(source: string): { code: string; claims: { expression: string; expected: unknown }[] } {
  const file = ts.createSourceFile("program.ts", source, ts.ScriptTarget.ES2022, true);
  const claims: { expression: string; expected: unknown }[] = [];
  let code = "";
  let written = 0;
  for (const statement of file.statements) {
    const [comment] = ts.getTrailingCommentRanges(source, statement.end) ?? [];
    const shown = comment && shownIn(statement);
    if (!shown) continue;
    const expected = valueOf(source.slice(comment.pos + 2, comment.end).trim());
    if (expected === PROSE) continue;
    const expression = shown.getText();
    code += `${source.slice(written, shown.getStart())}__claim(${claims.length}, ${expression})`;
    written = shown.end;
    claims.push({ expression, expected });
  }
  return { code: code + source.slice(written), claims };
}

/** Runs TypeScript as a module of this package, on a new engine. Returns the claims in source order. */
export async function run(source: string, name: string): Promise<Claim[]> {
  const { code, claims } = recording(source);
  const header = [
    'import { dispose as __dispose } from "nabla";',
    "await __dispose();",
    "export const __actual: unknown[] = [];",
    "const __claim = <T>(i: number, value: T): T => ((__actual[i] = value), value);",
  ];
  const { outputText } = ts.transpileModule(`${header.join("\n")}\n${code}`, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  });
  mkdirSync("build/snippets/files", { recursive: true });
  const file = resolve(`build/snippets/${name}.mjs`);
  writeFileSync(file, outputText);
  // Files that the program saves must not land in the checkout.
  const folder = process.cwd();
  process.chdir("build/snippets/files");
  const run = import(/* @vite-ignore */ pathToFileURL(file).href).finally(() => process.chdir(folder));
  const { __actual } = (await run) as { __actual: unknown[] };
  return claims.map((claim, i) => ({ ...claim, actual: __actual[i] }));
}
