/**
 * compile(f): f's whole work, recorded once per kind of arguments, then run by one call into WebAssembly. The same kernels in
 * the same order as without it, so the same bits.
 */
import type { Storage } from "../memory.ts";
import { type DType, type Shape, show } from "../ops/value.ts";
import { engine } from "../runtime/engine.ts";
import { TraceError } from "../runtime/errors.ts";
import { currentRecorder, Tensor, tensorsIn, withRecorder } from "../tensor.ts";
import { mapTensors } from "../transforms.ts";
import { Program } from "./program.ts";
import { record } from "./recording.ts";

/** Recordings kept for one function; the least recently used goes. */
const MAX_TRACES = 8;

/** What a recorded function takes: tensors, numbers (part of what is recorded), and arrays and plain objects of them. */
export interface CompileOptions {
  /** How errors and warnings call the function. */
  readonly name?: string;
}

/** A compiled function: called as the function itself, and freed by dispose(). */
export type Compiled<A extends unknown[], T> = ((...args: A) => T) & {
  /** Frees the recordings and their memory, results included. */
  dispose(): void;
};

/** A recording that can be run again and again. */
interface Trace<T> {
  readonly key: string;
  readonly inputs: readonly Tensor[];
  readonly gradients: ReadonlyMap<Tensor, Tensor>;
  readonly program: Program;
  readonly guards: readonly (() => boolean)[];
  readonly result: T;
  /** Every tensor that was made for the trace. */
  readonly own: readonly Tensor[];
}

/** Shapes, types and plain values of the arguments: what a recording is good for. */
function keyOf(args: unknown): string {
  if (args instanceof Tensor) return `${args.dtype}${show(args.shape)}`;
  if (Array.isArray(args)) return `[${args.map(keyOf).join()}]`;
  if (typeof args === "object" && args !== null && Object.getPrototypeOf(args) === Object.prototype) {
    return `{${Object.entries(args)
      .map(([name, value]) => `${name}:${keyOf(value)}`)
      .join()}}`;
  }
  if (typeof args === "object" || typeof args === "function") {
    throw new TypeError(
      "compile: arguments are tensors, numbers, strings, booleans, and arrays and plain objects of them.",
    );
  }
  return `${typeof args}:${String(args)}`;
}

/** A tensor with memory, for a symbolic one. */
const materialize = (x: { shape: Shape; dtype: DType }): Tensor =>
  withRecorder(null, () => Tensor.allocate(x, "compile").keep());

function trace<A extends unknown[], T>(f: (...args: A) => T, args: A, key: string): Trace<T> {
  const inputs = [...tensorsIn(args)].map(materialize);
  const places = new Map<Storage, Tensor>();
  const waiting = inputs.values();
  const recorder = { record() {}, guard() {}, gradient() {} };
  // Inputs are symbolic while f is recorded, and have the memory of `inputs` when it runs.
  const symbolic = mapTensors(args, (x) => {
    const stand = withRecorder(recorder, () => Tensor.allocate(x, "compile's argument").keep());
    places.set(stand.storage("compile"), waiting.next().value!);
    return stand;
  });
  const recording = record(f, symbolic);
  const place = (x: Tensor): Tensor => {
    const storage = recording.storageOf.get(x)!;
    if (!storage.symbolic) return x;
    const known = places.get(storage);
    // A result may be an argument, or another result under a different shape.
    const made = known ? known.view(x.shape).keep() : materialize(x);
    if (!known) places.set(storage, made);
    return made;
  };
  const gradients = new Map(Array.from(recording.gradients, ([leaf, g]) => [leaf, place(g)]));
  const result = mapTensors(recording.result, place);
  const program = new Program(recording, places);
  for (const x of tensorsIn(symbolic)) x.dispose();
  for (const [x, storage] of recording.storageOf) if (storage.symbolic) x.dispose();
  return { key, inputs, gradients, program, guards: recording.guards, result, own: [...inputs, ...places.values()] };
}

/**
 * Records f once for each kind of arguments (shapes, types, numbers, train or eval), and from then on runs the recording by
 * one call. Tensors that f returns are overwritten by the next call: clone() one to keep it. Parameters, optimizers' state
 * and random numbers work as without it, bit for bit.
 *
 * ```ts
 * const step = compile((x: Tensor, y: Tensor) => optimizer.minimize(() => losses.mse(model.forward(x), y)));
 * for (const [x, y] of batches) console.log(step(x, y).item());
 * ```
 * @throws TraceError where f reads a value, or branches on one
 */
export function compile<A extends unknown[], T>(
  f: (...args: A) => T,
  { name = f.name || "f" }: CompileOptions = {},
): Compiled<A, T> {
  const traces: Trace<T>[] = [];
  let evicted = 0;

  const drop = (t: Trace<T>): void => {
    t.program.dispose();
    for (const x of t.own) x.dispose();
  };
  const find = (args: A): Trace<T> => {
    const key = keyOf(args);
    const at = traces.findIndex((t) => t.key === key && t.guards.every((check) => check()));
    const found = at < 0 ? trace(f, args, key) : traces.splice(at, 1)[0]!;
    traces.unshift(found);
    if (traces.length > MAX_TRACES) {
      drop(traces.pop()!);
      if (++evicted === MAX_TRACES) {
        console.warn(
          `compile: ${name} has been recorded ${evicted + MAX_TRACES} times, for arguments that keep changing. Pass numbers as tensors, and pad batches to one size.`,
        );
      }
    }
    return found;
  };

  const call = (...args: A): T => {
    // Inside another recording, f is simply part of it.
    if (currentRecorder()) return f(...args);
    const values = [...tensorsIn(args)];
    for (const x of values) x.storage(`compile(${name})`);
    const { inputs, program, gradients, result } = find(args);
    const { u8 } = engine().heap;
    inputs.forEach((input, i) => {
      const from = values[i]!.storage("compile");
      u8.copyWithin(input.storage("compile").address, from.address, from.address + from.bytes);
    });
    program.run();
    for (const [leaf, g] of gradients) {
      if (g.isDisposed)
        throw new TraceError(
          `compile(${name}): a gradient that it writes was disposed. Call zeroGrad() inside the function.`,
        );
      leaf.grad = g;
    }
    return result;
  };
  const dispose = (): void => {
    for (const t of traces.splice(0)) drop(t);
  };
  return Object.assign(call, { dispose });
}
