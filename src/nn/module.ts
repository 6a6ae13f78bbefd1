/** Module, the base class of layers and networks. It finds parameters, buffers and child modules among its own properties. */

import { currentRecorder, withGrad } from "../core/context.ts";
import { mark, rejectOtherCopy } from "../core/copies.ts";
import { nameOf, registerModule } from "../core/stateful.ts";
import { Tensor } from "../core/tensor.ts";
import { sameShape, show } from "../ops/definition/value.ts";
import { check, checkNone } from "../runtime/arguments.ts";
import { Error, listed, quote, ShapeError, TypeError } from "../runtime/errors.ts";
import { isOptions, isPlainObject, kindOf, requireKind } from "../runtime/kinds.ts";
import { isParameter, markListed, parameter } from "./parameter.ts";

export { nameOf, parameter };

/** Tensors, keyed by name: the format that `stateDict` returns and `loadStateDict` accepts. */
export type StateDict = Record<string, Tensor>;

/**
 * Checks a state dict against the module's own tensors.
 * @returns the names that do not match, and `copy`, a function that copies the values and cannot fail
 * @throws ShapeError that lists every entry that does not fit @internal
 */
export function checkStateDict(
  own: StateDict,
  state: StateDict,
  strict = true,
  remedy = "",
): { missing: string[]; unexpected: string[]; copy: () => void } {
  requireKind("loadStateDict", "state", "object", state);
  if (isOptions(state.tensors) && isOptions(state.metadata))
    throw new TypeError(
      "loadStateDict: state must be tensors by name, got the object { tensors, metadata } that readSafetensors returns. Pass its tensors.",
    );
  for (const name in state)
    if (Object.hasOwn(own, name)) requireKind("loadStateDict", quote(name), "tensor", state[name]);
  // A tensor with several names counts as present if the state has any of them.
  const present = new Set(Object.keys(own).flatMap((name) => (Object.hasOwn(state, name) ? [own[name]] : [])));
  const missing = Object.keys(own).filter((name) => !Object.hasOwn(state, name) && !present.has(own[name]));
  const unexpected = Object.keys(state).filter((name) => !Object.hasOwn(own, name));
  const pairs = Object.entries(own).flatMap(([name, target]) =>
    Object.hasOwn(state, name) && state[name] ? [[name, target, state[name]] as const] : [],
  );
  // Throw here, before anything is copied, if a tensor was disposed.
  for (const [name, ...both] of pairs)
    for (const x of both) {
      rejectOtherCopy("loadStateDict", name, x);
      x.storage("loadStateDict");
    }
  const problems = pairs.flatMap(([name, target, source]) =>
    sameShape(source.shape, target.shape) && source.dtype === target.dtype
      ? []
      : [`${name} must be ${target.dtype} ${show(target.shape)}, got ${source.dtype} ${show(source.shape)}`],
  );
  // PyTorch's weights have the input channels in the second dimension, and nabla's in the last.
  const isPyTorch = pairs.some(
    ([, { shape }, source]) =>
      shape.length > 2 &&
      !sameShape(source.shape, shape) &&
      sameShape(source.shape, [shape[0]!, shape.at(-1)!, ...shape.slice(1, -1)]),
  );
  const mismatches: string[] = [];
  if (strict && missing.length) mismatches.push(`missing: ${listed(missing)}`);
  if (strict && unexpected.length) mismatches.push(`unexpected: ${listed(unexpected)}`);
  if (problems.length || mismatches.length)
    throw new ShapeError(
      `loadStateDict: ${[...problems, ...mismatches].join("; ")}.${isPyTorch ? " Convert PyTorch's layout with fromPyTorch(model, state)." : mismatches.length ? remedy : ""}`,
    );
  if (pairs.length && !missing.length && !unexpected.length && pairs.every(([, target, source]) => target === source))
    throw new Error(
      "loadStateDict: state must be a copy, got the module's own tensors. Keep a copy with saveState({ model }), and load it with loadState.",
    );
  const copy = (): void => withGrad(false, () => pairs.forEach(([, target, source]) => void target.copyFrom(source)));
  return { missing, unexpected, copy };
}

/** Options for `loadStateDict`. */
export interface LoadStateDictOptions {
  /** Whether missing and unexpected names are errors; if false, they are only returned. Default true. */
  strict?: boolean;
}

/** Names that did not match in `loadStateDict`. */
export interface StateDictMismatch {
  /** The names in the module that the state dict lacks. */
  missing: string[];
  /** The names in the state dict that the module lacks. */
  unexpected: string[];
}

