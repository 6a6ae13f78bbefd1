/**
 * Records a function for compile: runs it once on tensors without values, and lists the ops of its forward passes, backward
 * passes and updates.
 */
import { context, isGradEnabled, type Recorder, withRecorder } from "../core/context.ts";
import { isConstant } from "../core/eager.ts";
import { type Gradient, SparseGradient, tensorsOf } from "../core/gradient.ts";
import { currentNode } from "../core/graph.ts";
import { nextStorageId, type Storage } from "../core/memory.ts";
import { requireSynchronous, tensorsIn, tidy } from "../core/scope.ts";
import { callSite } from "../core/site.ts";
import { ModuleState, observe } from "../core/stateful.ts";
import type { Tensor } from "../core/tensor.ts";
import { verifyOne } from "../ops/definition/check.ts";
import type { AnyOp } from "../ops/definition/op.ts";
import { show } from "../ops/definition/value.ts";
import { TraceError } from "../runtime/errors.ts";
import { mutated, type Operand, type Step } from "./step.ts";

/** A tensor from outside that the function used, with what the recording assumes about it and where it was used. */
export interface Captured {
  readonly tensor: Tensor;
  readonly requiresGrad: boolean;
  readonly use: string;
}

/** A recorded function. */
export interface Recording<T> {
  readonly steps: readonly Step[];
  /** The function's return value. Its tensors may be symbolic. */
  readonly result: T;
  /** The storages of the tensors in the result and of gradients. */
  readonly storageOf: ReadonlyMap<Tensor, Storage>;
  /** Maps each leaf to the gradient that the function assigned to it. */
  readonly gradients: ReadonlyMap<Tensor, Gradient<Tensor>>;
  /** Leaves whose gradient the function cleared and did not assign again. */
  readonly cleared: readonly Tensor[];
  /** Results through which gradients would flow if the function were not compiled. */
  readonly differentiable: ReadonlySet<Tensor>;
  /** Whether autograd was on when the function was called. */
  readonly gradEnabled: boolean;
  /** Whether the function itself made a storage. */
  readonly isOwn: (storage: Storage) => boolean;
  /** The function's constants that were checked as indices. */
  readonly checkedConstants: ReadonlySet<Storage>;
  /** Whether the function requires finite values, because of `minimize(…, { finite: true })` or detectAnomaly. */
  readonly finite: boolean;
  /**
   * Whether the function used tensors from outside that can be replaced without compile noticing, because they belong
   * to no module, optimizer or EMA that it used.
   */
  readonly usesReplaceable: boolean;
  /** Tensors from outside that the function used. They must not be disposed before the recording is. */
  readonly captured: readonly Captured[];
  /** The first field of a module that has changed since the recording, for messages. */
  readonly changedField: () => string | undefined;
  /** The recording is valid as long as all of these return true. */
  readonly guards: readonly (() => boolean)[];
  /** Storages from outside that the function reads or writes. They are retained and pinned for the recording. */
  readonly retained: readonly Storage[];
}

/** Why a tensor made during a recording was disposed, for the error that a later use of the tensor throws. */
export const DISPOSED_BY_COMPILE =
  "compile, which gave it no value. Keep state in a tensor made outside, and write it with copyFrom(…)";

const isSymbolic = (g: Gradient<Tensor>): boolean => !g.isDisposed && tensorsOf(g)[0]!.storage("grad").symbolic;

const operand = (x: Tensor, op: string): Operand => ({
  storage: x.storage(op),
  shape: x.shape,
  dtype: x.dtype,
  size: x.size,
});

/** Records the ops of a function and its effects on gradients and state. */
class FunctionRecorder implements Recorder<Tensor> {
  readonly steps: Step[] = [];
  readonly guards: (() => boolean)[] = [];
  readonly retained = new Set<Storage>();
  readonly cleared = new Set<Tensor>();
  readonly checkedConstants = new Set<Storage>();
  /** Tensors whose owners, such as optimizers, never replace them. */
  readonly fixed = new Set<Tensor>();
  finite = false;
  private readonly outside = new Map<Tensor, Captured>();
  /** The leaves whose gradients `backward` has added to. */
  private readonly leaves = new Set<Tensor>();
  /** The arguments and the outputs of ops. */
  private readonly own: Set<Tensor>;
  private readonly outputs: Tensor[] = [];
  private readonly argumentStorages: ReadonlySet<Storage>;
  private readonly sites = new Map<Storage, string>();
  /** The leaves' gradients from before the recording, which are restored afterwards. */
  private readonly gradientsBefore = new Map<Tensor, Gradient<Tensor> | null>();
  private readonly firstId = nextStorageId();

  /** @param inputs the symbolic arguments */
  constructor(inputs: unknown) {
    this.own = tensorsIn(inputs);
    this.argumentStorages = new Set(Array.from(this.own, (x) => x.storage("compile")));
  }

