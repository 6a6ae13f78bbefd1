/** Standing between a model and its layers' forward passes: to see what goes in and comes out, or to change it. */
import type { Module } from "./module.ts";

/** A module's forward pass that is about to be made. */
export interface Call {
  /** The module's path in the model; "" is the model. */
  readonly name: string;
  readonly module: Module;
  readonly inputs: readonly unknown[];
  /** Makes it. */
  readonly forward: () => unknown;
}

type Around = (inputs: readonly unknown[], forward: () => unknown) => unknown;

/** Who stands before a module, the innermost first. */
const standing = new WeakMap<Module, Around[]>();

/** Puts one more before the module's forward pass; the first takes its place. Returns how to take it away again. */
function stand(module: Module, own: Around): () => void {
  const all = standing.get(module) ?? [];
  if (!all.length) {
    const before = Object.getOwnPropertyDescriptor(module, "forward");
    const { forward } = module;
    standing.set(module, all);
    // Not enumerable: a module is printed by its own properties.
    Object.defineProperty(module, "forward", {
      configurable: true,
      writable: true,
      value: (...inputs: unknown[]) =>
        all.reduce<() => unknown>(
          (inner, around) => () => around(inputs, inner),
          () => forward.apply(module, inputs) as unknown,
        )(),
    });
    restores.set(module, () => {
      standing.delete(module);
      if (before) Object.defineProperty(module, "forward", before);
      else delete (module as Partial<Module>).forward;
    });
  }
  all.push(own);
  return () => {
    const at = all.indexOf(own);
    if (at < 0) return;
    all.splice(at, 1);
    if (!all.length) restores.get(module)!();
  };
}
const restores = new WeakMap<Module, () => void>();

/**
 * From now on every forward pass of the model's modules is made by `around`, until the function that is returned is called. Several may be
 * at work on one model, and end in any order.
 */
export function intercept(model: Module, around: (call: Call) => unknown): () => void {
  const undo = Array.from(model.namedModules(), ([name, module]) =>
    stand(module, (inputs, forward) => around({ name, module, inputs, forward })),
  );
  return () => {
    for (const remove of undo) remove();
  };
}

/** Runs f with all forward passes made by `around`. */
export function intercepted<T>(model: Module, around: (call: Call) => unknown, f: () => T): T {
  const restore = intercept(model, around);
  try {
    return f();
  } finally {
    restore();
  }
}

/** Whether a module's forward pass is that of its class `type`, not one of a subclass or its own: what is known of the class then holds. */
export const isPlain = (module: Module, type: abstract new (...args: never[]) => Module): boolean =>
  module instanceof type && (Object.getPrototypeOf(module) as Module).forward === (type.prototype as Module).forward;
