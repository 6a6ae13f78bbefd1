/**
 * Checks of what callers pass. A signature such as "x:tensor dims?:number|numbers {keepdim:boolean}" lists a function's arguments, their
 * kinds and its options; it is parsed at the first call. Every message names the function, the argument, what it got, and the fix.
 */
import { capped, quoted, RangeError, TypeError } from "./errors.ts";

/** What tensor.ts installs, since nothing here may import it. */
interface Known {
  isTensor(value: unknown): boolean;
  /** Whether a value belongs to another copy of nabla. */
  isForeign(value: unknown): boolean;
  refuseForeign(name: string, what: string, value: unknown): void;
}
let known: Known = { isTensor: () => false, isForeign: () => false, refuseForeign() {} };

/** Called once, by tensor.ts. */
export function installTensorTest(tests: Known): void {
  known = tests;
}

/**
 * What an object is, under a name that no minifier changes: the static `kind` of its class, or of the nearest ancestor that has one.
 */
export const kindOf = (value: object): string => (value.constructor as { kind?: string } | undefined)?.kind ?? "object";

const isObject = (v: unknown): v is Record<string, unknown> => typeof v === "object" && v !== null;
const isFunction = (v: unknown): boolean => typeof v === "function";
/** Whether a value is a module, of this copy of nabla or of another one. */
export const isModule = (v: unknown): boolean => isObject(v) && isFunction(v.namedModules) && isFunction(v.forward);
const isNumber = (v: unknown): boolean => typeof v === "number";
const isIterable = (v: unknown): v is Iterable<unknown> =>
  isObject(v) && isFunction((v as Partial<Iterable<unknown>>)[Symbol.iterator]);
/** Whether a value can hold options: an object that is not something else. */
const isOptions = (v: unknown): v is Record<string, unknown> =>
  isObject(v) &&
  !Array.isArray(v) &&
  !known.isTensor(v) &&
  !isModule(v) &&
  Object.prototype.toString.call(v) === "[object Object]";

/** A kind of argument: its test, and how messages name it. */
type Kind = readonly [test: (v: unknown) => boolean, text: string];
const kinds: Readonly<Record<string, Kind>> = {
  any: [() => true, "a value"],
  tensor: [(v) => known.isTensor(v), "a tensor"],
  number: [isNumber, "a number"],
  boolean: [(v) => typeof v === "boolean", "true or false"],
  string: [(v) => typeof v === "string", "a string"],
  function: [isFunction, "a function"],
  numbers: [
    (v) => (Array.isArray(v) && v.every(isNumber)) || (ArrayBuffer.isView(v) && !(v instanceof DataView)),
    "an array of numbers",
  ],
  pair: [(v) => Array.isArray(v) && v.length === 2 && v.every(isNumber), "two numbers"],
  tensors: [(v) => Array.isArray(v) && v.every((part) => known.isTensor(part)), "an array of tensors"],
  strings: [(v) => Array.isArray(v) && v.every((part) => typeof part === "string"), "an array of strings"],
  vectors: [
    (v) => Array.isArray(v) && v.every((part) => Array.isArray(part) || ArrayBuffer.isView(part)),
    "an array of vectors",
  ],
  array: [Array.isArray, "an array"],
  list: [isIterable, "an array"],
  object: [(v) => isOptions(v), "an object"],
  module: [(v) => isModule(v) && !known.isForeign(v), "a module"],
  optimizer: [(v) => isObject(v) && "paramGroups" in v, "an optimizer"],
  objective: [(v) => isObject(v) && isFunction(v.hvp) && isFunction(v.gradient), "an objective"],
  potential: [(v) => isObject(v) && isFunction(v.gradient), "an objective or { gradient }"],
  bytes: [
    (v) => ArrayBuffer.isView(v) || /^\[object (Shared)?ArrayBuffer\]$/.test(Object.prototype.toString.call(v)),
    "an ArrayBuffer or a Uint8Array",
  ],
  null: [(v) => v === null, "null"],
};

