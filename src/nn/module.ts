/** Module: what layers and networks are. Finds its own parameters, buffers and sub-modules among its properties. */

import { currentRecorder, withGrad } from "../core/context.ts";
import { mark, rejectOtherCopy } from "../core/copies.ts";
import { nameOf, registerModule } from "../core/stateful.ts";
import { Tensor } from "../core/tensor.ts";
import { withUndo } from "../core/undo.ts";
import { sameShape, show } from "../ops/definition/value.ts";
import { check, checkNone } from "../runtime/arguments.ts";
import { Error, listed, quote, ShapeError, TypeError } from "../runtime/errors.ts";
import { describe, kindOf, requireKind } from "../runtime/kinds.ts";
import { isParameter, markListed, parameter } from "./parameter.ts";

export { nameOf, parameter };

/** Tensors by name: what `stateDict` returns and `loadStateDict` takes. */
export type StateDict = Record<string, Tensor>;

/**
 * Checks values for tensors by their names.
 * @returns what copies them, and cannot fail
 * @throws ShapeError listing every entry that does not fit @internal
 */
export function fitted(
  own: StateDict,
  state: StateDict,
  strict = true,
  remedy = "",
): { missing: string[]; unexpected: string[]; copy: () => void } {
  requireKind("loadStateDict", "state", "object", state);
  for (const name in state)
    if (Object.hasOwn(own, name)) requireKind("loadStateDict", quote(name), "tensor", state[name]);
  // A tensor that has several names is there if one of them is.
  const given = new Set(Object.keys(own).flatMap((name) => (Object.hasOwn(state, name) ? [own[name]] : [])));
  const missing = Object.keys(own).filter((name) => !Object.hasOwn(state, name) && !given.has(own[name]));
  const unexpected = Object.keys(state).filter((name) => !Object.hasOwn(own, name));
  const pairs = Object.entries(own).flatMap(([name, target]) =>
    Object.hasOwn(state, name) && state[name] ? [[name, target, state[name]] as const] : [],
  );
  // Throw now if any tensor was disposed.
  for (const [name, ...both] of pairs)
    for (const x of both) {
      rejectOtherCopy("loadStateDict", name, x);
      x.storage("loadStateDict");
    }
  const problems = pairs.flatMap(([name, target, source]) =>
    sameShape(source.shape, target.shape) && source.dtype === target.dtype
      ? []
      : [`${name} is ${source.dtype} ${show(source.shape)}, but must be ${target.dtype} ${show(target.shape)}`],
  );
  const strange: string[] = [];
  if (strict && missing.length) strange.push(`missing: ${listed(missing)}`);
  if (strict && unexpected.length) strange.push(`unexpected: ${listed(unexpected)}`);
  if (problems.length || strange.length)
    throw new ShapeError(`loadStateDict: ${[...problems, ...strange].join("; ")}.${strange.length ? remedy : ""}`);
  const copy = (): void => withGrad(false, () => pairs.forEach(([, target, source]) => void target.copyFrom(source)));
  return { missing, unexpected, copy };
}

