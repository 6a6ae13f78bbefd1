/** Wraps the `forward` methods of a model's modules, to observe or replace inputs and outputs. */
import type { Module } from "./module.ts";

/** A forward pass that a module is about to run. */
export interface Call {
  /** The module's path in the model; "" for the model itself. */
  readonly name: string;
  readonly module: Module;
  readonly inputs: readonly unknown[];
  /** Runs the forward pass. */
  readonly forward: () => unknown;
}

type Wrapper = (inputs: readonly unknown[], forward: () => unknown) => unknown;

/** The wrappers of each module, innermost first. */
const wrappers = new WeakMap<Module, Wrapper[]>();
/** Functions that restore the original `forward` of each wrapped module. */
const restores = new WeakMap<Module, () => void>();

/**
 * Adds a wrapper to the module; the module's first wrapper replaces `forward`. Returns a function that removes the wrapper.
 */
function wrap(module: Module, wrapper: Wrapper): () => void {
  const all = wrappers.get(module) ?? [];
  if (!all.length) {
    const original = Object.getOwnPropertyDescriptor(module, "forward");
    const { forward } = module;
    wrappers.set(module, all);
    // The property is not enumerable, because a printed module lists its enumerable properties.
    Object.defineProperty(module, "forward", {
      configurable: true,
      writable: true,
      value: (...inputs: unknown[]) =>
        all.reduce<() => unknown>(
          (inner, outer) => () => outer(inputs, inner),
          () => forward.apply(module, inputs) as unknown,
        )(),
    });
    restores.set(module, () => {
      wrappers.delete(module);
      if (original) Object.defineProperty(module, "forward", original);
      else delete (module as Partial<Module>).forward;
    });
  }
  all.push(wrapper);
  return () => {
    const at = all.indexOf(wrapper);
    if (at < 0) return;
    all.splice(at, 1);
    if (!all.length) restores.get(module)!();
  };
}

/**
 * Calls `around` instead of each forward pass of the model's modules, until you call the returned function. Several
 * interceptions of one model can be active at once, and you can end them in any order.
 */
export function intercept(model: Module, around: (call: Call) => unknown): () => void {
  const undo = Array.from(model.namedModules(), ([name, module]) =>
    wrap(module, (inputs, forward) => around({ name, module, inputs, forward })),
  );
  return () => {
    for (const remove of undo) remove();
  };
}

/** Calls `around` instead of each forward pass while f runs. */
export function interceptDuring<T>(model: Module, around: (call: Call) => unknown, f: () => T): T {
  const restore = intercept(model, around);
  try {
    return f();
  } finally {
    restore();
  }
}

/** Whether a module runs the forward pass of class `type`, not an override by a subclass or instance. */
export const isPlain = (module: Module, type: abstract new (...args: never[]) => Module): boolean =>
  module instanceof type && (Object.getPrototypeOf(module) as Module).forward === (type.prototype as Module).forward;
