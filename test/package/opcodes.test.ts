/** No code depends on the numeric values of op codes, and only runtime/instructions.ts writes instructions. */
import { readdirSync, readFileSync } from "node:fs";
import ts from "typescript";
import { expect, test } from "vitest";

const FOLDERS = ["assembly", "bench", "cli", "examples", "lab", "src", "test", "tools"];
/** Files that import one of these modules can use op codes. */
const CODES = /\/(opcodes|instructions|op|table)(\.ts)?$/;
const ORDERED = new Set([
  ts.SyntaxKind.LessThanToken,
  ts.SyntaxKind.LessThanEqualsToken,
  ts.SyntaxKind.GreaterThanToken,
  ts.SyntaxKind.GreaterThanEqualsToken,
  ts.SyntaxKind.PlusToken,
  ts.SyntaxKind.MinusToken,
  ts.SyntaxKind.PlusEqualsToken,
  ts.SyntaxKind.MinusEqualsToken,
]);

const parse = (name: string, text: string): ts.SourceFile =>
  ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true, ts.ScriptKind.TS);
const lineOf = (file: ts.SourceFile, node: ts.Node): string =>
  `${file.fileName}:${file.getLineAndCharacterOfPosition(node.getStart()).line + 1}: ${node.getText()}`;

/** Expressions that compare op codes or families by order, or add to them or subtract from them. */
function ordered(name: string, text: string): string[] {
  const file = parse(name, text);
  const found: string[] = [];
  const names = new Set<string>();
  let hasCodes = false;
  const isCodeType = (type: ts.TypeNode | undefined): boolean => /^(Op|Family|\w+Code)$/.test(type?.getText() ?? "");
  const isCode = (node: ts.Expression): boolean => {
    if (ts.isParenthesizedExpression(node) || ts.isNonNullExpression(node)) return isCode(node.expression);
    if (ts.isAsExpression(node) || ts.isTypeAssertionExpression(node))
      return isCodeType(node.type) || isCode(node.expression);
    if (ts.isPropertyAccessExpression(node)) {
      if (/^(Op|Family)$/.test(node.expression.getText())) return true;
      return hasCodes && /^(code|gradCode)$/.test(node.name.text) && node.expression.getText() !== "Head";
    }
    return ts.isIdentifier(node) && names.has(node.text);
  };
  const collect = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) && CODES.test((node.moduleSpecifier as ts.StringLiteral).text)) hasCodes = true;
    if ((ts.isParameter(node) || ts.isVariableDeclaration(node)) && ts.isIdentifier(node.name)) {
      if (isCodeType(node.type) || (node.initializer && isCode(node.initializer))) names.add(node.name.text);
    }
    ts.forEachChild(node, collect);
  };
  collect(file);
  const visit = (node: ts.Node): void => {
    const isOrdered = ts.isBinaryExpression(node) && ORDERED.has(node.operatorToken.kind);
    if (isOrdered && (isCode(node.left) || isCode(node.right))) found.push(lineOf(file, node));
    const isStep = ts.isPostfixUnaryExpression(node) || ts.isPrefixUnaryExpression(node);
    if (isStep && node.operator !== ts.SyntaxKind.ExclamationToken && isCode(node.operand))
      found.push(lineOf(file, node));
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

/** The calls in a file that write the words of an instruction. */
function written(name: string, text: string): string[] {
  const file = parse(name, text);
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression)) {
      const { expression, name: method } = node.expression;
      if (/[eE]ncoder$/.test(expression.getText()) && /^(begin|set|setFloat|setDouble|end)$/.test(method.text))
        found.push(lineOf(file, node));
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

const files = FOLDERS.flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => /\.m?[jt]s$/.test(name) && !name.includes("node_modules"))
    .map((name) => `${folder}/${name}`),
);
const textOf = (name: string): string => readFileSync(name, "utf8");

test("no code depends on the order of op codes", () => {
  expect(files.length).toBeGreaterThan(300);
  const binaries = /^src\/runtime\/binaries\//;
  expect(files.filter((name) => !binaries.test(name)).flatMap((name) => ordered(name, textOf(name)))).toEqual([]);
});

test.each<[string, string]>([
  ["a comparison with a code", "const isUpdate = op.code >= Op.Sgd;"],
  ["a comparison in AssemblyScript", "function f(op: Op): bool { return op <= 7; }"],
  ["a comparison of a cast value", "if (<Op>word(at, 0) < 9) f();"],
  ["a comparison of two entries", 'import { table } from "../ops/table.ts";\nlist.sort((a, b) => a.code - b.code);'],
  ["a comparison of families", "const isEarly = family < Family.Matmul;"],
  ["the next code", "const next = Op.Lion + 1;"],
  ["a loop over codes", "for (let code = Op.Sgd; f(code); code++) g(code);"],
])("finds %s", (_, text) => expect(ordered("a.ts", text)).toHaveLength(1));

test.each<[string, string]>([
  ["equality", "const isSum = code === Op.Sum;"],
  ["a switch", "switch (op) { case Op.Sum: break; }"],
  ["a code's family", "const family = op.code >> Head.family;"],
  ["codes that are not op codes", "if (response.code >= 400) f();"],
])("does not find %s", (_, text) => expect(ordered("a.ts", text)).toEqual([]));

test("ops write instructions only through runtime/instructions.ts", () => {
  const own = files.filter((name) => /^src\/(?!runtime\/(instructions(\/\w+)?|encoder)\.ts)/.test(name));
  expect(own.flatMap((name) => written(name, textOf(name)))).toEqual([]);
  expect(written("a.ts", "encoder.set(4, n);")).toHaveLength(1);
});

/** The compiler's errors in a file if assembly/opcodes.ts has this text. */
function diagnose(name: string, opcodes: string): string[] {
  const host = { ...ts.sys, onUnRecoverableConfigFileDiagnostic: () => {} };
  const { options } = ts.getParsedCommandLineOfConfigFile("tsconfig.json", {}, host)!;
  const compiler = ts.createCompilerHost(options);
  const { readFile, getSourceFile } = compiler;
  compiler.getSourceFile = (path, language, ...rest) =>
    path.endsWith("assembly/opcodes.ts")
      ? ts.createSourceFile(path, opcodes, language)
      : getSourceFile.call(compiler, path, language, ...rest);
  compiler.readFile = (path) => readFile.call(compiler, path);
  const program = ts.createProgram([name], options, compiler);
  return program
    .getSemanticDiagnostics(program.getSourceFile(name))
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
}

test.each([
  ["src/ops/table.ts", "its entry"],
  ["test/ops/oracles/index.ts", "its oracle"],
])(
  "a new update op after Lion does not compile until %s contains %s",
  (file) => {
    const opcodes = textOf("assembly/opcodes.ts");
    const longer = opcodes.replace("  Lion,\n", "  Lion,\n  Adadelta,\n");
    expect(longer).not.toBe(opcodes);
    const [error, ...more] = diagnose(file, longer);
    expect(error).toContain("[Op.Adadelta]");
    expect(more).toEqual([]);
    expect(diagnose(file, opcodes)).toEqual([]);
  },
  120_000,
);