  isOwn = (storage: Storage): boolean => storage.id >= this.firstId;

  record(op: AnyOp, inputs: readonly Tensor[], outputs: readonly Tensor[], attributes: unknown): void {
    const node = currentNode();
    const site = node?.site?.() || callSite();
    const step: Step = {
      op,
      inputs: inputs.map((x) => operand(x, op.name)),
      outputs: outputs.map((x) => operand(x, op.name)),
      attributes,
      site,
      ...(node && { gradientOf: node.rule.name }),
      recomputation: context.checkpoint?.recomputation ?? 0,
    };
    this.requireKnown(step);
    for (const storage of mutated(step)) this.requireWritable(op.name, storage, inputs);
    this.checkConstants(step, inputs);
    this.capture(step, inputs);
    for (const x of outputs) {
      this.own.add(x);
      this.outputs.push(x);
    }
    for (const { storage } of step.outputs) this.sites.set(storage, site);
    this.steps.push(step);
  }

  siteOf(storage: Storage): string {
    return this.sites.get(storage) ?? "";
  }

  guard(check: () => boolean): void {
    this.guards.push(check);
  }

  requireFinite(): void {
    this.finite = true;
  }

  addFixed(tensors: Iterable<Tensor>): void {
    for (const x of tensors) this.fixed.add(x);
  }

  gradient(leaf: Tensor, event: "cleared" | "added"): void {
    if (!this.gradientsBefore.has(leaf)) this.gradientsBefore.set(leaf, leaf.gradient);
    if (event === "cleared") {
      this.cleared.add(leaf);
      if (leaf.gradient && isSymbolic(leaf.gradient)) leaf.gradient.dispose();
      return;
    }
    if (!this.cleared.has(leaf) && leaf.gradient && !isSymbolic(leaf.gradient)) {
      throw new TraceError(
        `backward: a parameter ${show(leaf.shape)} had a gradient before the compiled function ran, so each call would add to it. ` +
          "Call optimizer.zeroGrad() inside the function, before backward (optimizer.minimize does).",
      );
    }
    this.leaves.add(leaf);
  }

  /** @throws TraceError if an input is a symbolic tensor of another recording */
  private requireKnown({ op, inputs }: Step): void {
    for (const { storage, shape } of inputs) {
      if (!storage.symbolic || this.isOwn(storage) || this.argumentStorages.has(storage)) continue;
      throw new TraceError(
        `${op.name}: a tensor ${show(shape)} was made while compile recorded another function, so it has no memory. ` +
          "Make tensors that outlive a function outside it, or return them.",
      );
    }
  }

  /** Whether the function made the values from JavaScript numbers. They are constants, so writes to them are rejected. */
  private isConstantOf(storage: Storage, owner: Tensor): boolean {
    return !storage.symbolic && this.isOwn(storage) && !owner.isKept;
  }

  /** @throws TraceError for a write that would be lost, or that later calls would see */
  private requireWritable(op: string, storage: Storage, inputs: readonly Tensor[]): void {
    if (this.argumentStorages.has(storage)) {
      throw new TraceError(
        `${op}: the compiled function would write to its own copy of an argument. Return the new value, or capture the tensor instead of passing it.`,
      );
    }
    const owner = inputs.find((x) => x.storage(op) === storage);
    if (this.isConstantOf(storage, owner!)) {
      throw new TraceError(
        `${op}: values that the compiled function makes from numbers are constants, and a write would change them for all calls. Write to a clone().`,
      );
    }
  }

  /** Checks constants that are used as indices. Their values never change, so the program does not have to check them. */
  private checkConstants({ op, inputs: operands, attributes }: Step, inputs: readonly Tensor[]): void {
    for (const check of op.checks?.(inputs, attributes) ?? []) {
      const { storage } = operands[check.input]!;
      const x = inputs[check.input]!;
      if (!this.isConstantOf(storage, x)) continue;
      verifyOne(check, x.live());
      this.checkedConstants.add(storage);
    }
  }

  /** Retains the inputs that are not symbolic. */
  private capture({ op, inputs: operands, site }: Step, inputs: readonly Tensor[]): void {
    inputs.forEach((x, i) => {
      const { storage } = operands[i]!;
      if (storage.symbolic) return;
      const use = site ? `${op.name} at ${site}` : op.name;
      if (!this.outside.has(x)) this.outside.set(x, { tensor: x, requiresGrad: x.requiresGrad, use });
      if (!this.retained.has(storage)) this.retained.add(storage.retainPinned());
    });
  }

  /** Restores the gradients from before the recording. */
  restoreGradients(): void {
    for (const [leaf, grad] of this.gradientsBefore) leaf.gradient = grad?.isDisposed ? null : grad;
  }

