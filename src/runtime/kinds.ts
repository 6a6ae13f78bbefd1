/** Kinds of arguments: how to test a value, how messages show it, and how to fix a value of the wrong kind. */
import { quote, TypeError, truncate } from "./errors.ts";

/** Tests that core/tensor.ts installs, because this layer cannot import it. */
interface TensorChecks {
  isTensor(value: unknown): boolean;
  /** Whether a value belongs to another copy of nabla. */
  isFromOtherCopy(value: unknown): boolean;
  /** @throws TypeError if a value belongs to another copy */
  rejectOtherCopy(name: string, what: string, value: unknown): void;
}
export let tensors: TensorChecks = { isTensor: () => false, isFromOtherCopy: () => false, rejectOtherCopy() {} };

/** Installs the tests. core/tensor.ts calls it once. */
export function installTensorChecks(checks: TensorChecks): void {
  tensors = checks;
}

/** A class name that minifiers do not change: the static `kind` of the object's class or of its nearest ancestor that has one. */
export const kindOf = (value: object): string => (value.constructor as { kind?: string } | undefined)?.kind ?? "object";

export const isObject = (v: unknown): v is Record<string, unknown> => typeof v === "object" && v !== null;
/** Whether an object was created by `{…}` or Object.create(null), not by a class. */
export function isPlainObject(v: object): v is Record<string, unknown> {
  const prototype: unknown = Object.getPrototypeOf(v);
  return prototype === Object.prototype || prototype === null;
}
export const isFunction = (v: unknown): boolean => typeof v === "function";
/** Whether a value is a module from this or another copy of nabla. */
export const isModule = (v: unknown): boolean => isObject(v) && isFunction(v.namedModules) && isFunction(v.forward);
const isNumber = (v: unknown): boolean => typeof v === "number";
const isIterable = (v: unknown): v is Iterable<unknown> =>
  isObject(v) && isFunction((v as Partial<Iterable<unknown>>)[Symbol.iterator]);
/** Whether a value can be an options object: a plain object, not an array, tensor or module. */
export const isOptions = (v: unknown): v is Record<string, unknown> =>
  isObject(v) &&
  !Array.isArray(v) &&
  !tensors.isTensor(v) &&
  !isModule(v) &&
  Object.prototype.toString.call(v) === "[object Object]";

/** A kind of argument: its test, and its name in messages. */
type Kind = readonly [test: (v: unknown) => boolean, text: string];
export const kinds: Readonly<Record<string, Kind>> = {
  any: [() => true, "a value"],
  tensor: [(v) => tensors.isTensor(v), "a tensor"],
  number: [isNumber, "a number"],
  boolean: [(v) => typeof v === "boolean", "true or false"],
  string: [(v) => typeof v === "string", "a string"],
  function: [isFunction, "a function"],
  numbers: [
    (v) => (Array.isArray(v) && v.every(isNumber)) || (ArrayBuffer.isView(v) && !(v instanceof DataView)),
    "an array of numbers",
  ],
  pair: [(v) => Array.isArray(v) && v.length === 2 && v.every(isNumber), "two numbers"],
  tensors: [(v) => Array.isArray(v) && v.every((part) => tensors.isTensor(part)), "an array of tensors"],
  strings: [(v) => Array.isArray(v) && v.every((part) => typeof part === "string"), "an array of strings"],
  vectors: [
    (v) => Array.isArray(v) && v.every((part) => Array.isArray(part) || ArrayBuffer.isView(part)),
    "an array of vectors",
  ],
  array: [Array.isArray, "an array"],
  list: [isIterable, "an array"],
  object: [isOptions, "an object"],
  module: [(v) => isModule(v) && !tensors.isFromOtherCopy(v), "a module"],
  optimizer: [(v) => isObject(v) && "paramGroups" in v, "an optimizer"],
  objective: [(v) => isObject(v) && isFunction(v.hvp) && isFunction(v.gradient), "an objective"],
  potential: [(v) => isObject(v) && isFunction(v.gradient), "an objective or { gradient }"],
  cache: [(v) => isObject(v) && "capacity" in v, "a KeyValueCache"],
  bytes: [
    (v) => ArrayBuffer.isView(v) || /^\[object (Shared)?ArrayBuffer\]$/.test(Object.prototype.toString.call(v)),
    "an ArrayBuffer or a Uint8Array",
  ],
  null: [(v) => v === null, "null"],
};

