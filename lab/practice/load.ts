/**
 * Loads a reader's code as a module. Replaces imports from nabla with modules in data URLs that re-export this file's
 * copy of nabla, so the imports work in Node, browsers and workers, even outside of a project.
 */
import { type AnyNode, type Node, type Program, parse } from "acorn";
import * as nabla from "nabla";
import * as gradients from "nabla/gradients";
import { nearest } from "../nearest.ts";

/** Thrown if the reader's code does not load. The message tells the reader why. */
export class LoadError extends Error {}

const MODULES: Readonly<Record<string, Readonly<Record<string, unknown>>>> = { nabla, "nabla/gradients": gradients };
const KEY = Symbol.for("nabla.practice");
/** The name of the reader's code in stack traces. */
const FILE = "your-code.js";

const dataUrl = (source: string): string => {
  const bytes = new TextEncoder().encode(source);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return `data:text/javascript;base64,${btoa(text)}`;
};

/** The URL of a module that re-exports one of nabla's modules. The same name always gives the same URL. */
function addressOf(name: string): string {
  const names = Object.keys(MODULES[name]!);
  const constants = names.map((own, i) => `v${i} = m[${JSON.stringify(own)}]`).join(", ");
  const exported = names.map((own, i) => `v${i} as ${own}`).join(", ");
  return dataUrl(
    `const m = globalThis[Symbol.for("nabla.practice")]["${name}"], ${constants}; export { ${exported} };`,
  );
}

/** All nodes of a syntax tree, parents before children. */
function* nodesOf(node: Node): Generator<AnyNode> {
  yield node as AnyNode;
  for (const value of Object.values(node))
    for (const child of Array.isArray(value) ? value : [value])
      if (typeof (child as Node | null)?.type === "string") yield* nodesOf(child as Node);
}

const lineOf = (node: Node): string => `line ${node.loc!.start.line}`;

/** @throws LoadError with the line */
function parsed(source: string): Program {
  try {
    return parse(source, { ecmaVersion: "latest", sourceType: "module", locations: true });
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const { line, column } = (error as SyntaxError & { loc: { line: number; column: number } }).loc;
    const text = source.split("\n")[line - 1] ?? "";
    const what = error.message.replace(/ \(\d+:\d+\)$/, "");
    throw new LoadError(`Syntax error in line ${line}, column ${column + 1}: ${advice(what, source, text, column)}`);
  }
}

/** Explains a syntax error to the reader. */
function advice(what: string, source: string, line: string, column: number): string {
  const end = source.trimEnd().split("\n").at(-1)!;
  const isLast = line.trim() === "" || (line === end && column >= end.length);
  if (/^Unexpected token/.test(what) && isLast)
    return "the code ends too early. Is a closing bracket or brace missing?";
  const shown = `\n  ${line.trimEnd().slice(0, 100)}\n  ${" ".repeat(Math.min(column, 100))}^`;
  if (/^\s*:\s*(number|string|boolean|Tensor|any|void)\b/.test(line.slice(column)))
    return `exercises are JavaScript. Remove the type annotation.${shown}`;
  return `${what[0]!.toLowerCase()}${what.slice(1)}.${shown}`;
}

/** A module's imports, re-exports and import() calls, each with the name of the module that it loads. */
const sourcesOf = (program: Program) =>
  [...nodesOf(program)].flatMap((node) => {
    const isImport = /^(ImportDeclaration|ImportExpression|Export(Named|All)Declaration)$/.test(node.type);
    const source = isImport ? (node as { source?: AnyNode | null }).source : undefined;
    return source?.type === "Literal" && typeof source.value === "string" ? [{ node, source, name: source.value }] : [];
  });

/** @throws LoadError for a module or an export that does not exist */
function checkImport(node: AnyNode, name: string): void {
  const exported = MODULES[name];
  if (!exported)
    throw new LoadError(
      `Cannot import "${name}" (${lineOf(node)}). An exercise can import from "nabla" and "nabla/gradients" only.`,
    );
  if (node.type !== "ImportDeclaration") return;
  for (const specifier of node.specifiers) {
    if (specifier.type === "ImportDefaultSpecifier")
      throw new LoadError(
        `"${name}" has no default export (${lineOf(node)}). Write \`import { tensor } from "nabla"\` with the names that you need.`,
      );
    if (specifier.type !== "ImportSpecifier" || specifier.imported.type !== "Identifier") continue;
    const own = specifier.imported.name;
    if (own in exported) continue;
    const other = Object.keys(MODULES).find((one) => own in MODULES[one]!);
    const meant = nearest(own, Object.keys(exported));
    const fix = other ? `Import it from "${other}".` : meant ? `Did you mean "${meant}"?` : "";
    throw new LoadError(`"${name}" has no export "${own}" (${lineOf(specifier)}). ${fix}`.trim());
  }
}