interface Parameter {
  readonly name: string;
  /** Whether tensors and numbers, by far the most frequent arguments, fit: known without a call of `test`. */
  readonly takesTensor: boolean;
  readonly takesNumber: boolean;
  readonly test: (v: unknown) => boolean;
  readonly kinds: readonly string[];
  readonly optional: boolean;
  /** Of options: whether it must be given. */
  readonly required?: boolean;
}
interface Signature {
  readonly parameters: readonly Parameter[];
  /** How many arguments must be given. */
  readonly least: number;
  /** What further arguments are: of functions that take any number. */
  readonly rest: Parameter | undefined;
  /** null: it takes none. */
  readonly options: ReadonlyMap<string, Parameter> | null;
  /** The options that must be given. */
  readonly required: readonly Parameter[];
}

function parameter(text: string): Parameter {
  const [name = "", kind = "any"] = text.split(":");
  const names = kind.split("|");
  const tests = names.map((one) => kinds[one]![0]);
  const [first, second] = tests as [Kind[0], Kind[0] | undefined];
  const test =
    tests.length === 1
      ? first
      : tests.length === 2
        ? (v: unknown) => first(v) || second!(v)
        : (v: unknown) => tests.some((one) => one(v));
  const takes = (kind: string): boolean => names.includes(kind) || names.includes("any");
  return {
    name: name.replace(/[?!]/, ""),
    takesTensor: takes("tensor"),
    takesNumber: takes("number"),
    test,
    kinds: names,
    optional: name.endsWith("?"),
    required: name.endsWith("!"),
  };
}

const signatures = new Map<string, Signature>();

/** A signature's parts. @internal */
export function signature(text: string): Signature {
  const found = signatures.get(text);
  if (found) return found;
  const [own = "", options] = text.split("{");
  const all = own.split(" ").filter(Boolean);
  const parameters = all.filter((one) => !one.startsWith("...")).map(parameter);
  const rest = all.find((one) => one.startsWith("..."));
  const named = options === undefined ? null : options.slice(0, -1).split(" ").filter(Boolean).map(parameter);
  const made: Signature = {
    parameters,
    least: parameters.filter(({ optional }) => !optional).length,
    rest: rest === undefined ? undefined : parameter(rest.slice(3)),
    options: named && new Map(named.map((one) => [one.name, one])),
    required: named?.filter(({ required }) => required) ?? [],
  };
  signatures.set(text, made);
  return made;
}

/** A value as messages show it. */
export function shown(v: unknown): string {
  if (typeof v === "string") return quoted(v, 40);
  if (typeof v === "function") return /^class\b/.test(Function.prototype.toString.call(v)) ? "a class" : "a function";
  if (!isObject(v)) return capped(`${String(v)}${typeof v === "bigint" ? "n" : ""}`, 40);
  if (known.isTensor(v))
    return `${v.dtype === "int32" ? "an" : "a"} ${v.dtype} tensor [${capped((v.shape as number[]).join(", "), 40)}]`;
  if (Array.isArray(v)) {
    const parts = v
      .slice(0, 4)
      .map((part) => (isObject(part) ? (known.isTensor(part) ? "a tensor" : "…") : shown(part)));
    return `the array [${capped(parts.join(", "), 60)}${v.length > 4 ? ", …" : ""}]`;
  }
  const tag = Object.prototype.toString.call(v).slice(8, -1);
  if (ArrayBuffer.isView(v)) return `a ${tag} of ${v.byteLength} bytes`;
  if (isFunction(v.then)) return "a Promise";
  if (isModule(v)) return `a module (${capped(kindOf(v), 40)})`;
  if ("paramGroups" in v) return `an optimizer (${capped(kindOf(v), 40)})`;
  if (tag !== "Object") return `${/^[AEIOU]/.test(tag) ? "an" : "a"} ${tag}`;
  const keys: string[] = [];
  for (const key in v) if (keys.push(capped(key, 30)) > 3) break;
  return `the object { ${keys.slice(0, 3).join(", ")}${keys.length > 3 ? ", …" : ""} }`.replace("{  }", "{}");
}

/** What does the same as a call that other libraries have. */
const instead: Readonly<Record<string, string>> = {
  randn: "Use normal(shape, mean, std).",
  rand: "Use uniform(shape, low, high).",
  clamp: "For tensors as bounds use maximum and minimum.",
  pad: "Only a number can fill.",
};

