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

/**
 * From now on every forward pass of the model's modules is made by `around`, until the function that is returned is called. Of several
 * at work on one model, the last must be the first to end.
 */
export function intercept(model: Module, around: (call: Call) => unknown): () => void {
  const undo = Array.from(model.namedModules(), ([name, module]) => {
    const before = Object.getOwnPropertyDescriptor(module, "forward");
    const { forward } = module;
    // Not enumerable: a module is printed by its own properties.
    Object.defineProperty(module, "forward", {
      configurable: true,
      writable: true,
      value: (...inputs: unknown[]) =>
        around({ name, module, inputs, forward: () => forward.apply(module, inputs) as unknown }),
    });
    return () => {
      if (before) Object.defineProperty(module, "forward", before);
      else delete (module as Partial<Module>).forward;
    };
  });
  return () => {
    for (const restore of undo) restore();
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
