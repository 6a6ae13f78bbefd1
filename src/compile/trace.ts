/** A function recorded for one signature: its inputs, its program and its results. */
import { mapTensors } from "../autograd/transforms.ts";
import { type Gradient as LeafGradient, mapGradient, tensorsOf } from "../core/gradient.ts";
import type { Storage } from "../core/memory.ts";
import { tensorsIn } from "../core/scope.ts";
import type { Tensor } from "../core/tensor.ts";
import { DisposedError, TraceError, TypeError } from "../runtime/errors.ts";
import { Program } from "./program.ts";
import { DISPOSED_BY_COMPILE, type Recording, record } from "./recording.ts";
import { bind, matches, pathsOf, type Signature, signatureOf, substitute } from "./signature.ts";
import type { Operand } from "./step.ts";
import { barrierHandleOf, handleOf, symbolFor, TraceMemory } from "./traceMemory.ts";

/** Gradients that traces have assigned to leaves. A trace does not dispose gradients that another trace has assigned. */
const assigned = new WeakSet<LeafGradient<Tensor>>();

/** Records f on symbolic arguments, which the caller must dispose. */
export function recordFor<A extends unknown[], T>(
  f: (...args: A) => T,
  signature: Signature,
): { recording: Recording<T>; symbols: Tensor[] } {
  const symbols = signature.inputs.map(symbolFor);
  const args = substitute(signature.parts, (i) => symbols[i]!) as A;
  try {
    return { recording: record(f, args), symbols };
  } catch (error) {
    for (const x of symbols) x.dispose();
    throw error;
  }
}

/** Disposes the symbolic tensors of a recording. */
function disposeSymbols({ storageOf }: Recording<unknown>, symbols: readonly Tensor[]): void {
  for (const [x, storage] of storageOf) if (storage.symbolic) x.disposeBecause(DISPOSED_BY_COMPILE);
  for (const x of symbols) x.dispose();
}

/** A result: the recorded tensor, the memory it is computed into, and the tensor that the caller gets. */
interface Result {
  readonly recorded: Tensor;
  readonly memory: Tensor;
  handle: Tensor;
}

/**
 * A gradient: its leaf, its memory, and the gradient that the leaf gets. Clearing the leaf's gradient frees that gradient's tensors, but not
 * the memory.
 */
interface Gradient {
  readonly leaf: Tensor;
  readonly memory: LeafGradient<Tensor>;
  handle: LeafGradient<Tensor>;
}

/** Attributes as text. Functions are omitted, because every call recreates them. */
const textOf = (attributes: unknown): string =>
  JSON.stringify(attributes, (_, v: unknown) => (typeof v === "number" ? String(v) : v)) ?? "";

/** Whether two recordings run the same ops on the same tensors from outside. */
function isSame(a: Recording<unknown>, b: Recording<unknown>): boolean {
  const sameStorage = (x: Operand, y: Operand): boolean =>
    x.storage === y.storage ||
    ((x.storage.symbolic || a.isOwn(x.storage)) && (y.storage.symbolic || b.isOwn(y.storage)));
  return (
    a.steps.length === b.steps.length &&
    a.steps.every((step, i) => {
      const other = b.steps[i]!;
      return (
        step.op === other.op &&
        step.inputs.length === other.inputs.length &&
        step.inputs.every((x, k) => sameStorage(x, other.inputs[k]!)) &&
        textOf(step.attributes) === textOf(other.attributes)
      );
    })
  );
}

export class Trace<T> {
  readonly program: Program;
  /** Whether f is known to do the same thing on every call. */
  isVerified: boolean;
  private readonly recording: Recording<T>;
  private readonly memory: TraceMemory;
  private readonly inputs: readonly Tensor[];
  private readonly gradients: readonly Gradient[];
  private readonly results: readonly Result[];
  private result: T;

  constructor(
    name: string,
    f: (...args: unknown[]) => T,
    args: readonly unknown[],
    /** Whether a call fails if NaN or ±∞ reaches results, gradients or state. */
    readonly finite = false,
    readonly signature: Signature = signatureOf(name, args),
  ) {
    const { recording, symbols } = recordFor(f, signature);
    this.recording = recording;
    this.isVerified = !recording.usesReplaceable;
    const argumentNames = this.nameArguments(symbols);
    const handles: Tensor[] = [];
    const addHandle = (handle: Tensor): Tensor => {
      handles.push(handle);
      return handle;
    };
    const memory = new TraceMemory(recording);
    this.memory = memory;
    let isProgramOwner = false;
    try {
      requireMappable(name, recording.result);
      this.inputs = memory.addInputs(symbols);
      this.gradients = Array.from(recording.gradients, ([leaf, gradient]) => {
        const place = mapGradient(gradient, (x) => memory.placeFor(x));
        return { leaf, memory: place, handle: mapGradient(place, (x) => addHandle(handleOf(x))) };
      });
      const made = [...tensorsIn(recording.result)].filter((x) => memory.isMade(x));
      this.results = made.map((recorded) => {
        const place = memory.placeFor(recorded);
        return { recorded, memory: place, handle: addHandle(this.resultHandle(recorded, place)) };
      });
      this.result = this.assemble();
      const { real } = memory;
      // From here on, the program releases the storages that the recording retained.
      isProgramOwner = true;
      this.program = new Program(
        { ...recording, steps: [...recording.steps, ...memory.copies] },
        {
          name,
          real,
          gradients: new Set(
            Array.from(recording.gradients.values()).flatMap((g) =>
              tensorsOf(g).map((x) => recording.storageOf.get(x)!),
            ),
          ),
          nameOf: (storage) => argumentNames.get(storage),
          finite: finite || recording.finite,
        },
      );
    } catch (error) {
      memory.dispose();
      for (const x of handles) x.dispose();
      if (!isProgramOwner) for (const storage of recording.retained) storage.releasePinned();
      throw error;
    } finally {
      disposeSymbols(recording, symbols);
    }
  }