/**
 * The base of layers and networks. Assign parameters (`parameter(x)`, or leaves with requiresGrad), other tensors (buffers) and modules
 * as properties, or in arrays, plain objects, Maps and Sets, and write `forward`. Do not use `#private` fields for them: a module
 * cannot see those.
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
   * What it is, whatever a minifier makes of the class's name. A class without a kind of its own has its nearest ancestor's; give yours
   * one (`static kind = "Residual"`) to see it in summaries of minified bundles.
   */
  static readonly kind: string = "Module";

  constructor() {
    check(kindOf(this), arguments, "");
    mark(this);
    registerModule(this);
  }

  /** Whether dropout and the like behave as in training. See train() and eval(). */
  get training(): boolean {
    const mode = this.#training;
    const recorder = currentRecorder();
    // A mode that the recorded function sets itself is no condition of it.
    if (recorder !== this.#setDuring) recorder?.guard(() => this.#training === mode);
    return mode;
  }
  set training(mode: boolean) {
    this.#training = mode;
    this.#setDuring = currentRecorder();
  }
  #training = true;
  #setDuring: object | null = null;

  /** Computes the module's result. Pointwise modules take any shape and return the same shape; others say theirs. */
  // biome-ignore lint/suspicious/noExplicitAny: what a module takes is its own affair
  abstract forward(...inputs: any[]): any;

  /** Tensors and modules among its own properties, by path: `layers.0`, `heads.value`. */
  private *entries(): Generator<[string, Tensor | Module]> {
    for (const [name, value] of Object.entries(this)) yield* partsOf(this, name, value, new Set());
  }

  /** The modules directly inside, by name. */
  *namedChildren(): Generator<[string, Module]> {
    for (const [name, value] of this.entries()) if (value instanceof Module) yield [name, value];
  }

  /** This module and all inside it, by path, each once. */
  *namedModules(prefix = "", seen = new Set<Module>()): Generator<[string, Module]> {
    if (seen.has(this)) return;
    seen.add(this);
    yield [prefix, this];
    for (const [name, child] of this.namedChildren()) {
      yield* child.namedModules(prefix ? `${prefix}.${name}` : name, seen);
    }
  }

  /** This module and all inside it, each under every path that it has. @internal */
  *modulesByPath(prefix = "", open = new Set<Module>()): Generator<[string, Module]> {
    // A module that holds one that it is in, such as its parent, has no end of paths.
    if (open.has(this)) return;
    open.add(this);
    yield [prefix, this];
    for (const [name, child] of this.namedChildren())
      yield* child.modulesByPath(prefix ? `${prefix}.${name}` : name, open);
    open.delete(this);
  }

  /** All tensors by path, each under every name that it has. */
  private *namedTensors(): Generator<[string, Tensor]> {
    for (const [path, module] of this.modulesByPath()) {
      for (const [name, value] of module.entries())
        if (value instanceof Tensor) yield [path ? `${path}.${name}` : name, value];
    }
  }
  /** The tensors that are learnt, or those that are not, by their first name. */
  private *distinct(learnt: boolean): Generator<[string, Tensor]> {
    const seen = new Set<Tensor>();
    for (const [name, value] of this.namedTensors()) {
      if (isParameter(value) !== learnt || seen.has(value)) continue;
      seen.add(value);
      yield [name, value];
    }
  }

  /** What is learnt, by path, each tensor once. */
  *namedParameters(): Generator<[string, Tensor]> {
    const all = [...this.distinct(true)];
    markListed(all.map(([, value]) => value));
    yield* all;
  }
  /** The trainable tensors of this module and of the modules in it, each once: what optimizers take. */
  parameters(): Tensor[] {
    return Array.from(this.namedParameters(), ([, value]) => value);
  }

  /** What is kept but not learnt, such as running statistics, by path, each tensor once. */
  *namedBuffers(): Generator<[string, Tensor]> {
    yield* this.distinct(false);
  }
  /**
   * The tensors of this module and of the modules in it that are saved but not trained, such as running statistics.
   */
  buffers(): Tensor[] {
    return Array.from(this.namedBuffers(), ([, value]) => value);
  }

  /** Switches this module and all inside it to training (or, with false, to evaluation). */
  train(mode = true): this {
    check("train", arguments, "mode?:boolean");
    for (const [, module] of this.namedModules()) module.training = mode;
    return this;
  }
  /** Switches to evaluation: dropout passes everything. */
  eval(): this {
    checkNone("eval", arguments);
    return this.train(false);
  }

  /** Forgets all gradients. */
  zeroGrad(): void {
    checkNone("zeroGrad", arguments);
    for (const p of this.parameters()) p.clearGrad();
  }

  /** Frees all parameters and buffers. */
  dispose(): void {
    checkNone("dispose", arguments);
    this.zeroGrad();
    for (const [, value] of this.namedTensors()) value.dispose();
  }

  /**
   * All parameters and buffers by path, under every name that they have: a module used twice is there twice, as in PyTorch. They are the
   * module's own: clone() what is to stay as it is.
   * @throws Error if two tensors have one name
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
   * Copies values into parameters and buffers. Everything is checked before anything is changed.
   * @param strict whether missing and unexpected names are errors (default) or only reported
   * @throws ShapeError listing every entry that does not fit
   */
  loadStateDict(
    state: StateDict,
    options: {
      /** Throw if names are missing or unexpected, instead of returning them. Default true. */
      strict?: boolean;
    } = {},
  ): {
    /** Names of the module that the state does not have. */
    missing: string[];
    /** Names of the state that the module does not have. */
    unexpected: string[];
  } {
    check("loadStateDict", arguments, "state:object {strict:boolean}");
    const { strict = true } = options;
    const remedy = " Pass { strict: false } to load what fits by name.";
    const { copy, ...told } = fitted(this.stateDict(), state, strict, remedy);
    copy();
    return told;
  }
  /** Checks a state. @returns what takes it over, and cannot fail @internal */
  checkState(state: StateDict): () => void {
    return fitted(this.stateDict(), state).copy;
  }

  /** What stands in parentheses when the module is printed. */
  protected describe(): string {
    const own = Object.entries(this).filter(([, value]) => typeof value !== "object");
    return own.map(([name, value]) => `${name}=${value}`).join(", ");
  }

  /** As PyTorch prints modules: one line each, children indented. */
  toString(): string {
    // A module that holds one that it is in, such as its parent, is printed by name there.
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

/** The modules whose text is being written. */
const printing = new Set<Module>();

/** The input of a forward pass that takes one. @throws TypeError unless it is a tensor, and the only argument */
export function inputOf(module: Module, x: Tensor, args: ArrayLike<unknown>, name = "x"): Tensor {
  if (!(x instanceof Tensor)) requireKind(kindOf(module), name, "tensor", x);
  if (args.length > 1) check(kindOf(module), args, `${name}:tensor`);
  return x;
}

/**
 * Tensors and modules in a property of a module, by path, inside arrays, plain objects, Maps and Sets to any depth.
 * @throws TypeError if one belongs to another copy of nabla
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
    for (const [key, part] of insideOf(value)) {
      const name = typeof key === "object" || typeof key === "symbol" ? i : key;
      if (typeof part === "object" && part !== null) yield* partsOf(owner, `${path}.${String(name)}`, part, open);
      i++;
    }
    open.delete(value);
  }
}
function insideOf(value: object): Iterable<[unknown, unknown]> {
  if (Array.isArray(value)) return value.entries();
  if (value instanceof Map) return value;
  if (value instanceof Set) return [...value].entries();
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype ? Object.entries(value) : [];
}

/** Modules one after the other. Their names are their places: `0.weight`. */
export class Sequential extends Module {
  static override readonly kind: string = "Sequential";
  /** The modules, in the order in which they run. */
  readonly layers: readonly Module[];

  constructor(...layers: Module[]) {
    super();
    check("Sequential", layers, "...layer:module");
    this.layers = layers;
    // PyTorch's names: 0, 1, …, so that its state dicts load.
    for (const [i, layer] of layers.entries()) Object.defineProperty(this, i, { value: layer, enumerable: true });
    Object.defineProperty(this, "layers", { enumerable: false });
  }

  /** Passes x through the layers in order: each takes what the one before returned. */
  forward(x: Tensor): Tensor {
    inputOf(this, x, arguments);
    const last = this.layers.length - 1;
    const pass = (value: Tensor, layer: Module, i: number): Tensor => {
      const result: unknown = layer.forward(value);
      if (i < last && !(result instanceof Tensor))
        throw new TypeError(
          `Sequential: layer ${i} (${kindOf(layer)}) returned ${describe(result)}, but the next layer needs one tensor. ` +
            "Write a module whose forward passes on the part that you need, such as the output of an LSTM.",
        );
      return result as Tensor;
    };
    return withUndo(() => this.layers.reduce(pass, x));
  }
}
