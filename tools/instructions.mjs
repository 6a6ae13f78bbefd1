// Generates src/runtime/instructions.ts and the files in src/runtime/instructions: for each layout in assembly/layouts.ts and
// layerLayouts.ts, a function that writes an instruction from named operands; for each family of ops, the type of its codes. The functions
// are in one file for each part of the kernels (parts.mjs), which loads the part.
import { basename, join } from "node:path";
import ts from "typescript";

const FILES = ["assembly/opcodes.ts", "assembly/layouts.ts", "assembly/layerLayouts.ts"];
const CODE_BITS = 8;

/** Maps each enum in these files to its members. A member has a name, a value and a mark, which is the comment after it. */
function enumsOf(files) {
  const program = ts.createProgram(files, { allowImportingTsExtensions: true, noEmit: true, types: [] });
  const checker = program.getTypeChecker();
  const enums = new Map();
  /** Maps each enum to the file that declares it, relative to the root. */
  const declared = new Map();
  for (const [i, file] of files.entries()) {
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
      declared.set(node.name.text, FILES[i]);
    });
  }
  return Object.assign(enums, { fileOf: (name) => declared.get(name) });
}

/** The number of words that an operand takes. */
const SIZES = { "": 1, f32: 1, f64: 2 };
const SETTERS = { "": "set", f32: "setFloat", f64: "setDouble" };

/**
 * Parses the mark of a list that follows a layout's words. The items of `[dims: Dim]` are instances of the layout Dim; those of `[masks]`
 * are single words.
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

/** A layout's operands. @throws Error unless each operand begins where the previous one ends */
function operandsOf(enums, layout) {
  const members = enums.get(layout);
  if (members?.at(-1)?.name !== "words")
    throw new Error(`assembly: there is no layout ${layout} that ends in "words".`);
  members.forEach(({ name, value, mark }, i) => {
    const next = members[i + 1];
    const end = value + (tailOf(mark) ? 1 : SIZES[mark]);
    if (next && next.value !== end)
      throw new Error(
        `assembly: ${layout}.${next.name} must be word ${end}, directly after ${name}, got word ${next.value}.`,
      );
  });
  return members.slice(0, -1);
}

/** The statements that write the list after a layout's words. */
function tailLines(enums, { name, layout }) {
  if (!layout) return [`  for (const word of o.${name}) encoder.set(at++, word);`];
  const operands = operandsOf(enums, layout);
  const lines = operands.map((operand) => `    encoder.set(at++, part.${operand.name});`);
  return [`  for (const part of o.${name}) {`, ...lines, "  }"];
}

/** The text of the interface for a layout's operands. */
function interfaceOf(enums, layout) {
  const operands = operandsOf(enums, layout);
  const words = enums.get(layout).at(-1);
  const properties = [...operands, ...(words.mark ? [words] : [])].map((operand) => `  ${propertyOf(enums, operand)};`);
  return [`export interface ${layout}Operands {`, ...properties, "}", ""];
}

/**
 * The text of the function that encodes an instruction with this layout. `codes` is the type of the op codes that have the layout or, if
 * `single` is set, their only code.
 */
