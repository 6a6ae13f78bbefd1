/**
 * Checks a caller's arguments. A signature such as "x:tensor dims?:number|numbers {keepdim:boolean}" lists a function's parameters, their
 * kinds (kinds.ts) and its options; it is parsed on the first call. Every error names the function, the argument, what it got, and the fix.
 */
import { quote, TypeError, truncate } from "./errors.ts";
import {
  alternatives,
  describe,
  isFunction,
  isObject,
  isOptions,
  kinds,
  kindsText,
  tensors,
  throwWrongKind,
} from "./kinds.ts";
import { nearest } from "./names.ts";

interface Parameter {
  readonly name: string;
  /**
   * Whether this parameter accepts tensors, and whether it accepts numbers. Stored, so that the most frequent arguments need no
   * call to `test`.
   */
  readonly takesTensor: boolean;
  readonly takesNumber: boolean;
  readonly test: (v: unknown) => boolean;
  readonly kinds: readonly string[];
  readonly optional: boolean;
  /** Whether this is an option without a default. */
  readonly required?: boolean;
}
interface Signature {
  readonly parameters: readonly Parameter[];
  /** The number of required arguments. */
  readonly minimum: number;
  /** The kind of all further arguments, for functions that take any number of them. */
  readonly rest: Parameter | undefined;
  /** null if the function has no options. */
  readonly options: ReadonlyMap<string, Parameter> | null;
  /** The options without a default. */
  readonly required: readonly Parameter[];
}

/** Parses `name?:kind|kind`. */
function parameter(text: string): Parameter {
  const [name = "", kind = "any"] = text.split(":");
  const names = kind.split("|");
  const tests = names.map((one) => kinds[one]![0]);
  const [first, second] = tests;
  const test =
    tests.length === 1
      ? first!
      : tests.length === 2
        ? (v: unknown) => first!(v) || second!(v)
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

/** Parses a signature, or returns the result of an earlier call. @internal */
export function signature(text: string): Signature {
  const cached = signatures.get(text);
  if (cached) return cached;
  const [list = "", options] = text.split("{");
  const all = list.split(" ").filter(Boolean);
  const parameters = all.filter((one) => !one.startsWith("...")).map(parameter);
  const rest = all.find((one) => one.startsWith("..."));
  const named = options === undefined ? null : options.slice(0, -1).split(" ").filter(Boolean).map(parameter);
  const parsed: Signature = {
    parameters,
    minimum: parameters.filter(({ optional }) => !optional).length,
    rest: rest === undefined ? undefined : parameter(rest.slice(3)),
    options: named && new Map(named.map((one) => [one.name, one])),
    required: named?.filter(({ required }) => required) ?? [],
  };
  signatures.set(text, parsed);
  return parsed;
}

/**
 * If a signature's options include this name, the options object may also hold functions under other names, such as the
 * `loss` of a training task. Such functions are ignored, unless a name looks like a misspelled option or the object
 * sets no options.
 */
const OTHERS = "...";

/** @throws TypeError that lists the valid options and suggests the nearest */
function throwUnknownOption(
  op: string,
  name: string,
  valid: readonly string[],
  parameters: readonly Parameter[],
): never {
  const near = nearest(name, valid);
  const argument = nearest(
    name,
    parameters.map((one) => one.name),
  );
  const hint =
    near !== undefined ? `Did you mean "${near}"? ` : argument === undefined ? "" : `Pass ${argument} as an argument. `;
  throw new TypeError(
    `${op}: unknown option ${quote(name, 40)}. ${hint}Valid options: ${truncate(valid.join(", "), 180)}.`,
  );
}

/** Checks the names and kinds of options; undefined counts as missing. @throws TypeError */
function checkEntries(
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
      if (!isIgnored || nearest(name, valid) !== undefined) throwUnknownOption(op, name, valid, parameters);
    } else if (v !== undefined && !option.test(v)) throwWrongKind(op, name, option.kinds, v);
  }
}

/**
 * Suggests the option that an unnamed value was probably meant for: `Did you mean { lr: 0.1 }?`; undefined if no option
 * accepts it.
 */
