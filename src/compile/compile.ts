/**
 * compile(f): f's whole work, recorded once per kind of arguments, then run by one call into WebAssembly. The same kernels as
 * without it, so the same bits.
 */

import { currentWatch, runFinite } from "../core/anomaly.ts";
import { tensor } from "../core/creation.ts";
import { currentRecorder, isGradEnabled, Tensor, type TypedArray } from "../core/tensor.ts";
import { check } from "../runtime/arguments.ts";
import { Error } from "../runtime/errors.ts";
import { Explanation } from "./explain.ts";
import { Profile, type ProfileOptions } from "./profile.ts";
import { signatureOf, substitute } from "./signature.ts";
import { Trace } from "./trace.ts";

/** Recordings kept for one function; the least recently used goes. */
const MAX_TRACES = 8;

/** Options of compile. */
export interface CompileOptions {
  /** How errors, warnings and listings call the function. */
  readonly name?: string;
  /**
   * Whether each call looks for NaN and ±∞ in results, gradients and everything that it writes. If there is one, the call throws a
   * NonFiniteError that names the op and line that made the first; parameters, optimizers' state, running statistics and the random
   * counter are as before the call, results and gradients undefined. What is masked out on the way, such as −∞ among attention scores,
   * does not count. Takes memory for a copy of the state. Default false.
   */
  readonly finite?: boolean;
}

/** An argument as it may be passed: where the function takes a tensor, a typed array of its elements will do. */
export type Argument<T> = T extends Tensor
  ? Tensor | TypedArray
  : T extends readonly unknown[] | Record<string, unknown>
    ? { [K in keyof T]: Argument<T[K]> }
    : T;
type Arguments<A extends unknown[]> = { [K in keyof A]: Argument<A[K]> };

/** A compiled function: called as the function itself. */
export interface Compiled<A extends unknown[], T> {
  (...args: Arguments<A>): T;
  (...args: A): T;
  /**
   * The program for these arguments (default: that of the last call) as a listing: instructions, shapes, where values live,
   * FLOPs, and what was fused. `console.log(step.explain())`. @throws Error before the first call, without arguments
   */
  explain(args?: Arguments<A>): Explanation;
  /** Calls it for real, several times, and tells how the time is spent. `console.log(step.profile([x, y]))`. */
  profile(args: Arguments<A>, options?: ProfileOptions): Profile;
  /** Frees the recordings and their memory, results included. */
  dispose(): void;
}

/**
 * Records f once for each kind of arguments (shapes, types, numbers, train or eval), and from then on runs the recording by
 * one call. f is given tensors for tensors and typed arrays; numbers are part of what is recorded (a `scalar` is not). Tensors
 * that f returns are overwritten by the next call: clone() one to keep it. Parameters, optimizers' state and random numbers
 * work as without it, bit for bit. Gradients flow inside of f, not through its results; called with a tensor that requires a
 * gradient, as grad(compile(f)) does, f runs as it is.
 *
 * Errors are those of eager mode: an index out of range throws. A compiled call that throws changes no state: parameters, optimizers'
 * state, running statistics, gradients and random numbers are as before the call, where an eager call may already have updated BatchNorm's
 * statistics and drawn random numbers. Results of earlier calls are undefined after it.
 *
 * A recording is made again if fields change of the modules whose class methods f calls, and of modules inside these: values, functions,
 * `forward`, and elements of plain objects, arrays, Maps and Sets with up to 64 elements, four levels deep. Any such change counts, even of
 * a field that f never reads: keep counters and histories outside of modules. State that f sets in such a field throws: write tensors with
 * copyFrom, numbers with a `scalar`. If f uses tensors from variables, the second call records f once more to compare.
 *
 * compile does not see these changes, and uses what f found when it was recorded: numbers from closures, Math.random(), Date.now(); tensors
 * in variables, replaced after the second call; larger or deeper collections; elements of typed arrays; fields of other classes' instances;
 * #private, static and symbol-keyed fields; accessors; fields of a module of which f calls no class method (it only reads `m.k`, or `forward`
 * is an arrow function); fields added to an instance of a class that has its own `static kind`, as the library's layers have.
 *
 * ```ts
 * const step = compile((x: Tensor, y: Tensor) => optimizer.minimize(() => losses.mse(model.forward(x), y)));
 * for (const [x, y] of batches) console.log(step(x, y).item());
 * ```
 * @throws TraceError where f reads a value, or branches on one
 */
