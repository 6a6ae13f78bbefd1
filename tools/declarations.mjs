// Reads the public ops of src/ops: every exported function whose JSDoc has the tag @op. tools/generate.mjs generates the public API
// from them.
//
//   @op                    a function and, if the first parameter is a tensor, a method of Tensor
//   @op function           a function only
//   @op method [name]      a method only, under another name if one is given
//   @op function name      both, if the method has another name
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import ts from "typescript";

/** Maps the text of a type to its kind in src/runtime/kinds.ts. */
const KINDS = {
  Operand: "tensor|number",
  Value: "tensor",
  "Value | null": "tensor|null",
  "readonly Value[]": "tensors",
  "Value[]": "tensor", // the type of a rest parameter
  "[shape: Shape] | number[]": "number|numbers",
  "[dims: readonly number[]] | number[]": "number|numbers",
  Shape: "numbers",
  "readonly number[]": "numbers",
  "number | readonly number[]": "number|numbers",
  "number | Shape": "number|numbers",
  Dims: "number|numbers",
  Size2d: "number|pair",
  number: "number",
  "number | null": "number|null",
  boolean: "boolean",
  string: "string",
  DType: "string",
  RecurrentWeights: "object",
};
const kindOf = (type) => KINDS[type.replace(/ \| undefined$/, "")] ?? (/^"/.test(type) ? "string" : "any");

/** Removes a comment's stars and splits its text at the tags: { text, tags: [{ tag, text }] }. */
export function parseComment(comment) {
  const lines = comment
    .replace(/^\/\*\*|\*\/$/g, "")
    .split("\n")
    .map((line) => line.replace(/^\s*\* ?/, "").trimEnd());
  const parts = [{ tag: "", lines: [] }];
  let isCode = false;
  for (const line of lines) {
    if (line.startsWith("```")) isCode = !isCode;
    const match = isCode ? null : /^\s*@(\w+) ?(.*)$/.exec(line);
    if (match) parts.push({ tag: match[1], lines: [match[2]] });
    else parts.at(-1).lines.push(line);
  }
  const [{ lines: body }, ...tags] = parts;
  return {
    text: body.join("\n").trim(),
    tags: tags.map(({ tag, lines: own }) => ({ tag, text: own.join("\n").trim() })),
  };
}

const commentOf = (node) => node.jsDoc?.at(-1)?.getText();

/** The parameters of a function-like node. */
function parametersOf(node, source) {
  return node.parameters.map((parameter) => {
    const type = parameter.type?.getText(source) ?? typeof literal(parameter.initializer);
    const isOptions = ts.isObjectBindingPattern(parameter.name) || /Options$/.test(type);
    return {
      name: isOptions ? "options" : parameter.name.getText(source),
      type: type.replace(/\s+/g, " "),
      optional: parameter.questionToken !== undefined || parameter.initializer !== undefined,
      rest: parameter.dotDotDotToken !== undefined,
      isOptions,
      default: isOptions ? undefined : parameter.initializer?.getText(source),
      defaults: ts.isObjectBindingPattern(parameter.name) ? bindingDefaults(parameter.name, source) : undefined,
    };
  });
}
const literal = (node) => (node ? JSON.parse(node.getText().replace(/^-?\d.*$/, "0")) : undefined);
const bindingDefaults = (pattern, source) =>
  Object.fromEntries(
    pattern.elements.flatMap(({ propertyName, name, initializer }) =>
      initializer ? [[(propertyName ?? name).getText(source), initializer.getText(source)]] : [],
    ),
  );
const operand = (name) => ({ name, type: "Operand", optional: false, rest: false });

/** The parameters, shapes and types of an op that `unary({…})` or `binary({…})` creates. */
function pointwise(call, source) {
  const form = call.expression.getText(source);
  const [entry] = call.arguments;
  const property = (name) => entry.properties.find((one) => one.name?.getText(source) === name);
  if (form === "unary") {
    const own = property("parameters")?.initializer;
    const note = property("integer") ? "int32 if x is an integer or bool tensor, else float32" : "float32";
    return {
      parameters: [operand("x"), ...(own ? parametersOf(own, source) : [])],
      shapes: `x: any shape → the same shape, ${note}.`,
      throws: [],
    };
  }
  const type = { bool: "bool", int: "int32 if no operand is float32, else float32" };
  const result = type[property("type")?.initializer.text] ?? "float32";
  return {
    parameters: [operand("a"), operand("b")],
    shapes: `a, b: any shapes that broadcast → the broadcast shape, ${result}.`,
    throws: ["ShapeError if the shapes do not broadcast"],
  };
}

/** The parsed files that declare ops. The files in src/ops itself and in src/ops/methods only collect declarations. */
export function declarationFiles(root) {
  const found = [];
  for (const { name, parentPath } of readdirSync(join(root, "src/ops"), { recursive: true, withFileTypes: true }))
    if (name.endsWith(".ts") && !["ops", "methods"].includes(basename(parentPath))) found.push(join(parentPath, name));
  return found.sort().map((path) => {
    const text = readFileSync(path, "utf8");
    return ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  });
}

/** The name, parameters and result of the function that a statement declares; undefined if it declares none. */
function functionOf(statement, source) {
  if (ts.isFunctionDeclaration(statement))
    return {
      name: statement.name.text,
      parameters: parametersOf(statement, source),
      result: statement.type.getText(source),
    };
  if (!ts.isVariableStatement(statement)) return undefined;
  const [{ name, initializer }] = statement.declarationList.declarations;
  if (ts.isArrowFunction(initializer))
    return { name: name.text, parameters: parametersOf(initializer, source), result: initializer.type.getText(source) };
  return { name: name.text, ...pointwise(initializer, source), result: "Value" };
}

/** The fields of an options interface: [{ name, type, text }], inherited ones first. */
function fieldsOf(name, interfaces) {
  const own = interfaces.get(name);
  if (!own) throw new Error(`declarations: ${name} is not an interface of src/ops.`);
  const inherited = (own.node.heritageClauses ?? []).flatMap(({ types }) =>
    types.flatMap(({ expression, typeArguments }) => {
      if (expression.getText() !== "Omit") return fieldsOf(expression.getText(), interfaces);
      const without = typeArguments[1].getText();
      return fieldsOf(typeArguments[0].getText(), interfaces).filter((field) => !without.includes(`"${field.name}"`));
    }),
  );
  const declared = own.node.members.map((member) => ({
    name: member.name.getText(),
    type: member.type.getText().replace(/\s+/g, " "),
    text: parseComment(commentOf(member) ?? "/** */").text,
  }));
  return [...inherited.filter((field) => !declared.some((one) => one.name === field.name)), ...declared];
}

/** The public ops, in the order of files and of declarations within a file, and the types that they name. */
export function readDeclarations(root = dirname(import.meta.dirname)) {
  const files = declarationFiles(root);
  const interfaces = new Map();
  const types = new Map();
  for (const source of files)
    for (const node of source.statements) {
      if (ts.isInterfaceDeclaration(node)) interfaces.set(node.name.text, { node });
      if (ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node))
        types.set(node.name.text, source.fileName);
    }
  const ops = files.flatMap((source) =>
    source.statements.flatMap((statement) => {
      const comment = commentOf(statement);
      if (!comment || !/^\s*\*\s*@op\b/m.test(comment)) return [];
      const { text, tags } = parseComment(comment);
      const found = functionOf(statement, source);
      const [where, renamed] = (tags.find(({ tag }) => tag === "op").text || "both").split(" ");
      const takesTensor = ["Operand", "Value"].includes(found.parameters[0]?.type);
      return [
        {
          ...found,
          file: source.fileName,
          function: where === "method" ? undefined : found.name,
          method: (where === "function" && !renamed) || !takesTensor ? undefined : (renamed ?? found.name),
          text: [text, found.shapes].filter(Boolean).join("\n\n"),
          tags: [
            ...tags.filter(({ tag }) => tag !== "op" && tag !== "example"),
            ...(found.throws ?? []).map((one) => ({ tag: "throws", text: one })),
            ...tags.filter(({ tag }) => tag === "example"),
          ],
        },
      ];
    }),
  );
  return { ops, types, fieldsOf: (name) => fieldsOf(name, interfaces) };
}

/** The signature of an op for `check` in runtime/arguments.ts. */
export function signatureOf({ parameters }, options) {
  return parameters
    .map(({ name, type, optional, rest, isOptions }) =>
      isOptions ? `{${options(type)}}` : `${rest ? "..." : ""}${name}${optional && !rest ? "?" : ""}:${kindOf(type)}`,
    )
    .join(" ");
}

/** The options of an interface, as a signature for `check` in runtime/arguments.ts without its braces. */
export const optionsText = (fields) => fields.map(({ name, type }) => `${name}:${kindOf(type)}`).join(" ");
