/**
 * The run-time check accepts exactly the options that the package's types declare. The list of functions, classes and methods with options
 * comes from the compiler, so a new function that does not check its options fails here.
 */
import * as nabla from "nabla";
import { compile, nn, ones, optim, type Tensor, tensor } from "nabla";
import * as formats from "nabla/formats";
import * as gradients from "nabla/gradients";
import * as serverless from "nabla/serverless";
import ts from "typescript";
import { expect, test } from "vitest";

type Callable = (...args: unknown[]) => unknown;
type Class = new (...args: unknown[]) => object;
interface Parameter {
  readonly name: string;
  readonly type: string;
}
/** A signature: the arguments before its options, and the names of the options. */
interface Row {
  readonly path: readonly string[];
  readonly method: string | undefined;
  readonly before: readonly Parameter[];
  readonly options: readonly string[];
}

const entries = { nabla, "nabla/gradients": gradients, "nabla/formats": formats, "nabla/serverless": serverless };
const sources = ["index.ts", "gradients/index.ts", "formats/index.ts", "serverless/index.ts"].map(
  (name) => `src/${name}`,
);

/** All signatures in the public API that take options. */
function list(): Row[] {
  const host = { ...ts.sys, onUnRecoverableConfigFileDiagnostic: () => {} };
  const { options } = ts.getParsedCommandLineOfConfigFile("tsconfig.json", { noEmit: true }, host)!;
  const program = ts.createProgram(sources, options);
  const checker = program.getTypeChecker();
  const rows: Row[] = [];

  /** A signature's parameters. A rest parameter counts as the elements of its tuple. */
  const parametersOf = (signature: ts.Signature): { name: string; type: ts.Type }[] =>
    signature.getParameters().flatMap((symbol) => {
      const type = checker.getTypeOfSymbol(symbol);
      if (!checker.isTupleType(type)) return [{ name: symbol.name, type }];
      return checker
        .getTypeArguments(type as ts.TypeReference)
        .map((one) => ({ name: checker.typeToString(one), type: one }));
    });
  const add = (path: readonly string[], method: string | undefined, signature: ts.Signature): void => {
    const parameters = parametersOf(signature);
    for (const [i, { name, type }] of parameters.entries()) {
      const own = checker.getNonNullableType(type);
      const text = checker.typeToString(own);
      const isOptions =
        (/options/i.test(text) && !/Optimizer</.test(text)) || name === "options" || name.startsWith("__");
      const names = checker.getPropertiesOfType(own).map((property) => property.name);
      // Some parameters accept either options or something else, such as dims. A separate overload lists those options.
      if (!isOptions || !names.length || names.some((one) => /^__@|^toString$/.test(one))) continue;
      const before = parameters.slice(0, i).map((one) => ({ name: one.name, type: checker.typeToString(one.type) }));
      rows.push({ path, method, before, options: names });
    }
  };
  const isPublic = (symbol: ts.Symbol): boolean =>
    symbol.flags & ts.SymbolFlags.Method
      ? !(
          ts.getCombinedModifierFlags(symbol.valueDeclaration!) &
          (ts.ModifierFlags.Private | ts.ModifierFlags.Protected)
        )
      : false;
  const walk = (exported: ts.Symbol, path: readonly string[]): void => {
    if (exported.declarations?.some((one) => ts.isExportSpecifier(one) && ts.isTypeOnlyImportOrExportDeclaration(one)))
      return;
    const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
    if (symbol.flags & ts.SymbolFlags.Module) {
      for (const one of checker.getExportsOfModule(symbol)) walk(one, [...path, one.name]);
    } else if (symbol.flags & ts.SymbolFlags.Value) {
      const type = checker.getTypeOfSymbol(symbol);
      for (const signature of [...type.getCallSignatures(), ...type.getConstructSignatures()])
        add(path, undefined, signature);
      if (!(symbol.flags & ts.SymbolFlags.Class)) return;
      for (const method of symbol.members?.values() ?? [])
        if (isPublic(method))
          for (const one of checker.getTypeOfSymbol(method).getCallSignatures()) add(path, method.name, one);
    }
  };
  for (const [i, name] of Object.keys(entries).entries())
    walk(checker.getSymbolAtLocation(program.getSourceFile(sources[i]!)!)!, [name]);
  return rows;
}

const x = ones([2, 4]);
const model = new nn.Linear(4, 2);
const weights = [tensor([1], { requiresGrad: true })];
const sgd = new optim.SGD(weights, { lr: 0.1 });
const f = (): Tensor => x.sum();
const objective = gradients.objective(model, () => model.forward(x).square().mean());