/** How to turn a value into one of these kinds. */
function fix(op: string, wanted: readonly string[], v: unknown): string {
  const wants = (...names: string[]): boolean => names.some((name) => wanted.includes(name));
  if (isObject(v) && isFunction(v.then)) return "Await it first.";
  if (wants("module") && isFunction(v))
    return "Make a module of it: a class needs new; for a function, extend nn.Module.";
  if (wants("module") && Array.isArray(v)) return "Spread the array: f(...layers).";
  if (wants("list") && isModule(v)) return "Pass model.parameters().";
  if (wants("objective") && isModule(v)) return "Pass objective(model, loss).";
  if (wants("object") && kinds.bytes![0](v)) return "Read bytes with loadState or readSafetensors.";
  if (wants("tensors") && Array.isArray(v) && v.length && v.every(isNumber))
    return "For a tensor of numbers use tensor(…).";
  if (wants("number", "numbers") && isOptions(v)) {
    const [first] = Object.entries(v);
    if (first) return `Pass ${capped(first[0], 40)} as an argument: ${shown(first[1])}.`;
  }
  if (wants("array") && isObject(v) && "paramGroups" in v) return "Leave it out: each schedule has its optimizer.";
  if (wants("list", "tensors") && known.isTensor(v)) return "Put it into an array.";
  if (wants("tensor")) {
    if (Array.isArray(v) && v.some(known.isTensor)) return "Pass one of the array's tensors.";
    if (Array.isArray(v) || ArrayBuffer.isView(v) || isNumber(v) || typeof v === "boolean" || typeof v === "string")
      return "Wrap values in tensor(…).";
    if (isModule(v)) return "Pass the result of its forward(x), or a parameter such as its weight.";
    if (isFunction(v)) return "Call it, and pass the result.";
  }
  if (wants("number")) {
    if (typeof v === "string" && v.trim() && !Number.isNaN(Number(v)))
      return `Write it without quotes: ${capped(v, 30)}.`;
    if (instead[op] && !isOptions(v)) return instead[op];
    if (known.isTensor(v)) return "Pass x.item().";
  }
  if (wants("bytes")) {
    if (typeof v === "string") return "Read the file first: readFileSync(path).";
    if (isObject(v) && (isFunction(v.getReader) || isFunction(v.arrayBuffer)))
      return "Read streams, Blobs and Responses with readSafetensorsStream.";
  }
  if (wants("optimizer")) return "Pass one such as new optim.SGD(model.parameters(), { lr: 0.1 }).";
  if (wants("function") && !isFunction(v)) return "Wrap it in a function: () => ….";
  return `Pass ${textOf(wanted)}.`;
}

const textOf = (wanted: readonly string[]): string =>
  wanted
    .filter((kind) => kind !== "null")
    .map((kind) => kinds[kind]![1])
    .join(" or ");

/** @throws TypeError that names the argument, what it got, and the fix */
function wrongKind(op: string, { name, kinds: wanted }: Pick<Parameter, "name" | "kinds">, v: unknown): never {
  known.refuseForeign(op, name, v);
  if (Array.isArray(v)) v.forEach((part, i) => void known.refuseForeign(op, `${name}[${i}]`, part));
  throw new TypeError(`${op}: ${name} must be ${textOf(wanted)}, got ${shown(v)}. ${fix(op, wanted, v)}`);
}

/** Checks one value. @throws TypeError @internal */
export function requireKind(op: string, name: string, kind: string, v: unknown): void {
  const wanted = kind.split("|");
  if (!wanted.some((one) => kinds[one]![0](v))) wrongKind(op, { name, kinds: wanted }, v);
}

/**
 * Stands in a signature's options for functions under any other name, such as the loss of a whole training. They are ignored; names that
 * look like a misspelt option, and functions that stand alone, are refused all the same.
 */
const OTHERS = "...";

/** Other libraries' names for options. */
const aliases: Readonly<Record<string, readonly string[]>> = {
  lr: ["learningrate", "rate", "eta", "stepsize", "alpha"],
  eps: ["epsilon"],
  epsilon: ["eps"],
  betas: ["beta1", "beta2", "beta"],
  beta: ["delta"],
  delta: ["beta"],
  decay: ["momentum", "alpha"],
  weightDecay: ["wd", "decay", "l2"],
  keepdim: ["keepdims"],
  correction: ["unbiased", "ddof"],
  dim: ["axis", "dims"],
  dropout: ["p", "rate", "dropoutrate"],
  numLayers: ["layers", "depth", "nlayers"],
  bias: ["usebias"],
  mask: ["attnmask"],
  causal: ["iscausal"],
  stride: ["strides"],
  padding: ["pad"],
  dtype: ["type"],
  reduction: ["reduce", "sizeaverage"],
  input: ["inputs"],
  model: ["module", "net", "network"],
  step: ["epoch", "iteration"],
  scaleFactor: ["scale"],
};
const plain = (name: string): string => name.toLowerCase().replace(/[_\- ]/g, "");