  /** The names of arguments in messages, keyed by symbolic storage. */
  private nameArguments(symbols: readonly Tensor[]): Map<Storage, string> {
    const paths = pathsOf(this.signature);
    return new Map(symbols.map((x, i) => [x.storage("compile"), paths[i]!]));
  }

  private resultHandle(recorded: Tensor, memory: Tensor): Tensor {
    const { differentiable } = this.recording;
    return differentiable.has(recorded) ? barrierHandleOf(memory, recorded.shape) : handleOf(memory, recorded.shape);
  }

  private assemble(): T {
    const handles = new Map(this.results.map(({ recorded, handle }) => [recorded, handle]));
    return mapTensors(this.recording.result, (x) => handles.get(x) ?? x);
  }

  /** Whether the trace is valid for these arguments. @throws DisposedError */
  fits(args: readonly unknown[]): boolean {
    const { parts } = this.signature;
    if (parts.length !== args.length) return false;
    for (let i = 0; i < parts.length; i++) if (!matches(parts[i]!, args[i])) return false;
    return this.program.isValid;
  }

  /**
   * Records f again and compares the two recordings. This is necessary if the recording depends on tensors that f itself may
   * replace, such as state in a variable.
   * @throws TraceError if f uses a tensor that the first recording left in a variable; later calls compare again
   */
  verify(f: (...args: unknown[]) => T, name: string): boolean {
    let again: ReturnType<typeof recordFor<unknown[], T>>;
    try {
      again = recordFor(f, this.signature);
    } catch (error) {
      if (!(error instanceof DisposedError && error.message.includes(DISPOSED_BY_COMPILE))) throw error;
      throw new TraceError(
        `compile(${name}): the function uses a tensor that it made in an earlier call. Recorded calls do not set variables. ` +
          "Keep state in a tensor made outside, and write it with copyFrom(…).",
      );
    }
    const { recording, symbols } = again;
    this.isVerified = isSame(this.recording, recording);
    for (const storage of recording.retained) storage.releasePinned();
    disposeSymbols(recording, symbols);
    return this.isVerified;
  }

  /** The first field of a module that has changed since the recording. */
  get changedField(): string | undefined {
    return this.recording.changedField();
  }

  /** Copies arguments to the inputs. */
  bind(args: readonly unknown[]): void {
    const { parts } = this.signature;
    for (let i = 0; i < parts.length; i++) bind(parts[i]!, args[i], this.inputs);
  }

  /** Assigns gradients to their leaves after a run, and returns the results. */
  finish(): T {
    const { gradients, results } = this;
    const { cleared } = this.recording;
    for (let i = 0; i < gradients.length; i++) {
      const gradient = gradients[i]!;
      const { leaf, memory } = gradient;
      if (leaf.gradient === gradient.handle && !gradient.handle.isDisposed) continue;
      // Free a gradient from eager mode, because it is about to be replaced.
      if (leaf.gradient && !assigned.has(leaf.gradient)) leaf.gradient.dispose();
      if (gradient.handle.isDisposed) gradient.handle = mapGradient(memory, (x) => handleOf(x));
      leaf.gradient = gradient.handle;
      assigned.add(gradient.handle);
    }
    for (let i = 0; i < cleared.length; i++) {
      const leaf = cleared[i]!;
      if (leaf.gradient && assigned.has(leaf.gradient)) leaf.gradient = null;
      else if (leaf.gradient) leaf.clearGrad();
    }
    let isStale = false;
    for (let i = 0; i < results.length; i++) {
      const result = results[i]!;
      if (!result.handle.isDisposed) continue;
      result.handle = this.resultHandle(result.recorded, result.memory);
      isStale = true;
    }
    if (isStale) this.result = this.assemble();
    return this.result;
  }

  /**
   * Frees the program and its memory. Results and gradients that are still in use keep their memory.
   * @param results whether to dispose the results too
   */
  dispose({ results = false } = {}): void {
    this.program.dispose();
    this.memory.dispose();
    for (const { leaf, handle } of this.gradients) if (leaf.gradient !== handle) handle.dispose();
    if (results) for (const { handle } of this.results) handle.dispose();
  }
}

/** @throws TypeError if a result is an object whose tensors cannot be replaced, such as a Map */
function requireMappable(name: string, result: unknown): void {
  const found = new Set<Tensor>();
  mapTensors(result, (x) => void found.add(x));
  if (found.size !== tensorsIn(result).size)
    throw new TypeError(
      `compile(${name}): results must be tensors, or arrays and plain objects of them, not Maps or classes.`,
    );
}
