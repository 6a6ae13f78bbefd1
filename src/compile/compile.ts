/**
 * compile(f): records f once per signature and then runs it with one call into WebAssembly. It uses the same kernels as eager mode, so the
 * results have the same bits.
 */

import { currentWatch, runFinite } from "../core/anomaly.ts";
import { context, currentRecorder, isGradEnabled } from "../core/context.ts";
import { tensor } from "../core/creation.ts";
import type { TypedArray } from "../core/elements.ts";
import { Tensor } from "../core/tensor.ts";
import { check } from "../runtime/arguments.ts";
import { Error } from "../runtime/errors.ts";
import { Explanation } from "./explain.ts";
import { Profile, type ProfileOptions } from "./profile.ts";
import { signatureOf, substitute } from "./signature.ts";
import { Trace } from "./trace.ts";

/**
 * The number of recordings kept per function. Once there are this many, a new recording replaces the least recently
 * used one.
 */
const MAX_TRACES = 8;

/** Options for compile. */
export interface CompileOptions {
  /** The name of the function in errors, warnings and listings. Default: f.name. */
  readonly name?: string;
  /**
   * Check results, gradients and all writes for NaN and ±∞. If a call finds such a value, it throws a NonFiniteError
   * that names the op and the line that produced the first one. Parameters, optimizers' state, running statistics and
   * the random generator are then restored; results and gradients are undefined. Values that are masked out later, such
   * as −∞ in attention scores, do not count. Needs memory for a copy of the state. Default false.
   */
  readonly finite?: boolean;
}

/** The type of a compiled function's argument: a typed array can replace a one-dimensional tensor. */
export type Argument<T> = T extends Tensor
  ? Tensor | TypedArray
  : T extends readonly unknown[] | Record<string, unknown>
    ? { [K in keyof T]: Argument<T[K]> }
    : T;
type Arguments<A extends unknown[]> = { [K in keyof A]: Argument<A[K]> };

/** A compiled function. Call it like the original function. */
export interface Compiled<A extends unknown[], T> {
  (...args: Arguments<A>): T;
  (...args: A): T;
  /**
   * Lists the program for these arguments (default: the arguments of the last call): instructions, shapes, memory addresses,
   * FLOPs and fused ops. Print it with `console.log(step.explain())`.
   * @throws Error if the function has not been called yet and no arguments are passed
   */
  explain(args?: Arguments<A>): Explanation;
  /**
   * Calls the function several times, measures each instruction, and compares its time with the fastest that the machine's
   * arithmetic and memory allow. Print it with `console.log(step.profile([x, y]))`.
   * @throws RangeError if an option is out of range
   */
  profile(args: Arguments<A>, options?: ProfileOptions): Profile;
  /** Frees the recordings and their memory, including results. */
  dispose(): void;
}

/**
 * Compiles f: records it once per signature (shapes, dtypes, numbers, training or evaluation mode), and then runs the recording with one
 * call into WebAssembly. f receives a tensor for every tensor and typed array. Numbers become constants of the recording; a `scalar` does
 * not. The next call overwrites the tensors that f returns: clone() those you want to keep. Parameters, optimizers' state and random
 * numbers are bit-identical to those of eager mode. Gradients flow inside f, not through its results; if an argument requires a gradient,
 * as in grad(compile(f)), f runs uncompiled.
 *
 * Errors are the same as in eager mode; for example, an index out of range throws. A compiled call that throws changes
 * no state: parameters, optimizers' state, running statistics, gradients and the random generator are the same as
 * before. (An eager call that throws may already have updated BatchNorm's statistics and drawn random numbers.) After a
 * throw, the results of earlier calls are undefined.
 *
 * If f calls methods that a module's class defines, f is recorded again when a field of that module, or of a module
 * nested in it, changes. This covers values, functions, `forward`, and elements of plain objects, arrays, Maps and Sets
 * with up to 64 elements, four levels deep. Every such change triggers a new recording, even if f never reads the
 * field, so keep counters and histories outside modules. If f sets such a field, compile throws: write tensors with
 * copyFrom, and numbers with a `scalar`. If f uses tensors from variables, the second call records f again and compares
 * the two recordings.
 *
 * compile does not notice changes to the following, and keeps using the values from the recording:
 *
 * - numbers from closures, Math.random() and Date.now();
 * - tensors in variables that are replaced after the second call;
 * - larger or deeper collections, and elements of typed arrays;
 * - fields in instances of other classes, #private, static and symbol-keyed fields, and accessors;
 * - fields of a module m if f calls no method that m's class defines (f only reads `m.k`, or `forward` is an arrow
 *   function);
 * - fields added to an instance of a class with its own `static kind`, such as nabla's layers.
 *
 * ```ts
 * const step = compile((x: Tensor, y: Tensor) => optimizer.minimize(() => losses.mse(model.forward(x), y)));
 * for (const [x, y] of batches) console.log(step(x, y).item());
 * ```
 * @throws TraceError, on a call, if f reads a value or branches on one
 */
