/** A function recorded for one kind of arguments: its inputs, its program, its results. */

import { mapTensors } from "../autograd/transforms.ts";
import { type GradientRule, Node } from "../core/graph.ts";
import { Storage } from "../core/memory.ts";
import { tensorsIn } from "../core/scope.ts";
import { Tensor, withRecorder } from "../core/tensor.ts";
import type { DType, Shape } from "../ops/definition/value.ts";
import { moves } from "../ops/shape/move.ts";
import { DisposedError, TraceError, TypeError } from "../runtime/errors.ts";
import { Program } from "./program.ts";
import { RECORDED, type Recording, record } from "./recording.ts";
import { bind, matches, pathsOf, type Signature, signatureOf, substitute } from "./signature.ts";
import type { Operand, Step } from "./step.ts";

type Kind = { readonly shape: Shape; readonly dtype: DType };

/** A tensor with memory of its own. */
const materialize = (x: Kind): Tensor => withRecorder(null, () => Tensor.allocate(x, "compile").keep());

/** Another handle of the same memory, that lives until it is disposed: what people are given. */
const alias = (x: Tensor, shape = x.shape): Tensor =>
  Tensor.wrap(x.storage("compile").retain(), { shape, dtype: x.dtype }, null, "compile").keep();

const silent = { record() {}, guard() {}, gradient() {}, siteOf: () => "" };
/** A tensor without memory, for an argument. */
const symbol = (x: Kind): Tensor => withRecorder(silent, () => Tensor.allocate(x, "compile's argument").keep());

/** Gradients do not flow through results of a compiled function: whoever asks for them is told. */
const opaque: GradientRule = {
  name: "compile",
  vjp() {
    throw new TraceError(
      "backward: gradients do not flow through the results of a compiled function. Differentiate inside of it, and return the gradients.",
    );
  },
};

/** Gradients that traces have put into leaves: a trace that finds another's there leaves it alive. */
const installed = new WeakSet<Tensor>();

/** f's recording on symbolic arguments. The caller disposes `symbols`. */
export function recordFor<A extends unknown[], T>(
  f: (...args: A) => T,
  signature: Signature,
): { recording: Recording<T>; symbols: Tensor[] } {
  const symbols = signature.inputs.map(symbol);
  const args = substitute(signature.parts, (i) => symbols[i]!) as A;
  try {
    return { recording: record(f, args), symbols };
  } catch (error) {
    for (const x of symbols) x.dispose();
    throw error;
  }
}

/** A result as recorded, the memory that it is computed into, and the tensor that people have. */
interface Result {
  readonly recorded: Tensor;
  readonly memory: Tensor;
  shown: Tensor;
}

/** Attributes as text; functions, which every call makes again, are left out. */
const textOf = (attributes: unknown): string =>
  JSON.stringify(attributes, (_, v: unknown) => (typeof v === "number" ? String(v) : v)) ?? "";