/** A value as shown in messages: `"0.01"`, `a float32 tensor [2, 3]`, `the object { lr }`. */
export function describe(v: unknown): string {
  if (typeof v === "string") return quote(v, 40);
  if (typeof v === "function") return /^class\b/.test(Function.prototype.toString.call(v)) ? "a class" : "a function";
  if (!isObject(v)) return truncate(`${String(v)}${typeof v === "bigint" ? "n" : ""}`, 40);
  if (tensors.isTensor(v))
    return `${v.dtype === "int32" ? "an" : "a"} ${v.dtype} tensor [${truncate((v.shape as number[]).join(", "), 40)}]`;
  if (Array.isArray(v)) {
    const parts = v
      .slice(0, 4)
      .map((part) => (isObject(part) ? (tensors.isTensor(part) ? "a tensor" : "…") : describe(part)));
    return `the array [${truncate(parts.join(", "), 60)}${v.length > 4 ? ", …" : ""}]`;
  }
  const tag = Object.prototype.toString.call(v).slice(8, -1);
  if (ArrayBuffer.isView(v)) return `a ${tag} of ${v.byteLength} bytes`;
  if (isFunction(v.then)) return "a Promise";
  if (isFunction(v.namedModules))
    return `a module ${isModule(v) ? "" : "without forward "}(${truncate(kindOf(v), 40)})`;
  if ("paramGroups" in v) return `an optimizer (${truncate(kindOf(v), 40)})`;
  if (tag !== "Object") return `${/^[AEIOU]/.test(tag) ? "an" : "a"} ${tag}`;
  const keys: string[] = [];
  for (const key in v) if (keys.push(truncate(key, 30)) > 3) break;
  return `the object { ${keys.slice(0, 3).join(", ")}${keys.length > 3 ? ", …" : ""} }`.replace("{  }", "{}");
}

/** Replacements for signatures that other libraries have and nabla does not. */
export const alternatives: Readonly<Record<string, string>> = {
  randn: "Use normal(shape, mean, std).",
  rand: "Use uniform(shape, low, high).",
  clamp: "Use clamp(low, high) with numbers or null; for tensor bounds, use maximum and minimum.",
  pad: "Only constant padding is supported: pad(padding, value).",
};

/** What to do instead of calling a function, or passing an argument, that is internal to nabla. */
const internal: Readonly<Record<string, string>> = {
  ParamGroup: "Pass an array of groups [{ params, lr }] to an optimizer instead.",
  "parameter owner": "Omit it: a parameter always requires a gradient.",
};

/** Maps each reduction that other libraries also apply to two tensors to nabla's op for two tensors. */
export const pairwise: Readonly<Record<string, string>> = { max: "maximum", min: "minimum" };