function optionHint(v: unknown, options: ReadonlyMap<string, Parameter>): string | undefined {
  const first = [...options.values()].find(({ kinds: names, test }) => !names.includes("any") && test(v));
  return first && `Did you mean { ${first.name}: ${isObject(v) || isFunction(v) ? "…" : describe(v)} }?`;
}

/**
 * Suggests a list if sizes or dims were passed as separate arguments: `Did you mean zeros([2, 3])?`; undefined if that is not
 * the mistake.
 */
function listHint(
  op: string,
  v: unknown,
  args: ArrayLike<unknown>,
  parameters: readonly Parameter[],
): string | undefined {
  const last = parameters.length - 1;
  if (typeof v !== "number" || !["shape", "dims"].includes(parameters[last]?.name ?? "")) return;
  const from = typeof args[0] === "number" && parameters[0]!.kinds.includes("any") ? 0 : last;
  const end = Array.from(args).findIndex((v, i) => i >= from && typeof v !== "number");
  const list = Array.from(args).slice(from, end < 0 ? args.length : end);
  const before = parameters.slice(0, from).map(({ name }) => `${name}, `);
  return list.length ? `Did you mean ${op}(${before.join("")}[${list.join(", ")}])?` : undefined;
}

const orderOf = (op: string, parameters: readonly Parameter[]): string =>
  `Pass the arguments as ${op}(${parameters.map(({ name }) => name).join(", ")}).`;

/**
 * Suggests the correct order if an argument fits another parameter whose own argument is missing or does not fit; otherwise
 * undefined.
 */
function orderHint(
  op: string,
  v: unknown,
  args: ArrayLike<unknown>,
  parameters: readonly Parameter[],
): string | undefined {
  if (v === undefined) return;
  const fits = parameters.some(
    ({ test, optional }, i) => test(v) && (args[i] === undefined ? !optional : !test(args[i])),
  );
  return fits ? orderOf(op, parameters) : undefined;
}

/** @throws TypeError for an argument that is in the place of the options but is not an options object */
function throwNotOptions(op: string, v: unknown, options: ReadonlyMap<string, Parameter>, list?: string): never {
  const valid = [...options.keys()].filter((key) => key !== OTHERS).join(", ");
  const hint = list ?? alternatives[op] ?? optionHint(v, options);
  throw new TypeError(
    `${op}: options must be an object, got ${describe(v)}. ${hint ? `${hint} ` : ""}Valid options: ${truncate(valid, 160)}.`,
  );
}

/** A suggested fix that depends on the other arguments or the options; undefined if there is none. */
function hintOf(
  op: string,
  v: unknown,
  parameter: Parameter,
  args: ArrayLike<unknown>,
  { parameters, rest, options }: Signature,
): string | undefined {
  if (parameter === rest)
    return Array.isArray(v) && v.length && v.every(rest.test)
      ? `Spread the array: ${op}(${[...parameters.map(({ name }) => name), "...array"].join(", ")}).`
      : undefined;
  const isFlag = typeof v === "boolean" || (typeof v === "string" && Number.isNaN(Number(v)));
  if (isFlag && parameter.optional && options) return optionHint(v, options);
  return listHint(op, v, args, parameters) ?? orderHint(op, v, args, parameters);
}

/** @throws TypeError for the first argument that does not match the signature */
function throwMismatch(op: string, args: ArrayLike<unknown>, expected: Signature): void {
  const { parameters, minimum, rest, options } = expected;
  for (let i = 0; i < Math.max(args.length, parameters.length); i++) {
    const parameter = parameters[i] ?? rest;
    const v = args[i];
    if (parameter) {
      const isMissing = v === undefined && parameter.optional;
      if (!isMissing && !parameter.test(v)) {
        // Options may take the place of an optional argument.
        if (parameter.optional && isOptions(v) && options) checkEntries(op, v, options, parameters);
        const fallback = v !== undefined && args.length < minimum ? orderOf(op, parameters) : undefined;
        throwWrongKind(op, parameter.name, parameter.kinds, v, hintOf(op, v, parameter, args, expected), fallback);
      }
    } else if (i === parameters.length && options) {
      if (v === undefined) continue;
      if (!isOptions(v)) throwNotOptions(op, v, options, listHint(op, v, args, parameters));
      checkEntries(op, v, options, parameters);
    } else if (v !== undefined && !(isOptions(v) && !Object.keys(v).length)) {
      const names = [...parameters.map(({ name }) => name), ...(options ? ["options"] : [])];
      const most = names.length;
      throw new TypeError(
        `${op}: takes ${most ? `${parameters.some(({ optional }) => optional) || options ? "at most " : ""}${most} argument${most > 1 ? "s" : ""} (${names.join(", ")})` : "no arguments"}, ` +
          `got ${args.length}: argument ${i + 1} is ${describe(v)}. ${alternatives[op] ?? "Remove it."}`,
      );
    }
  }
}