/** Whether two recordings do the same to the same tensors from outside. */
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
  /** Whether f is known to do the same again. */
  isProven: boolean;
  private readonly recording: Recording<T>;
  private readonly inputs: readonly Tensor[];
  private readonly leaves: readonly Tensor[];
  private readonly gradients: readonly Tensor[];
  /** The gradients as leaves hold them: whoever clears a leaf's gradient frees this handle, not the trace's memory. */
  private readonly shownGradients: Tensor[];
  private readonly cleared: readonly Tensor[];
  private readonly results: readonly Result[];
  private readonly template: T;
  private readonly differentiable: ReadonlySet<Tensor>;
  private result: T;
  /** Every tensor that was made for the trace. */
  private readonly own: Tensor[] = [];

  constructor(
    name: string,
    f: (...args: unknown[]) => T,
    args: readonly unknown[],
    /** Whether NaN and ±∞ may not reach results, gradients or state. */
    readonly finite = false,
    readonly signature: Signature = signatureOf(name, args),
  ) {
    const { recording, symbols } = recordFor(f, signature);
    const paths = pathsOf(signature);
    const argumentNames = new Map(symbols.map((x, i) => [x.storage("compile"), paths[i]!]));
    const { storageOf, isOwn } = recording;
    const make = (x: Kind): Tensor => {
      const made = materialize(x);
      this.own.push(made);
      return made;
    };
    this.recording = recording;
    this.isProven = !recording.isLoose;
    let handedOver = false;
    /** What people would have been given, had it not failed. */
    const shown: Tensor[] = [];
    try {
      requireMappable(name, recording.result);
      this.inputs = signature.inputs.map(make);
      const places = new Map<Storage, Tensor>();
      symbols.forEach((x, i) => places.set(x.storage("compile"), this.inputs[i]!));
      const taken = new Set(places.keys());
      const copies: Step[] = [];
      /** Memory for a result. Arguments and constants are copied there: the next call, or its caller, may overwrite it. */
      const place = (x: Tensor): Tensor => {
        const storage = storageOf.get(x)!;
        if (taken.has(storage) || (!storage.symbolic && isOwn(storage) && !x.isKept)) {
          const copy = make(x);
          const to: Operand = {
            storage: new Storage(storage.bytes, true),
            shape: x.shape,
            dtype: x.dtype,
            size: x.size,
          };
          places.set(to.storage, copy);
          const inputs = [to, { ...to, storage }];
          copies.push({ op: moves.assign, inputs, outputs: [], attributes: null, site: "" });
          return copy;
        }
        const known = places.get(storage);
        if (known) return known;
        const made = make(x);
        places.set(storage, made);
        return made;
      };
      this.leaves = [...recording.gradients.keys()];
      this.gradients = [...recording.gradients.values()].map(place);
      this.shownGradients = this.gradients.map((x) => {
        shown.push(alias(x));
        return shown.at(-1)!;
      });
      this.cleared = recording.cleared;
      this.differentiable = recording.differentiable;
      this.template = recording.result;
      // What the function found outside and returns as it is, stays what it is.
      const made = [...tensorsIn(recording.result)].filter((x) => {
        const storage = storageOf.get(x)!;
        return storage.symbolic || (isOwn(storage) && !x.isKept);
      });
      this.results = made.map((recorded) => {
        const memory = place(recorded);
        shown.push(this.show(recorded, memory));
        return { recorded, memory, shown: shown.at(-1)! };
      });
      this.result = this.assemble();
      const real = new Map(Array.from(places, ([storage, x]) => [storage, x.storage("compile")]));
      // From here on the program holds what the recording retained.
      handedOver = true;
      this.program = new Program(
        { ...recording, steps: [...recording.steps, ...copies] },
        {
          name,
          real,
          gradients: new Set(Array.from(recording.gradients.values(), (x) => storageOf.get(x)!)),
          nameOf: (storage) => argumentNames.get(storage),
          finite: finite || recording.finite,
        },
      );
    } catch (error) {
      for (const x of [...this.own, ...shown]) x.dispose();
      if (!handedOver) for (const storage of recording.retained) storage.letGo();
      throw error;
    } finally {
      for (const x of symbols) x.dispose();
      for (const [x, storage] of storageOf) if (storage.symbolic) x.disposeBecause(RECORDED);
    }
  }

  private show(recorded: Tensor, memory: Tensor): Tensor {
    const shown = alias(memory, recorded.shape);
    if (!this.differentiable.has(recorded)) return shown;
    // The memory, which nobody sees, stands for what gradients would flow to.
    memory.requiresGrad = true;
    return shown.attach(new Node<Tensor>(opaque, null, [memory], [memory], [shown]));
  }

  private assemble(): T {
    const shown = new Map(this.results.map((one) => [one.recorded, one.shown]));
    return mapTensors(this.template, (x) => shown.get(x) ?? x);
  }

  /** Whether the recording stands for these arguments. @throws DisposedError */
  fits(args: readonly unknown[]): boolean {
    const { parts } = this.signature;
    if (parts.length !== args.length) return false;
    for (let i = 0; i < parts.length; i++) if (!matches(parts[i]!, args[i])) return false;
    return this.program.isValid;
  }

  /**
   * Runs f on symbolic tensors once more, where the recording depends on tensors that f may have replaced by itself, such as a state
   * in a variable: whether it does the same. @throws TraceError where f uses what the recording has left there; every later call then
   * compares again, and throws until that tensor is replaced
   */
  prove(f: (...args: unknown[]) => T, name: string): boolean {
    let again: ReturnType<typeof recordFor<unknown[], T>>;
    try {
      again = recordFor(f, this.signature);
    } catch (error) {
      if (!(error instanceof DisposedError && error.message.includes(RECORDED))) throw error;
      throw new TraceError(
        `compile(${name}): the function uses a tensor that it made in an earlier call. A call that is recorded leaves no values in ` +
          "variables: keep state in a tensor made outside, and write it with copyFrom(…).",
      );
    }
    const { recording, symbols } = again;
    const same = isSame(this.recording, recording);
    for (const storage of recording.retained) storage.letGo();
    for (const [x, storage] of recording.storageOf) if (storage.symbolic) x.disposeBecause(RECORDED);
    for (const x of symbols) x.dispose();
    this.isProven = same;
    return same;
  }

  /** The first field of a module that has changed since it was recorded. */
  get changedField(): string | undefined {
    return this.recording.changedField();
  }

  /** Copies arguments in. */
  bind(args: readonly unknown[]): void {
    const { parts } = this.signature;
    for (let i = 0; i < parts.length; i++) bind(parts[i]!, args[i], this.inputs);
  }

  /** What a run leaves behind, where people look for it: its results, and gradients in their leaves. */
  finish(): T {
    const { leaves, gradients, shownGradients, cleared, results } = this;
    for (let i = 0; i < leaves.length; i++) {
      const leaf = leaves[i]!;
      if (leaf.grad === shownGradients[i] && !leaf.grad.isDisposed) continue;
      // What eager mode left there goes, as a new gradient would have it.
      if (leaf.grad && !installed.has(leaf.grad)) leaf.grad.dispose();
      if (shownGradients[i]!.isDisposed) shownGradients[i] = alias(gradients[i]!);
      leaf.grad = shownGradients[i]!;
      installed.add(leaf.grad);
    }
    for (let i = 0; i < cleared.length; i++) {
      const leaf = cleared[i]!;
      if (leaf.grad && installed.has(leaf.grad)) leaf.grad = null;
      else if (leaf.grad) leaf.clearGrad();
    }
    let gone = false;
    for (let i = 0; i < results.length; i++) {
      if (!results[i]!.shown.isDisposed) continue;
      results[i]!.shown = this.show(results[i]!.recorded, results[i]!.memory);
      gone = true;
    }
    if (gone) this.result = this.assemble();
    return this.result;
  }

  /** Gives back the recording's memory; results that people still hold keep theirs, unless they are to go too. */
  dispose({ results = false } = {}): void {
    this.program.dispose();
    for (const x of this.own) x.dispose();
    this.shownGradients.forEach((x, i) => {
      if (this.leaves[i]!.grad !== x) x.dispose();
    });
    if (results) for (const { shown } of this.results) shown.dispose();
  }
}

/** Refuses results that tensors cannot be replaced in. @throws TypeError */
function requireMappable(name: string, result: unknown): void {
  const found = new Set<Tensor>();
  mapTensors(result, (x) => void found.add(x));
  if (found.size !== tensorsIn(result).size)
    throw new TypeError(
      `compile(${name}): results are tensors, and arrays and plain objects of them, not Maps or classes.`,
    );
}