function encoderOf(enums, layout, codes, single) {
  const operands = operandsOf(enums, layout);
  const words = enums.get(layout).at(-1);
  const tails = [...operands, words].flatMap((operand) => tailOf(operand.mark) ?? []);
  const lengths = tails.map(
    (tail) => ` + ${tail.layout ? `${enums.get(tail.layout).at(-1).value} * ` : ""}o.${tail.name}.length`,
  );
  return [
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

const HEADER =
  "// Generated by tools/generate.mjs (npm run generate) from assembly/opcodes.ts, layouts.ts and layerLayouts.ts: do not edit.";

/** The text of the file that declares the type of the op codes of each family. */
function codesFile(families, codesOf) {
  const types = families.map((family) => {
    const codes = codesOf(family);
    if (!codes.length) throw new Error(`assembly: family ${family.name} has no ops.`);
    return [`export type ${family.name}Code =`, ...codes.map((code) => `  | ${code}`)].join("\n");
  });
  return `${HEADER}
/** The codes of each family of ops. */
import type { Op } from "../../../assembly/opcodes.ts";

${types.join(";\n\n")};
`;
}

/** The imports and functions of a file that encodes instructions. `operandsFile(layout)` is the file that declares a layout's operands. */
function encoderLines(enums, own, operandsFile) {
  const types = own.flatMap((one) => one.families.map(({ name }) => `${name}Code`)).sort();
  const files = [...new Set(own.map(({ layout }) => operandsFile(layout)))].sort();
  return [
    ...(own.some(({ only }) => only) ? ['import { Op } from "../../../assembly/opcodes.ts";'] : []),
    'import type { Encoder } from "../encoder.ts";',
    ...(types.length ? [`import type { ${types.join(", ")} } from "./codes.ts";`] : []),
    ...files.map((file) => {
      const names = own.flatMap(({ layout }) => (operandsFile(layout) === file ? `${layout}Operands` : [])).sort();
      return `import type { ${names.join(", ")} } from "./${file}";`;
    }),
    "",
    ...own.flatMap(({ layout, families, only }) =>
      encoderOf(enums, layout, only ?? families.map(({ name }) => `${name}Code`).join(" | "), only !== undefined),
    ),
  ];
}

/** The text of each generated file, by its path. */
export function instructionsFiles(root) {
  const enums = enumsOf(FILES.map((file) => join(root, file)));
  const families = enums.get("Family");
  const layoutOf = ({ name, mark }) => /^layout (\w+)$/.exec(mark)?.[1] ?? name;
  const partOf = ({ mark }) => /^part (\w+)$/.exec(mark)?.[1] ?? "";
  const codesOf = (family) =>
    enums.get("Op").flatMap(({ name, value }) => (value >> CODE_BITS === family.value ? [`Op.${name}`] : []));
  const layouts = [...new Set(families.map(layoutOf))].map((layout) => {
    const own = families.filter((family) => layoutOf(family) === layout);
    const codes = own.flatMap(codesOf);
    const single = codes.length === 1;
    return { layout, part: partOf(own[0]), families: single ? [] : own, only: single ? codes[0] : undefined };
  });
  const operandsFile = (layout) => basename(enums.fileOf(layout)).replace("ayouts", "ayoutOperands");
  const operandFiles = FILES.slice(1).map((source) => {
    const own = layouts.filter(({ layout }) => enums.fileOf(layout) === source);
    const comment = `/** The operands of the instructions whose layouts are in ${source}. */`;
    return [operandsFile(own[0].layout), comment, own.flatMap(({ layout }) => interfaceOf(enums, layout))];
  });
  const encoderFile = ({ layout, part }) => part || basename(enums.fileOf(layout), ".ts");
  const encoderFiles = [...new Set(layouts.map(encoderFile))].map((file) => {
    const own = layouts.filter((one) => encoderFile(one) === file);
    const [{ layout, part }] = own;
    const which = part
      ? `of the part "${part}" of the kernels`
      : `whose layouts are in ${enums.fileOf(layout)} and that need no part of the kernels`;
    return [
      `${file}.ts`,
      `/** Writes the instructions ${which}. Each function takes its operands by name. */`,
      [...(part ? [`import "../parts/${part}.ts";`] : []), ...encoderLines(enums, own, operandsFile)],
    ];
  });
  const files = [...operandFiles, ...encoderFiles];
  const names = ["codes.ts", ...files.map(([name]) => name)].sort();
  return [
    [
      "src/runtime/instructions/codes.ts",
      codesFile(
        layouts.flatMap((one) => one.families),
        codesOf,
      ),
    ],
    ...files.map(([name, comment, lines]) => [
      `src/runtime/instructions/${name}`,
      `${[HEADER, comment, ...lines].join("\n").trimEnd()}\n`,
    ]),
    [
      "src/runtime/instructions.ts",
      [
        HEADER,
        "/** Writes instructions. Each function takes its operands by name. */",
        ...names.map((name) => `export * from "./instructions/${name}";`),
        "",
      ].join("\n"),
    ],
  ];
}
