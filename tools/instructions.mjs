// Generates src/runtime/instructions.ts: for each layout in assembly/layouts.ts and layerLayouts.ts the function that writes such an
// instruction, with its operands by name, and for each family of ops the type of its codes.
//
// `npm run generate` writes the file; `-- --check` fails if it is out of date.
import { join } from "node:path";
import ts from "typescript";

const FILES = ["assembly/opcodes.ts", "assembly/layouts.ts", "assembly/layerLayouts.ts"];
const CODE_BITS = 8;

/** The enums of these files by name: members with their values and the comment after them on the line. */
function enumsOf(files) {
  const program = ts.createProgram(files, { allowImportingTsExtensions: true, noEmit: true, types: [] });
  const checker = program.getTypeChecker();
  const enums = new Map();
  for (const file of files) {
    const source = program.getSourceFile(file);
    source.forEachChild((node) => {
      if (!ts.isEnumDeclaration(node)) return;
      const members = node.members.map((member) => {
        const [comment] = ts.getTrailingCommentRanges(source.text, member.end + 1) ?? [];
        return {
          name: member.name.text,
          value: checker.getConstantValue(member),
          mark: comment ? source.text.slice(comment.pos + 2, comment.end).trim() : "",
        };
      });
      enums.set(node.name.text, members);
    });
  }
  return enums;
}

/** The number of words that an operand takes. */
const SIZES = { "": 1, f32: 1, f64: 2 };
const SETTERS = { "": "set", f32: "setFloat", f64: "setDouble" };

/**
 * `[dims: Dim]` and `[masks]`: lists that follow a layout's words. Each item is an instance of another layout, or one
 * word.
 */
function tailOf(mark) {
  const found = /^\[(\w+)(?:: (\w+))?\]$/.exec(mark);
  return found && { name: found[1], layout: found[2] };
}

/** An operand's property in TypeScript. */
const propertyOf = (enums, { name, mark }) => {
  const tail = tailOf(mark);
  if (!tail) return `readonly ${name}: number`;
  const type = tail.layout
    ? `{ ${operandsOf(enums, tail.layout)
        .map((operand) => `readonly ${operand.name}: number`)
        .join("; ")} }`
    : "number";
  return `readonly ${tail.name}: readonly ${type}[]`;
};

/** A layout's operands. @throws Error unless each begins where the previous one ends */
function operandsOf(enums, layout) {
  const members = enums.get(layout);
  if (members?.at(-1)?.name !== "words")
    throw new Error(`assembly: there is no layout ${layout} that ends in "words".`);
  members.forEach(({ name, value, mark }, i) => {
    const next = members[i + 1];
    if (next && next.value !== value + (tailOf(mark) ? 1 : SIZES[mark]))
      throw new Error(
        `assembly: ${layout}.${next.name} is word ${next.value}, but ${name} before it is ${mark || "one word"}.`,
      );
  });
  return members.slice(0, -1);
}

/** Statements that write the lists that follow a layout's words. */
function tailLines(enums, { name, layout }) {
  if (!layout) return [`  for (const word of o.${name}) encoder.set(at++, word);`];
  const operands = operandsOf(enums, layout);
  const lines = operands.map((operand) => `    encoder.set(at++, part.${operand.name});`);
  return [`  for (const part of o.${name}) {`, ...lines, "  }"];
}

/** The interface of a layout's operands and the function that writes them; `codes` is the type of its codes, or its only code. */
function encoderOf(enums, layout, codes, single) {
  const operands = operandsOf(enums, layout);
  const words = enums.get(layout).at(-1);
  const tails = [...operands, words].flatMap((operand) => tailOf(operand.mark) ?? []);
  const properties = [...operands, ...(words.mark ? [words] : [])].map((operand) => `  ${propertyOf(enums, operand)};`);
  const lengths = tails.map(
    (tail) => ` + ${tail.layout ? `${enums.get(tail.layout).at(-1).value} * ` : ""}o.${tail.name}.length`,
  );
  return [
    `export interface ${layout}Operands {`,
    ...properties,
    "}",
    "",
    `export function encode${layout}(encoder: Encoder, ${single ? "" : `code: ${codes}, `}o: ${layout}Operands): void {`,
    `  encoder.begin(${single ? codes : "code"}, ${words.value}${lengths.join("")});`,
    ...operands.map(({ name, value, mark }) => {
      const tail = tailOf(mark);
      return tail
        ? `  encoder.set(${value}, o.${tail.name}.length);`
        : `  encoder.${SETTERS[mark]}(${value}, o.${name});`;
    }),
    ...(tails.length ? [`  let at = ${words.value};`] : []),
    ...tails.flatMap((tail) => tailLines(enums, tail)),
    "  encoder.end();",
    "}",
    "",
  ];
}

/** The text of src/runtime/instructions.ts. */
export function instructionsFile(root) {
  const enums = enumsOf(FILES.map((file) => join(root, file)));
  const families = enums.get("Family");
  const layoutOf = ({ name, mark }) => /^layout (\w+)$/.exec(mark)?.[1] ?? name;
  const codesOf = (family) =>
    enums.get("Op").flatMap(({ name, value }) => (value >> CODE_BITS === family.value ? [`Op.${name}`] : []));
  const lines = [
    "// Generated by tools/generate.mjs (npm run generate) from assembly/opcodes.ts, layouts.ts and layerLayouts.ts: do not edit.",
    "/** Writes instructions, with their operands by name. */",
    'import { Op } from "../../assembly/opcodes.ts";',
    'import type { Encoder } from "./encoder.ts";',
    "",
  ];
  for (const layout of new Set(families.map(layoutOf))) {
    const own = families.filter((family) => layoutOf(family) === layout);
    const codes = own.map(codesOf);
    const single = codes.flat().length === 1;
    for (const [i, { name }] of own.entries()) {
      if (!codes[i].length) throw new Error(`assembly: family ${name} has no ops.`);
      if (single) continue;
      lines.push(`export type ${name}Code =`, ...codes[i].map((code) => `  | ${code}`));
      lines.push(`${lines.pop()};`, "");
    }
    const type = single ? codes[0][0] : own.map(({ name }) => `${name}Code`).join(" | ");
    lines.push(...encoderOf(enums, layout, type, single));
  }
  return `${lines.join("\n").trimEnd()}\n`;
}
