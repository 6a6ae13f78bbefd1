/** Running a function once on tensors without values, and taking down every op: forward, backward and update. */
import type { Storage } from "../memory.ts";
import { show } from "../ops/value.ts";
import { TraceError } from "../runtime/errors.ts";
import { type Recorder, type Tensor, tensorsIn, tidy, withRecorder } from "../tensor.ts";
import { callSite } from "./site.ts";
import type { Operand, Step } from "./step.ts";

/** A tensor from outside that a function used: what must still hold of it, and where it was used. */
export interface Captured {
  readonly tensor: Tensor;
  readonly requiresGrad: boolean;
  readonly use: string;
}

/** What a function did. */
export interface Recording<T> {
  readonly steps: readonly Step[];
  /** What it returned. Its tensors may be symbolic. */
  readonly result: T;
  readonly storageOf: ReadonlyMap<Tensor, Storage>;
  /** Leaves whose gradients it left behind, with them. */
  readonly gradients: ReadonlyMap<Tensor, Tensor>;
  /** Tensors from outside that it used: they must live as long as the recording is run. */
  readonly captured: readonly Captured[];
  /** What must still hold for the recording to stand for the function. */
  readonly guards: readonly (() => boolean)[];
  /** Memory that it reads or writes besides its own, retained for it. */
  readonly retained: readonly Storage[];
}

/** Runs f once on `inputs`, which are symbolic. @throws TraceError where f needs a value */
export function record<A extends unknown[], T>(f: (...args: A) => T, inputs: A): Recording<T> {
  const steps: Step[] = [];
  const guards: (() => boolean)[] = [];
  const retained = new Set<Storage>();
  const outside = new Map<Tensor, Captured>();
  const cleared = new Set<Tensor>();
  const leaves = new Set<Tensor>();
  const own = tensorsIn(inputs);
  const sites = new Map<Storage, string>();

  const recorder: Recorder = {
    record(op, used, outputs, attributes) {
      const site = callSite();
      const operand = (x: Tensor): Operand => ({
        storage: x.storage(op.name),
        shape: x.shape,
        dtype: x.dtype,
        size: x.size,
      });
      const step: Step = { op, inputs: used.map(operand), outputs: outputs.map(operand), attributes, site };
      used.forEach((x, i) => {
        const { storage } = step.inputs[i]!;
        if (storage.symbolic) return;
        const use = site ? `${op.name} at ${site}` : op.name;
        if (!outside.has(x)) outside.set(x, { tensor: x, requiresGrad: x.requiresGrad, use });
        if (!retained.has(storage)) retained.add(storage.retain());
      });
      for (const x of outputs) own.add(x);
      for (const { storage } of step.outputs) sites.set(storage, site);
      steps.push(step);
    },
    siteOf: (storage) => sites.get(storage) ?? "",
    guard: (check) => void guards.push(check),
    gradient(leaf, event) {
      if (event === "cleared") cleared.add(leaf);
      else if (!cleared.has(leaf)) {
        // The next call would have to add to what this one leaves.
        if (leaf.grad && !leaf.grad.storage("backward").symbolic) {
          throw new TraceError(
            `backward: a parameter ${show(leaf.shape)} has a gradient from before compile's function, to which each call would add. ` +
              "Call optimizer.zeroGrad() inside the function, before backward (optimizer.minimize does).",
          );
        }
        leaves.add(leaf);
      }
      if (event === "added") leaves.add(leaf);
    },
  };

  /** f failed: nothing of the recording may be left behind. */
  const undo = (): void => {
    for (const leaf of leaves) if (leaf.grad?.storage("compile").symbolic) leaf.clearGrad();
    for (const storage of retained) storage.release();
  };
  const { result, gradients, storageOf } = tidy(() => {
    let value: T;
    try {
      value = withRecorder(recorder, () => f(...inputs));
    } catch (error) {
      undo();
      throw error;
    }
    const left = new Map(
      Array.from(leaves).flatMap((leaf) => (leaf.grad && !leaf.isDisposed ? [[leaf, leaf.grad] as const] : [])),
    );
    for (const leaf of left.keys()) {
      if (cleared.has(leaf)) continue;
      undo();
      throw new TraceError(
        `backward: compile's function leaves a gradient for a parameter ${show(leaf.shape)}, to which the next call would add. ` +
          "Call optimizer.zeroGrad() inside the function (optimizer.minimize does).",
      );
    }
    const kept = [...tensorsIn(value), ...left.values()];
    return { result: value, gradients: left, storageOf: new Map(kept.map((x) => [x, x.storage("compile")])) };
  });
  // What f made for itself on the way, constants among it, is held by its memory alone.
  const captured = Array.from(outside.values()).filter(({ tensor }) => !tensor.isDisposed && !own.has(tensor));
  return { steps, result, storageOf, gradients, captured, guards, retained: [...retained] };
}