  /**
   * Restores versions. Recorded writes have not happened yet, so graphs that existed before the recording stay valid even if the call
   * fails.
   */
  restoreVersions(): void {
    for (const step of this.steps) for (const storage of mutated(step)) if (!storage.symbolic) storage.version--;
  }

  /** Undoes all effects of f after it has failed. */
  undo(): void {
    for (const leaf of this.leaves) if (leaf.gradient && isSymbolic(leaf.gradient)) leaf.gradient.dispose();
    this.restoreGradients();
    for (const storage of this.retained) storage.releasePinned();
  }

  /** The gradients that the function assigned. @throws TraceError if the next call would add to one of these gradients */
  takeGradients(): Map<Tensor, Gradient<Tensor>> {
    const gradients = new Map<Tensor, Gradient<Tensor>>();
    for (const leaf of this.leaves) if (leaf.gradient && !leaf.isDisposed) gradients.set(leaf, leaf.gradient);
    for (const leaf of gradients.keys()) {
      if (this.cleared.has(leaf)) continue;
      this.undo();
      throw new TraceError(
        `backward: the compiled function leaves a gradient on a parameter ${show(leaf.shape)}, so the next call would add to it. ` +
          "Call optimizer.zeroGrad() inside the function (optimizer.minimize does).",
      );
    }
    this.restoreGradients();
    return gradients;
  }

  /** Disposes all outputs of ops except those in `results`. */
  disposeOutputs(results: ReadonlySet<Tensor>): void {
    for (const x of this.outputs) if (!results.has(x) && !x.isKept) x.disposeBecause(DISPOSED_BY_COMPILE);
  }

  /**
   * The tensors from outside that are not disposed. Tensors that the function made, such as constants, are not
   * included, because only their memory is needed.
   */
  get captured(): Captured[] {
    return Array.from(this.outside.values()).filter(({ tensor }) => !tensor.isDisposed && !this.own.has(tensor));
  }

  /** Leaves from outside whose gradient the function cleared and did not assign again. */
  clearedOnly(gradients: ReadonlyMap<Tensor, Gradient<Tensor>>): Tensor[] {
    return Array.from(this.cleared).filter((leaf) => !gradients.has(leaf) && !this.own.has(leaf));
  }
}

/** @throws TraceError if the function has set a field of a module */
function requireUnchanged(state: ModuleState): void {
  const field = state.changed();
  if (!field) return;
  throw new TraceError(
    `compile: the function sets ${field}, which would happen only once, when it is recorded. ` +
      "Keep state in a tensor made outside and write it with copyFrom(…), or a number in scalar(…); return what you want to read.",
  );
}

/** Runs f once on `inputs`, which are symbolic. @throws TraceError if f needs a value */
export function record<A extends unknown[], T>(f: (...args: A) => T, inputs: A): Recording<T> {
  const recorder = new FunctionRecorder(inputs);
  const state = new ModuleState();
  const { result, gradients, storageOf, differentiable } = tidy(() => {
    let result: T;
    try {
      result = observe(state, () => withRecorder(recorder, () => f(...inputs)));
      requireSynchronous("compile", result);
      requireUnchanged(state);
    } catch (error) {
      recorder.undo();
      state.changed(true);
      throw error;
    }
    const gradients = recorder.takeGradients();
    const results = [...tensorsIn(result)];
    const kept = [...results, ...Array.from(gradients.values()).flatMap(tensorsOf)];
    const named = new Set(kept);
    recorder.disposeOutputs(named);
    for (const g of gradients.values()) if (g instanceof SparseGradient) g.freeTable(DISPOSED_BY_COMPILE, named);
    return {
      result,
      gradients,
      storageOf: new Map(kept.map((x) => [x, x.storage("compile")])),
      differentiable: new Set(results.filter((x) => x.hasLiveGraph)),
    };
  });
  recorder.restoreVersions();
  const { steps, guards, captured, checkedConstants, finite, isOwn, retained } = recorder;
  recorder.addFixed(state.tensors);
  // Compare storages: a detached or reshaped tensor shares the storage of the tensor that an optimizer or module holds.
  const fixed = new Set(Array.from(recorder.fixed, (x) => !x.isDisposed && x.storage("compile")));
  return {
    steps,
    result,
    storageOf,
    gradients,
    cleared: recorder.clearedOnly(gradients),
    differentiable,
    gradEnabled: isGradEnabled(),
    isOwn,
    checkedConstants,
    finite,
    usesReplaceable: captured.some(({ tensor }) => !fixed.has(tensor.storage("compile")) && !isConstant(tensor)),
    captured,
    changedField: () => state.changed(),
    guards: state.isEmpty ? guards : [...guards, state.guard()],
    retained: [...retained],
  };
}