export function compile<A extends unknown[], T>(f: (...args: A) => T, options: CompileOptions = {}): Compiled<A, T> {
  check("compile", arguments, "f:function {name:string finite:boolean}");
  const { name = f.name || "f", finite = false } = options;
  const call = f as (...args: unknown[]) => T;
  /** The most recently used first. */
  const traces: Trace<T>[] = [];
  let evicted = 0;
  /** The trace made last, by the call at work. */
  let fresh: Trace<T> | undefined;
  const isFinite = (): boolean => finite || currentWatch() !== null;

  const add = (args: readonly unknown[]): Trace<T> => {
    const made = new Trace(name, call, args, isFinite());
    traces.unshift(made);
    fresh = made;
    if (traces.length > MAX_TRACES) {
      traces.pop()!.dispose();
      if (++evicted === MAX_TRACES) {
        const field = traces[1]!.changedField;
        console.warn(
          `compile: ${name} has been recorded ${evicted + MAX_TRACES} times, for ${
            field
              ? `fields of modules that keep changing, the last time ${field}. Keep counters and histories outside of modules, and numbers ` +
                "that ops use in a scalar(…)."
              : "arguments, modes or options that keep changing. Pass changing numbers as scalar(…) or tensors, and pad batches to one size."
          }`,
        );
      }
    }
    return made;
  };
  const find = (args: readonly unknown[]): Trace<T> => {
    const wanted = isFinite();
    if (traces.length && traces[0]!.finite === wanted && traces[0]!.fits(args)) return traces[0]!;
    const at = traces.findIndex((trace) => trace.finite === wanted && trace.fits(args));
    if (at < 0) return add(args);
    const found = traces.splice(at, 1)[0]!;
    traces.unshift(found);
    return found;
  };

  const asItIs = (args: readonly unknown[]): T => {
    const run = (): T => inline(name, call, args);
    return finite ? runFinite(`compile(${name})`, run) : run();
  };
  const invoke = (args: readonly unknown[]): T => {
    // Gradients that are to flow through f are for eager mode.
    if (isGradEnabled()) for (let i = 0; i < args.length; i++) if (wantsGradient(args[i])) return asItIs([...args]);
    fresh = undefined;
    let trace = find(args);
    if (!trace.isProven && trace !== fresh && !trace.program.isBroken && !trace.prove(call, name)) {
      traces.shift()!.dispose();
      trace = add(args);
    }
    trace.bind(args);
    trace.program.run();
    return trace.finish();
  };
  // A rest parameter would be an array made at every call: up to four arguments go through lists that are kept.
  const lists: unknown[][] = [[], [0], [0, 0], [0, 0, 0], [0, 0, 0, 0]];
  function run(a?: unknown, b?: unknown, c?: unknown, d?: unknown): T {
    // Inside another recording, f is simply part of it.
    if (currentRecorder()) return asItIs(Array.from(arguments));
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
        throw new Error(`compile(${name}): nothing is recorded yet. Call it first, or pass explain([…]) arguments.`);
      return new Explanation(name, trace);
    },
    profile(args: Arguments<A>, options: ProfileOptions = {}): Profile {
      check("profile", arguments, "args:array {calls:number}");
      return new Profile(name, find(args), args, options);
    },
    dispose(): void {
      for (const trace of traces.splice(0)) trace.dispose({ results: true });
    },
  };
  return Object.assign(run as ((...args: Arguments<A>) => T) & ((...args: A) => T), methods);
}

/** Whether an argument is a tensor that gradients are wanted for, or holds one. */
function wantsGradient(value: unknown, depth = 0): boolean {
  if (value instanceof Tensor) return value.requiresGrad;
  // What contains itself is refused by the signature.
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || depth > 100) return false;
  for (const key in value) if (wantsGradient((value as Record<string, unknown>)[key], depth + 1)) return true;
  return false;
}

/** f as it is, on tensors where there are typed arrays: their elements become constants of the recording. */
function inline<T>(name: string, f: (...args: unknown[]) => T, args: readonly unknown[]): T {
  const flat: (Tensor | TypedArray)[] = [];
  const { parts } = signatureOf(name, args, flat);
  return f(...substitute(parts, (i) => (ArrayBuffer.isView(flat[i]) ? tensor(flat[i]) : flat[i]!)));
}