/** The functions of nabla that compute derivatives. */
const AUTOGRAD =
  /^(grad|valueAndGrad|vjp|jvp|jacobian|hessian|hvp|backward|linearGradients|logisticPulls|objective|perSampleGradients)$/;

/** @throws LoadError if the code uses autograd */
function checkByHand(program: Program): void {
  for (const node of nodesOf(program)) {
    const name =
      node.type === "ImportSpecifier" && node.imported.type === "Identifier"
        ? node.imported.name
        : node.type === "MemberExpression" && node.property.type === "Identifier"
          ? node.property.name
          : "";
    if (AUTOGRAD.test(name))
      throw new LoadError(
        `This exercise asks for the formula: derive it, and do not call \`${name}\` (${lineOf(node)}).`,
      );
  }
}

/** Explains why a function is missing: the code does not declare it, or does not export it. */
function whyMissing(program: Program, name: string, starter: string): string {
  const declared = program.body.some(
    (node) =>
      (node.type === "FunctionDeclaration" && node.id.name === name) ||
      (node.type === "VariableDeclaration" &&
        node.declarations.some(({ id }) => id.type === "Identifier" && id.name === name)),
  );
  if (declared)
    return `Your code declares \`${name}\` but does not export it. Write \`export\` before the declaration.`;
  const signature = new RegExp(`export function ${name}\\([^)]*\\)`).exec(starter)?.[0] ?? `export function ${name}()`;
  return `Your code does not export a function \`${name}\`. Write \`${signature} { … }\`.`;
}

/** The line of the reader's code that threw an error, as text; empty if it is unknown. */
const throwLine = (error: Error): string => {
  const found = new RegExp(`(?:${FILE}|data:text/javascript[^\\s:]*):(\\d+)`).exec(error.stack ?? "");
  return found ? ` (line ${found[1]})` : "";
};

/** Describes an error that the reader's code threw. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return `Your code threw ${String(error)}.`;
  // Safari says "Can't find variable: x".
  const [name] =
    error.name === "ReferenceError" ? (/\w+(?= is not defined$)|(?<=variable: )\w+$/.exec(error.message) ?? []) : [];
  const home = Object.keys(MODULES).find((one) => name && name in MODULES[one]!);
  const fix = home ? ` Import it: \`import { ${name} } from "${home}"\`.` : "";
  return `Your code threw ${error.name}: ${error.message.replace(/\.$/, "")}${throwLine(error)}.${fix}`;
}

export interface LoadOptions {
  readonly exports: readonly string[];
  readonly starter: string;
  readonly byHand?: boolean | undefined;
}

/**
 * Runs the module's code and returns its exports.
 * @throws LoadError if the code does not load
 */
export async function load(
  source: string,
  { exports, starter, byHand }: LoadOptions,
): Promise<Record<string, unknown>> {
  const program = parsed(source);
  const imports = sourcesOf(program);
  for (const { node, name } of imports) checkImport(node, name);
  if (byHand) checkByHand(program);
  let code = source;
  for (const { source: literal, name } of imports.sort((a, b) => b.source.start - a.source.start))
    code = `${code.slice(0, literal.start)}"${addressOf(name)}"${code.slice(literal.end)}`;
  Object.assign(globalThis, { [KEY]: MODULES });
  let loaded: Record<string, unknown>;
  try {
    loaded = (await import(/* @vite-ignore */ dataUrl(`${code}\n//# sourceURL=${FILE}`))) as Record<string, unknown>;
  } catch (error) {
    throw new LoadError(describeError(error));
  }
  const missing = exports.find((name) => typeof loaded[name] !== "function");
  if (missing) throw new LoadError(whyMissing(program, missing, starter));
  return loaded;
}