/** Levenshtein's distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + Number(a[i - 1] !== b[j - 1])));
    row = next;
  }
  return row[b.length]!;
}

/** The valid name that an unknown one most likely means. */
export function nearest(name: string, valid: readonly string[]): string | undefined {
  if (name.length > 40) return undefined;
  const wanted = plain(name);
  const exact = valid.find((one) => plain(one) === wanted) ?? valid.find((one) => aliases[one]?.includes(wanted));
  if (exact !== undefined) return exact;
  const [best] = valid.map((one) => ({ one, far: distance(wanted, plain(one)) })).sort((a, b) => a.far - b.far);
  return best && best.far <= Math.max(1, Math.floor(wanted.length / 3)) ? best.one : undefined;
}

/** @throws RangeError with the nearest choice and the valid ones, unless `v` is one of them @internal */
export function requireChoice(op: string, name: string, v: string, valid: readonly string[]): void {
  if (valid.includes(v)) return;
  const near = nearest(String(v), valid);
  throw new RangeError(
    `${op}: ${name} is ${shown(v)}, but must be one of ${valid.join(", ")}. ${near === undefined ? "" : `Did you mean "${near}"?`}`.trimEnd(),
  );
}

/** @throws TypeError with the nearest name and the valid ones */
function unknownOption(op: string, name: string, valid: readonly string[], parameters: readonly Parameter[]): never {
  const near = nearest(name, valid);
  const own = nearest(
    name,
    parameters.map((one) => one.name),
  ); // prettier-ignore
  const hint =
    near !== undefined ? `Did you mean "${near}"? ` : own === undefined ? "" : `Pass ${own} as an argument. `;
  throw new TypeError(
    `${op}: unknown option ${quoted(name, 40)}. ${hint}Valid options: ${capped(valid.join(", "), 180)}.`,
  );
}

/** Checks options' names and kinds. undefined stands for an option that is not given. @throws TypeError */
function checkNames(
  op: string,
  given: Record<string, unknown>,
  options: ReadonlyMap<string, Parameter>,
  parameters: readonly Parameter[] = [],
): void {
  for (const name in given) {
    const option = options.get(name);
    const v = given[name];
    if (!option) {
      const valid = [...options.keys()].filter((key) => key !== OTHERS);
      const isIgnored = options.has(OTHERS) && isFunction(v) && valid.some((key) => key in given);
      if (!isIgnored || nearest(name, valid) !== undefined) unknownOption(op, name, valid, parameters);
    } else if (v !== undefined && !option.test(v)) wrongKind(op, option, v);
  }
}

/** @throws TypeError for an argument that stands where options are expected */
function notOptions(op: string, v: unknown, options: ReadonlyMap<string, Parameter>): never {
  const valid = [...options.keys()].filter((key) => key !== OTHERS).join(", ");
  const first = [...options.values()].find(({ kinds: own, test }) => !own.includes("any") && test(v));
  const hint = first ? `Did you mean { ${first.name}: ${isObject(v) || isFunction(v) ? "…" : shown(v)} }? ` : "";
  throw new TypeError(
    `${op}: options must be an object, got ${shown(v)}. ${instead[op] ? `${instead[op]} ` : hint}Valid options: ${capped(valid, 160)}.`,
  );
}

