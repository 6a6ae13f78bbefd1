/** Module: what layers and networks are. Finds its own parameters, buffers and sub-modules among its properties. */

import { refuseForeign } from "../copies.ts";
import { sameShape, show } from "../ops/value.ts";
import { ShapeError } from "../runtime/errors.ts";
import { currentRecorder, Tensor, withGrad } from "../tensor.ts";
import { undoable } from "../undo.ts";

const parameters = new WeakSet<Tensor>();

/** Marks a tensor as one to be learnt: it requires gradients, and outlives the scope it is made in. */
export function parameter(x: Tensor): Tensor {
  x.requiresGrad = true;
  parameters.add(x);
  return x.keep();
}

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
  const missing = Object.keys(own).filter((name) => !Object.hasOwn(state, name));
  const unexpected = Object.keys(state).filter((name) => !Object.hasOwn(own, name));
  const pairs = Object.entries(own).flatMap(([name, target]) =>
    Object.hasOwn(state, name) && state[name] ? [[name, target, state[name]] as const] : [],
  );
  // Who was disposed says so now.
  for (const [name, ...both] of pairs)
    for (const x of both) {
      refuseForeign("loadStateDict", name, x);
      x.storage("loadStateDict");
    }
  const problems = pairs.flatMap(([name, target, source]) =>
    sameShape(source.shape, target.shape) && source.dtype === target.dtype
      ? []
      : [`${name} is ${source.dtype} ${show(source.shape)}, but must be ${target.dtype} ${show(target.shape)}`],
  );
  const strange: string[] = [];
  if (strict && missing.length) strange.push(`missing: ${missing.join(", ")}`);
  if (strict && unexpected.length) strange.push(`unexpected: ${unexpected.join(", ")}`);
  if (problems.length || strange.length)
    throw new ShapeError(`loadStateDict: ${[...problems, ...strange].join("; ")}.${strange.length ? remedy : ""}`);
  const copy = (): void => withGrad(false, () => pairs.forEach(([, target, source]) => void target.copyFrom(source)));
  return { missing, unexpected, copy };
}

/**
 * The base of layers and networks. Assign parameters (`parameter(x)`), other tensors (buffers), modules and arrays of
 * modules as properties, and write `forward`.
 *
 * ```ts
 * class Residual extends nn.Module {
 *   inner = new nn.Linear(8, 8);
 *   forward(x: Tensor) { return this.inner.forward(x).relu().add(x); }
 * }
 * ```
 */
export abstract class Module {
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

  // biome-ignore lint/suspicious/noExplicitAny: what a module takes is its own affair
  abstract forward(...inputs: any[]): any;

  /** Own properties, arrays of modules taken apart: `layers.0`. */
  private *entries(): Generator<[string, Tensor | Module]> {
    for (const [name, value] of Object.entries(this)) {
      if (value instanceof Tensor || value instanceof Module) yield [name, value];
      else if (Array.isArray(value)) {
        for (const [i, part] of value.entries())
          if (part instanceof Module || part instanceof Tensor) yield [`${name}.${i}`, part];
      }
    }
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

  private *namedTensors(): Generator<[string, Tensor]> {
    for (const [path, module] of this.namedModules()) {
      for (const [name, value] of module.entries())
        if (value instanceof Tensor) yield [path ? `${path}.${name}` : name, value];
    }
  }

  /** What is learnt, by path, each tensor once. */
  *namedParameters(): Generator<[string, Tensor]> {
    const seen = new Set<Tensor>();
    for (const [name, value] of this.namedTensors()) {
      if (!parameters.has(value) || seen.has(value)) continue;
      seen.add(value);
      yield [name, value];
    }
  }
  parameters(): Tensor[] {
    return Array.from(this.namedParameters(), ([, value]) => value);
  }

  /** What is kept but not learnt, such as running statistics, by path. */
  *namedBuffers(): Generator<[string, Tensor]> {
    for (const [name, value] of this.namedTensors()) if (!parameters.has(value)) yield [name, value];
  }
  buffers(): Tensor[] {
    return Array.from(this.namedBuffers(), ([, value]) => value);
  }

  /** Switches this module and all inside it to training (or, with false, to evaluation). */
  train(mode = true): this {
    for (const [, module] of this.namedModules()) module.training = mode;
    return this;
  }
  /** Switches to evaluation: dropout passes everything. */
  eval(): this {
    return this.train(false);
  }

  /** Forgets all gradients. */
  zeroGrad(): void {
    for (const p of this.parameters()) p.clearGrad();
  }

  /** Frees all parameters and buffers. */
  dispose(): void {
    this.zeroGrad();
    for (const [, value] of this.namedTensors()) value.dispose();
  }

  /** All parameters and buffers by path. They are the module's own: clone() what is to stay as it is. */
  stateDict(): StateDict {
    return Object.fromEntries(Array.from(this.namedTensors()));
  }

  /**
   * Copies values into parameters and buffers. Everything is checked before anything is changed.
   * @param strict whether missing and unexpected names are errors (default) or only reported
   * @throws ShapeError listing every entry that does not fit
   */
  loadStateDict(
    state: StateDict,
    { strict = true }: { strict?: boolean } = {},
  ): { missing: string[]; unexpected: string[] } {
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
    const children = Array.from(
      this.namedChildren(),
      ([name, child]) => `  (${name}): ${child.toString().replaceAll("\n", "\n  ")}`,
    );
    return `${this.constructor.name}(${children.length ? `\n${children.join("\n")}\n` : this.describe()})`;
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }
}

/** Modules one after the other. Their names are their places: `0.weight`. */
export class Sequential extends Module {
  readonly layers: readonly Module[];

  constructor(...layers: Module[]) {
    super();
    this.layers = layers;
    // PyTorch's names: 0, 1, …, so that its state dicts load.
    for (const [i, layer] of layers.entries()) Object.defineProperty(this, i, { value: layer, enumerable: true });
    Object.defineProperty(this, "layers", { enumerable: false });
  }

  forward(x: Tensor): Tensor {
    return undoable(() => this.layers.reduce((value, layer) => layer.forward(value) as Tensor, x));
  }
}