/**
 * Whether a function got the arguments that Array.prototype.map and similar methods pass to a callback: an element, its
 * index and the array.
 */
const isCallback = ({ length, 0: element, 1: index, 2: array }: ArrayLike<unknown>): boolean =>
  length === 3 && Array.isArray(array) && array[index as number] === element;

/**
 * Checks arguments against a signature. Options may take the place of any optional argument.
 * @returns the arguments, with the options last
 * @throws TypeError
 */
export function checkArguments<A extends ArrayLike<unknown>>(op: string, args: A, expected: Signature): A {
  const { parameters, minimum, rest, options } = expected;
  const n = args.length;
  const most = parameters.length;
  if (n < minimum || (n > most && !rest)) {
    if (most === 1 && isCallback(args)) return checkArguments(op, [args[0]] as ArrayLike<unknown> as A, expected);
    // One extra argument may be the options.
    if (n !== most + 1 || !options) {
      throwMismatch(op, args, expected);
      return args;
    }
  }
  for (let i = 0; i < n; i++) {
    const v = args[i];
    const parameter = i < most ? parameters[i]! : rest;
    if (!parameter) {
      if (v === undefined) continue;
      if (!isOptions(v)) throwNotOptions(op, v, options!, listHint(op, v, args, parameters));
      checkEntries(op, v, options!, parameters);
    } else if (
      !(typeof v === "number" ? parameter.takesNumber : parameter.takesTensor && tensors.isTensor(v)) &&
      !parameter.test(v) &&
      !(v === undefined && parameter.optional)
    ) {
      if (!parameter.optional || i !== n - 1 || !options || !isOptions(v)) {
        throwMismatch(op, args, expected);
        return args;
      }
      checkEntries(op, v, options, parameters);
      const moved = Array.from(args).slice(0, i);
      moved[most] = v;
      return moved as ArrayLike<unknown> as A;
    }
  }
  return args;
}

/** @throws TypeError if a function without parameters got arguments */
export function checkNone(op: string, args: ArrayLike<unknown>): void {
  if (args.length) check(op, args, "");
}

/** Checks arguments against a signature given as text. @throws TypeError */
export function check<A extends ArrayLike<unknown>>(op: string, args: A, text: string): A {
  const expected = signature(text);
  const checked = checkArguments(op, args, expected);
  if (expected.required.length) requireOptions(op, checked[expected.parameters.length], expected.required);
  return checked;
}

/** Returns `check` for a single function. The function's signature is created and parsed on the first call. */
export function checker(op: string, text: () => string): <A extends ArrayLike<unknown>>(args: A) => A {
  let expected: Signature | undefined;
  return (args) => {
    expected ??= signature(text());
    // Fast path: most method calls have no arguments.
    return args.length === 0 && expected.minimum === 0 ? args : checkArguments(op, args, expected);
  };
}

/** @throws TypeError if a required option is missing */
function requireOptions(op: string, options: unknown, required: readonly Parameter[]): void {
  const missing = required.find(({ name }) => !isObject(options) || options[name] === undefined);
  if (missing)
    throw new TypeError(
      `${op}: option ${missing.name} is required. Pass { ${missing.name}: … }, ${kindsText(missing.kinds)}.`,
    );
}

/** Checks an options object on its own; undefined is valid. @throws TypeError */
export function checkOptions(op: string, options: unknown, text: string): void {
  if (options === undefined) return;
  const { options: names } = signature(text);
  if (!isOptions(options)) throwNotOptions(op, options, names!);
  checkEntries(op, options, names!);
}