/** Explains how to turn a value into one of the expected kinds; undefined if there is no specific advice. */
function remedy(op: string, name: string, wanted: readonly string[], v: unknown): string | undefined {
  const wants = (...names: string[]): boolean => names.some((name) => wanted.includes(name));
  if (isObject(v) && isFunction(v.then)) return "Await it first.";
  const own = internal[op] ?? internal[`${op} ${name}`];
  if (own) return own;
  if (wants("module") && isObject(v) && isFunction(v.namedModules)) return "Give its class a forward(x) method.";
  if (wants("module") && isFunction(v))
    return "Construct a class with new; wrap a function in a class that extends nn.Module.";
  if (wants("list") && isFunction(v)) return "Call it: model.parameters().";
  if (wants("list") && (isModule(v) || isOptions(v))) return "Pass model.parameters().";
  if (wants("objective") && isModule(v)) return "Pass objective(model, () => losses.mse(model.forward(x), y)).";
  if (wants("object") && isModule(v)) return "Pass model.stateDict().";
  if (wants("object") && kinds.bytes![0](v))
    return "Pass readSafetensors(bytes).tensors, or use loadState(bytes, { model }).";
  if (wants("tensors") && Array.isArray(v) && v.length && v.every(isNumber))
    return "Use tensor(…) for a tensor of numbers.";
  if (wants("number", "numbers") && isOptions(v)) {
    if (alternatives[op]) return alternatives[op];
    for (const name in v) return `Pass ${truncate(name, 40)} as an argument: ${describe(v[name])}.`;
  }
  if (wants("array") && isObject(v) && "paramGroups" in v) return "Omit the optimizer: each schedule has one.";
  if (name === "state" && wants("tensors") && tensors.isTensor(v)) return "Pass both states: [h0, c0].";
  if (name === "closure" && tensors.isTensor(v)) return "Call loss.backward() before step(), or minimize(() => loss).";
  if (wants("list", "tensors") && tensors.isTensor(v)) return "Pass all tensors in one array.";
  if (wants("number") && typeof v === "string" && v.trim() && !Number.isNaN(Number(v)))
    return `Write it without quotes: ${truncate(v, 30)}.`;
  if (wants("tensor")) {
    if (/\b(index|labels|crossEntropy target)$/.test(`${op} ${name}`) && (Array.isArray(v) || isNumber(v)))
      return `Use tensor(${describe(v).replace("the array ", "")}, { dtype: "int32" }).`;
    if (Array.isArray(v) && v.some(tensors.isTensor)) return "Pass one tensor from the array.";
    if (Array.isArray(v) || ArrayBuffer.isView(v) || isNumber(v) || typeof v === "boolean" || typeof v === "string")
      return "Wrap values in tensor(…).";
    if (isModule(v)) return "Pass the result of its forward(x), or a parameter such as its weight.";
    if (isFunction(v)) return "Call it and pass the result.";
  }
  if (wants("number")) {
    if (alternatives[op] && !isOptions(v)) return alternatives[op];
    if (tensors.isTensor(v))
      return pairwise[op] ? `Use ${pairwise[op]}(a, b) for two tensors.` : `Pass ${name}.item().`;
  }
  if (wants("bytes")) {
    if (typeof v === "string") return "Read the file first: readFileSync(path).";
    if (isObject(v) && (isFunction(v.getReader) || isFunction(v.arrayBuffer)))
      return "Read streams, Blobs and Responses with readSafetensorsStream.";
  }
  if (wants("optimizer")) return "Pass the optimizer that trains the model.";
  if (wants("function") && tensors.isTensor(v))
    return wants("module")
      ? "Pass the model or function first."
      : "Pass the function that computes it, not its result.";
  if (wants("function") && !isFunction(v)) return "Wrap it in a function: () => ….";
  return undefined;
}

/** Kinds in words: "a tensor or a number". */
export const kindsText = (wanted: readonly string[]): string =>
  wanted
    .filter((kind) => kind !== "null")
    .map((kind) => kinds[kind]![1])
    .join(" or ");

/**
 * @param fix replaces the general fix for the kind
 * @param fallback is the fix if there is no general one
 * @throws TypeError that names the argument, what it got, and the fix
 */
export function throwWrongKind(
  op: string,
  name: string,
  wanted: readonly string[],
  v: unknown,
  fix?: string,
  fallback = `Pass ${kindsText(wanted)}.`,
): never {
  tensors.rejectOtherCopy(op, name, v);
  const other = Array.isArray(v) ? v.findIndex(tensors.isFromOtherCopy) : -1;
  if (other >= 0) tensors.rejectOtherCopy(op, `${name}[${other}]`, (v as unknown[])[other]);
  throw new TypeError(
    `${op}: ${name} must be ${kindsText(wanted)}, got ${describe(v)}. ${fix ?? remedy(op, name, wanted, v) ?? fallback}`,
  );
}

/** @throws TypeError unless `v` has one of these kinds, such as "tensor|number" @internal */
export function requireKind(op: string, name: string, kind: string, v: unknown): void {
  const wanted = kind.split("|");
  if (!wanted.some((one) => kinds[one]![0](v))) throwWrongKind(op, name, wanted, v);
}