/** @throws TypeError for arguments that are not as the signature says */
function refuse(op: string, args: ArrayLike<unknown>, { parameters, rest, options }: Signature): void {
  for (let i = 0; i < Math.max(args.length, parameters.length); i++) {
    const own = parameters[i] ?? rest;
    const v = args[i];
    if (own) {
      const missing = v === undefined && own.optional;
      if (!missing && !own.test(v)) {
        // An option's value in place of an optional argument that has another kind.
        if (own.optional && isOptions(v) && options) checkNames(op, v, options, parameters);
        wrongKind(op, own, v);
      }
    } else if (i === parameters.length && options) {
      if (v === undefined) continue;
      if (!isOptions(v)) notOptions(op, v, options);
      checkNames(op, v, options, parameters);
    } else if (v !== undefined && !(isOptions(v) && !Object.keys(v).length)) {
      const names = [...parameters.map(({ name }) => name), ...(options ? ["options"] : [])];
      const most = names.length;
      throw new TypeError(
        `${op}: takes ${most ? `${parameters.some(({ optional }) => optional) || options ? "at most " : ""}${most} argument${most > 1 ? "s" : ""} (${names.join(", ")})` : "no arguments"}, ` +
          `got ${args.length}: argument ${i + 1} is ${shown(v)}. ${instead[op] ?? "Remove it."}`,
      );
    }
  }
}

/** Whether these are what Array.prototype.map and its kind pass: an element, its index, and the array. */
const isCallback = ({ length, 0: element, 1: index, 2: array }: ArrayLike<unknown>): boolean =>
  length === 3 && Array.isArray(array) && array[index as number] === element;

/**
 * Checks arguments against a signature; options may follow any of the optional arguments.
 * @returns the arguments, with options in their place
 * @throws TypeError
 */
export function checkedBy<A extends ArrayLike<unknown>>(op: string, args: A, own: Signature): A {
  const { parameters, least, rest, options } = own;
  const n = args.length;
  const most = parameters.length;
  if (n < least || (n > most && !rest)) {
    if (most === 1 && isCallback(args)) return checkedBy(op, [args[0]] as ArrayLike<unknown> as A, own);
    // One more may be options; whatever else is too many or too few is refused.
    if (n !== most + 1 || !options) {
      refuse(op, args, own);
      return args;
    }
  }
  for (let i = 0; i < n; i++) {
    const v = args[i];
    const parameter = i < most ? parameters[i]! : rest;
    if (!parameter) {
      if (v === undefined) continue;
      if (!isOptions(v)) notOptions(op, v, options!);
      checkNames(op, v, options!, parameters);
    } else if (
      !(typeof v === "number" ? parameter.takesNumber : parameter.takesTensor && known.isTensor(v)) &&
      !parameter.test(v) &&
      !(v === undefined && parameter.optional)
    ) {
      if (!parameter.optional || i !== n - 1 || !options || !isOptions(v)) {
        refuse(op, args, own);
        return args;
      }
      checkNames(op, v, options, parameters);
      const moved = Array.from(args).slice(0, i);
      moved[most] = v;
      return moved as ArrayLike<unknown> as A; // the same arguments, with the options moved behind those left out
    }
  }
  return args;
}

/** Refuses the arguments of a function that takes none. @throws TypeError */
export function checkNone(op: string, args: ArrayLike<unknown>): void {
  if (args.length) check(op, args, "");
}

/** checkedBy for a signature's text. */
export function check<A extends ArrayLike<unknown>>(op: string, args: A, text: string): A {
  const own = signature(text);
  const checked = checkedBy(op, args, own);
  if (own.required.length) requireGiven(op, checked[own.parameters.length], own.required);
  return checked;
}

/** check for one function, whose signature is parsed at its first call. */
export function checker(op: string, text: string): <A extends ArrayLike<unknown>>(args: A) => A {
  let own: Signature | undefined;
  return (args) => {
    own ??= signature(text);
    // Methods without arguments are the most frequent.
    return args.length === 0 && own.least === 0 ? args : checkedBy(op, args, own);
  };
}

/** @throws TypeError if an option that has no default is missing */
function requireGiven(op: string, options: unknown, required: readonly Parameter[]): void {
  const missing = required.find(({ name }) => !isObject(options) || options[name] === undefined);
  if (missing)
    throw new TypeError(
      `${op}: option ${missing.name} is missing, and has no default. Pass { ${missing.name}: … }, ${textOf(missing.kinds)}.`,
    );
}

/** Checks options alone. @throws TypeError */
export function checkOptions(op: string, options: unknown, text: string): void {
  if (options === undefined) return;
  const { options: names } = signature(text);
  if (!isOptions(options)) notOptions(op, options, names!);
  checkNames(op, options, names!);
}