/**
 * Base class of layers and networks. Implement `forward`, and assign parameters (`parameter(x)`, or leaves with requiresGrad),
 * other tensors (buffers) and modules to properties, or put them in arrays, plain objects, Maps and Sets there. Do not store them
 * in `#private` fields, which a module cannot see.
 *
 * ```ts
 * class Residual extends nn.Module {
 *   inner = new nn.Linear(8, 8);
 *   forward(x: Tensor) { return this.inner.forward(x).relu().add(x); }
 * }
 * ```
 */
export abstract class Module {
  /**
   * The class's name for printing and errors, which minifiers do not change. Subclasses inherit the name. In your own
   * classes, set `static kind`, such as "Residual", to see that name in summaries even if the bundle is minified.
   */
  static readonly kind: string = "Module";

  constructor() {
    check(kindOf(this), arguments, "");
    mark(this);
    registerModule(this);
  }

  /** Whether layers such as dropout and batch normalization run in training mode. Default true. See train() and eval(). */
  get training(): boolean {
    const mode = this.#training;
    const recorder = currentRecorder();
    // A recording is valid only in this mode, unless the recorded function itself sets the mode.
    if (recorder !== this.#setDuring) recorder?.guard(() => this.#training === mode);
    return mode;
  }
  set training(mode: boolean) {
    this.#training = mode;
    this.#setDuring = currentRecorder();
  }
  #training = true;
  #setDuring: object | null = null;

  /** Computes the module's output. Implement it in subclasses, with any inputs and outputs. */
  // biome-ignore lint/suspicious/noExplicitAny: each module declares its own inputs and outputs
  abstract forward(...inputs: any[]): any;

  /** The tensors and modules in the module's own properties, with their paths, such as `layers.0` or `heads.value`. */
  private *entries(): Generator<[string, Tensor | Module]> {
    for (const [name, value] of Object.entries(this)) yield* partsOf(this, name, value, new Set());
  }

  /** The direct child modules, with their names. */
  *namedChildren(): Generator<[string, Module]> {
    for (const [name, value] of this.entries()) if (value instanceof Module) yield [name, value];
  }

  /** This module (with the path `prefix`, default "") and its descendants, with their paths. Each module appears once. */
  *namedModules(prefix = "", seen = new Set<Module>()): Generator<[string, Module]> {
    if (seen.has(this)) return;
    seen.add(this);
    yield [prefix, this];
    for (const [name, child] of this.namedChildren()) {
      yield* child.namedModules(prefix ? `${prefix}.${name}` : name, seen);
    }
  }

  /** This module and its descendants, with their paths. A module with several paths appears under each of them. @internal */
  *modulesByPath(prefix = "", open = new Set<Module>()): Generator<[string, Module]> {
    // A module that contains one of its ancestors would have infinitely many paths.
    if (open.has(this)) return;
    open.add(this);
    yield [prefix, this];
    for (const [name, child] of this.namedChildren())
      yield* child.modulesByPath(prefix ? `${prefix}.${name}` : name, open);
    open.delete(this);
  }

  /** All tensors with their paths; a tensor with several paths appears under each of them. */
  private *namedTensors(): Generator<[string, Tensor]> {
    for (const [path, module] of this.modulesByPath()) {
      for (const [name, value] of module.entries())
        if (value instanceof Tensor) yield [path ? `${path}.${name}` : name, value];
    }
  }
  /** Either the parameters or the buffers, each once, with its first path. */
  private *distinct(parameters: boolean): Generator<[string, Tensor]> {
    const seen = new Set<Tensor>();
    for (const [name, value] of this.namedTensors()) {
      if (isParameter(value) !== parameters || seen.has(value)) continue;
      seen.add(value);
      yield [name, value];
    }
  }

  /** Parameters of this module and its descendants, keyed by path. Each tensor appears once. */
  *namedParameters(): Generator<[string, Tensor]> {
    const all = [...this.distinct(true)];
    markListed(all.map(([, value]) => value));
    yield* all;
  }
  /** Parameters of this module and its descendants, each once, as optimizers expect them. */
  parameters(): Tensor[] {
    return Array.from(this.namedParameters(), ([, value]) => value);
  }

  /** Tensors that are saved but not trained, such as running statistics, keyed by path. Each tensor appears once. */
  *namedBuffers(): Generator<[string, Tensor]> {
    yield* this.distinct(false);
  }
  /** Tensors that are saved but not trained, each once. */
  buffers(): Tensor[] {
    return Array.from(this.namedBuffers(), ([, value]) => value);
  }

  /**
   * Switches this module and its descendants to training mode or, if `mode` is false, to evaluation mode.
   * @returns this module
   */
  train(mode = true): this {
    check("train", arguments, "mode?:boolean");
    for (const [, module] of this.namedModules()) module.training = mode;
    return this;
  }
  /** Switches to evaluation mode: dropout does nothing, and batch normalization uses running statistics. @returns this module */
  eval(): this {
    checkNone("eval", arguments);
    return this.train(false);
  }

  /** Clears the gradients of all parameters. */
  zeroGrad(): void {
    checkNone("zeroGrad", arguments);
    for (const p of this.parameters()) p.clearGrad();
  }

  /** Frees all parameters, their gradients and buffers. */
  dispose(): void {
    checkNone("dispose", arguments);
    this.zeroGrad();
    for (const [, value] of this.namedTensors()) value.dispose();
  }

  /**
   * All parameters and buffers, keyed by path. A tensor with several paths appears under each of them, as in PyTorch. The
   * tensors are the module's own and change in training; clone() them to keep a snapshot.
   * @throws Error if two tensors have the same name
   */
  stateDict(): StateDict {
    const state = new Map<string, Tensor>();
    for (const [name, value] of this.namedTensors()) {
      if ((state.get(name) ?? value) !== value)
        throw new Error(`stateDict: two tensors are named ${quote(name)}. Rename a property or a key.`);
      state.set(name, value);
    }
    markListed(state.values());
    return Object.fromEntries(state);
  }

  /**
   * Copies values into parameters and buffers. Checks the whole state dict first, so an error changes nothing.
   * @throws ShapeError that lists every entry that does not fit the module
   */
  loadStateDict(state: StateDict, options: LoadStateDictOptions = {}): StateDictMismatch {
    check("loadStateDict", arguments, "state:object {strict:boolean}");
    const { strict = true } = options;
    const remedy = " Pass { strict: false } to load only matching names.";
    const { copy, ...mismatch } = checkStateDict(this.stateDict(), state, strict, remedy);
    copy();
    return mismatch;
  }
  /** Checks a state dict. @returns a function that loads it and cannot fail @internal */
  checkState(state: StateDict): () => void {
    return checkStateDict(this.stateDict(), state).copy;
  }

  /** The text in parentheses after the module's name when it is printed. */
  protected describe(): string {
    const own = Object.entries(this).filter(([, value]) => typeof value !== "object");
    return own.map(([name, value]) => `${name}=${value}`).join(", ");
  }

  /** Shows the module and its children as PyTorch does: one line per module, with children indented. */
  toString(): string {
    // A module that contains one of its ancestors prints only the ancestor's name.
    if (printing.has(this)) return `${nameOf(this)}(…)`;
    printing.add(this);
    let children: string[];
    try {
      children = Array.from(
        this.namedChildren(),
        ([name, child]) => `  (${name}): ${child.toString().replaceAll("\n", "\n  ")}`,
      );
    } finally {
      printing.delete(this);
    }
    return `${nameOf(this)}(${children.length ? `\n${children.join("\n")}\n` : this.describe()})`;
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }
}

/** Modules that are being printed. */
const printing = new Set<Module>();

/**
 * Checks the input of a forward pass that takes one argument.
 * @returns x
 * @throws TypeError if x is not a tensor or is not the only argument
 */
export function inputOf(module: Module, x: Tensor, args: ArrayLike<unknown>, name = "x"): Tensor {
  if (!(x instanceof Tensor)) requireKind(kindOf(module), name, "tensor", x);
  if (args.length > 1) check(kindOf(module), args, `${name}:tensor`);
  return x;
}

/**
 * The tensors and modules in a module's property, with their paths, including those in arrays, plain objects, Maps and Sets
 * at any depth.
 * @throws TypeError if a tensor or module belongs to another copy of nabla
 */
function* partsOf(
  owner: Module,
  path: string,
  value: unknown,
  open: Set<object>,
): Generator<[string, Tensor | Module]> {
  if (value instanceof Tensor || value instanceof Module) yield [path, value];
  else if (typeof value === "object" && value !== null && !open.has(value)) {
    rejectOtherCopy(nameOf(owner), path, value);
    open.add(value);
    let i = 0;
    for (const [key, part] of elementsOf(value)) {
      const name = typeof key === "object" || typeof key === "symbol" ? i : key;
      if (typeof part === "object" && part !== null) yield* partsOf(owner, `${path}.${String(name)}`, part, open);
      i++;
    }
    open.delete(value);
  }
}
function elementsOf(value: object): Iterable<[unknown, unknown]> {
  if (Array.isArray(value)) return value.entries();
  if (value instanceof Map) return value;
  if (value instanceof Set) return [...value].entries();
  return isPlainObject(value) ? Object.entries(value) : [];
}
