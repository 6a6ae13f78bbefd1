/** A function recorded for one kind of arguments: its inputs, its program, its results. */
import type { Storage } from "../memory.ts";
import type { DType, Shape } from "../ops/value.ts";
import { Tensor, withRecorder } from "../tensor.ts";
import { mapTensors } from "../transforms.ts";
import { Program } from "./program.ts";
import { type Recording, record } from "./recording.ts";
import { bind, matches, type Signature, signatureOf, substitute } from "./signature.ts";

/** A tensor with memory, for a symbolic one. */
const materialize = (x: { shape: Shape; dtype: DType }): Tensor =>
  withRecorder(null, () => Tensor.allocate(x, "compile").keep());

/** Another handle of the same memory, that lives until it is disposed. */
const alias = (x: Tensor): Tensor => x.detach().keep();

const silent = { record() {}, guard() {}, gradient() {}, siteOf: () => "" };
/** A tensor without memory, for an argument. */
const symbol = (x: { shape: Shape; dtype: DType }): Tensor =>
  withRecorder(silent, () => Tensor.allocate(x, "compile's argument").keep());

/** f's recording on symbolic arguments; `arguments` are their storages. The caller disposes `symbols`. */
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

export class Trace<T> {
  readonly result: T;
  readonly program: Program;
  private readonly inputs: readonly Tensor[];
  private readonly leaves: readonly Tensor[];
  private readonly gradients: readonly Tensor[];
  /** The gradients as leaves hold them: whoever clears a leaf's gradient frees this handle, not the trace's memory. */
  private readonly shown: Tensor[];
  /** Every tensor that was made for the trace. */
  private readonly own: readonly Tensor[];

  constructor(
    name: string,
    f: (...args: unknown[]) => T,
    args: readonly unknown[],
    readonly signature: Signature = signatureOf(name, args),
  ) {
    const { recording, symbols } = recordFor(f, signature);
    this.inputs = signature.inputs.map(materialize);
    const places = new Map<Storage, Tensor>(symbols.map((x, i) => [x.storage("compile"), this.inputs[i]!]));
    const place = (x: Tensor): Tensor => {
      const storage = recording.storageOf.get(x)!;
      if (!storage.symbolic) return x;
      const known = places.get(storage);
      // A result may be an argument, or another result under a different shape.
      const made = known ? known.view(x.shape).keep() : materialize(x);
      if (!known) places.set(storage, made);
      else views.push(made);
      return made;
    };
    const views: Tensor[] = [];
    this.leaves = [...recording.gradients.keys()];
    this.gradients = [...recording.gradients.values()].map(place);
    this.shown = this.gradients.map(alias);
    this.result = mapTensors(recording.result, place);
    const real = new Map(Array.from(places, ([storage, x]) => [storage, x.storage("compile")]));
    this.program = new Program(recording, real);
    for (const x of symbols) x.dispose();
    for (const [x, storage] of recording.storageOf) if (storage.symbolic) x.dispose();
    this.own = [...new Set([...this.inputs, ...places.values(), ...views])];
  }

  /** Whether the recording stands for these arguments. @throws DisposedError */
  fits(args: readonly unknown[]): boolean {
    const { parts } = this.signature;
    if (parts.length !== args.length) return false;
    for (let i = 0; i < parts.length; i++) if (!matches(parts[i]!, args[i])) return false;
    return this.program.isValid;
  }

  /** Copies arguments in. */
  bind(args: readonly unknown[]): void {
    const { parts } = this.signature;
    for (let i = 0; i < parts.length; i++) bind(parts[i]!, args[i], this.inputs);
  }

  /** What a run leaves behind, where people look for it: its results, and gradients in their leaves. */
  finish(): T {
    const { leaves, gradients, shown } = this;
    for (let i = 0; i < leaves.length; i++) {
      const leaf = leaves[i]!;
      if (shown[i]!.isDisposed) shown[i] = alias(gradients[i]!);
      // What eager mode or another recording left there goes, as a new gradient would have it.
      if (leaf.grad !== shown[i]) leaf.grad?.dispose();
      leaf.grad = shown[i]!;
    }
    return this.result;
  }

  dispose(): void {
    this.program.dispose();
    for (const x of this.own) x.dispose();
  }
}