/** A valid argument for each type: the first pattern that matches the type applies. */
const values: readonly (readonly [RegExp, unknown])[] = [
  [/\| undefined$/, undefined],
  [/\| null$/, null],
  [/=>|^(Scorer|InputLoss|VectorField)$|^Handler$/, f],
  [/^(Tensor|number \| Tensor)$/, x],
  [/^(number|Size2d|number \| Shape)$/, 1],
  [/^(Shape|TensorValues)\b/, [1]],
  [/^(Module|L|M|Parametric)\b/, model],
  [/^(Iterable<|Params<)/, weights],
  [/^readonly Tensor\[\]$/, [x]],
  [/^(Objective|Potential|Evaluable)$/, objective],
  [/^(Point|Vector)$/, [1, 2]],
  [/Optimizer/, sgd],
  [/^(StateDict|Readonly<Record)/, {}],
  [/^ArrayBuffer/, new Uint8Array(8)],
  [/^string/, "none"],
  [/^RecurrentWeights$/, { weightIh: ones([2, 4]), weightHh: ones([2, 2]) }],
  [/^Population$/, { mean: [0], G: [[1]], E: [[1]] }],
  [/^Pick<Trajectory/, { times: [0, 1], states: [[1], [1]] }],
  [/^ReadableStream/, new Blob([new Uint8Array(8)])],
];
const valueOf = ({ name, type }: Parameter): unknown => {
  const found = values.find(([pattern]) => pattern.test(type));
  if (!found) throw new Error(`no value for ${name}: ${type}. Add a row to \`values\`.`);
  return found[1];
};

/** The objects on which methods are called, keyed by class. Methods of other classes are called on an object without fields. */
const instances: Readonly<Record<string, object>> = {
  Module: model, Optimizer: sgd, Tensor: x, TransformerEncoder: new nn.TransformerEncoder([new nn.TransformerEncoderLayer(4, 2)]),
  TransformerDecoder: new nn.TransformerDecoder([new nn.TransformerDecoderLayer(4, 2)]),
}; // biome-ignore format: a table
/** Signatures that callers do not use, or whose options are a saved state, which may have more fields. */
const internal = ["Optimizer#addParamGroup", "Optimizer#checkState", "ParamGroup"];

/** The message of the error that a call to `row` with these options throws or rejects with. */
async function refusal({ path: [entry, ...names], method, before }: Row, options: object): Promise<string> {
  let owner: unknown = entries[entry as keyof typeof entries];
  for (const name of names) owner = (owner as Record<string, unknown>)[name];
  try {
    const args = [...before.map(valueOf), options];
    if (method !== undefined) {
      const { prototype } = owner as Class;
      await (prototype[method] as Callable).apply(instances[names.at(-1)!] ?? Object.create(prototype), args);
    } else if (/^class\b/.test(Function.prototype.toString.call(owner))) new (owner as Class)(...args);
    else await (owner as Callable)(...args);
  } catch (error) {
    return (error as Error).message;
  }
  return "did not throw";
}

const titleOf = ({ path, method, before, options }: Row): string =>
  `${path.join(".")}${method ? `#${method}` : ""}(${before.map(({ type }) => `${type}, `).join("")}{ ${options.join(", ")} })`;

test("the run-time check accepts every option in the types, and no other", async () => {
  const rows = list().filter((row) => !internal.some((name) => titleOf(row).includes(`.${name}(`)));
  const faults: string[] = [];
  for (const row of rows.filter(({ path }) => !/Error$/.test(path.at(-1)!))) {
    for (const option of row.options) {
      // Names are checked in order, so if the message is about this option instead of "bogus", the check does not know the option.
      const message = await refusal(row, { [option]: undefined, bogus: 1 });
      const [, valid = ""] = /unknown option "bogus"\. .*Valid options: (.*)\.$/.exec(message) ?? [];
      if (!valid) faults.push(`${titleOf(row)}: ${option}: ${message}`);
      else if (!valid.includes(" … ") && valid.split(", ").sort().join() !== [...row.options].sort().join())
        faults.push(`${titleOf(row)}: the check allows ${valid}`);
    }
  }
  expect(faults).toEqual([]);
  expect(rows.length).toBeGreaterThan(180);
});

test("a compiled function's methods check their options and arguments", () => {
  const double = compile((y: Tensor) => y.mul(2));
  expect(() => double.profile([x], { calls: 1, bogus: 1 } as never)).toThrow('unknown option "bogus"');
  for (const name of ["profile", "explain"] as const)
    expect(() => double[name](x as never)).toThrow(
      `${name}: args must be an array, got a float32 tensor [2, 4]. Pass an array.`,
    );
});