export function compile<A extends unknown[], T>(f: (...args: A) => T, options: CompileOptions = {}): Compiled<A, T> {
  check("compile", arguments, "f:function {name:string finite:boolean}");
  const { name = f.name || "f", finite = false } = options;
  const call = f as (...args: unknown[]) => T;
  /** The recordings, starting with the most recently used. */
  const traces: Trace<T>[] = [];
  let evicted = 0;
  /** The trace that the current call has created. */
  let fresh: Trace<T> | undefined;
  const isFinite = (): boolean => finite || currentWatch() !== null;

  const add = (args: readonly unknown[]): Trace<T> => {
    const trace = new Trace(name, call, args, isFinite());
    traces.unshift(trace);
    fresh = trace;
    if (traces.length > MAX_TRACES) {
      traces.pop()!.dispose();
      if (++evicted === MAX_TRACES) {
        const field = traces[1]!.changedField;
        console.warn(
          `compile: ${name} was recorded ${evicted + MAX_TRACES} times because ${
            field
              ? `module fields keep changing, most recently ${field}. Keep counters and histories outside modules, and numbers that ops ` +
                "use in a scalar(…)."
              : "arguments, modes or options keep changing. Pass changing numbers as scalar(…) or tensors, and pad batches to the same size."
          }`,
        );
      }
    }
    return trace;
  };
  const find = (args: readonly unknown[]): Trace<T> => {
    const finite = isFinite();
    if (traces.length && traces[0]!.finite === finite && traces[0]!.fits(args)) return traces[0]!;
    const index = traces.findIndex((trace) => trace.finite === finite && trace.fits(args));
    if (index < 0) return add(args);
    const trace = traces.splice(index, 1)[0]!;
    traces.unshift(trace);
    return trace;
  };

  const runUncompiled = (args: readonly unknown[]): T => {
    const run = (): T => inline(name, call, args);
    return finite ? runFinite(`compile(${name})`, run) : run();
  };
  const invoke = (args: readonly unknown[]): T => {
    // Gradients flow through f only in eager mode.
    if (isGradEnabled())
      for (let i = 0; i < args.length; i++) if (requiresGradient(args[i])) return runUncompiled([...args]);
    fresh = undefined;
    let trace = find(args);
    if (!trace.isVerified && trace !== fresh && !trace.program.isBroken && !trace.verify(call, name)) {
      traces.shift()!.dispose();
      trace = add(args);
    }
    trace.bind(args);
    trace.program.run();
    return trace.finish();
  };
  // A rest parameter would allocate an array on every call, so calls with up to four arguments store them in these lists instead.
  const lists: unknown[][] = [[], [0], [0, 0], [0, 0, 0], [0, 0, 0, 0]];
  function run(a?: unknown, b?: unknown, c?: unknown, d?: unknown): T {
    // Inside another recording, f becomes a part of that recording. Inside nn.checkpoint, f runs uncompiled, because nn.checkpoint must see
    // the ops of f.
    if (currentRecorder() || context.checkpoint) return runUncompiled(Array.from(arguments));
    const list = lists[arguments.length];
    if (!list) return invoke(Array.from(arguments));
    for (let i = 0; i < arguments.length; i++) list[i] = i === 0 ? a : i === 1 ? b : i === 2 ? c : d;
    try {
      return invoke(list);
    } finally {
      list.fill(0);
    }
  }
  const methods = {
    explain(args?: Arguments<A>): Explanation {
      check("explain", arguments, "args?:array");
      const trace = args ? find(args) : traces[0];
      if (!trace)
        throw new Error(
          `compile(${name}): nothing is recorded yet. Call the function first, or pass arguments to explain([…]).`,
        );
      return new Explanation(name, trace);
    },
    profile(args: Arguments<A>, options: ProfileOptions = {}): Profile {
      check("profile", arguments, "args:array {calls:number groupBy:string}");
      return new Profile(name, find(args), args, options);
    },
    dispose(): void {
      for (const trace of traces.splice(0)) trace.dispose({ results: true });
    },
  };
  return Object.assign(run as ((...args: Arguments<A>) => T) & ((...args: A) => T), methods);
}

/** Whether an argument is or contains a tensor that requires a gradient. */
function requiresGradient(value: unknown, depth = 0): boolean {
  if (value instanceof Tensor) return value.requiresGrad;
  // The depth limit ends the recursion for cyclic objects, which the signature rejects.
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || depth > 100) return false;
  for (const key in value) if (requiresGradient((value as Record<string, unknown>)[key], depth + 1)) return true;
  return false;
}

/** Calls f with tensors in place of typed arrays. While another function is recorded, these tensors are constants. */
function inline<T>(name: string, f: (...args: unknown[]) => T, args: readonly unknown[]): T {
  const flat: (Tensor | TypedArray)[] = [];
  const { parts } = signatureOf(name, args, flat);
  return f(...substitute(parts, (i) => (ArrayBuffer.isView(flat[i]) ? tensor(flat[i]) : flat[i]!)));
}
