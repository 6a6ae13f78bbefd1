/** Running a function once on tensors without values, and taking down every op: forward, backward and update. */
import { isConstant } from "../core/eager.ts";
import { currentNode } from "../core/graph.ts";
import { nextStorageId, type Storage } from "../core/memory.ts";
import { requireSynchronous, tensorsIn, tidy } from "../core/scope.ts";
import { callSite } from "../core/site.ts";
import { observe, Properties } from "../core/stateful.ts";
import { isGradEnabled, type Recorder, type Tensor, withRecorder } from "../core/tensor.ts";
import { verifyOne } from "../ops/definition/check.ts";
import { show } from "../ops/definition/value.ts";
import { TraceError } from "../runtime/errors.ts";
import { mutated, type Operand, type Step } from "./step.ts";

/** A tensor from outside that a function used: what must still hold of it, and where it was used. */
export interface Captured {
  readonly tensor: Tensor;
  readonly requiresGrad: boolean;
  readonly use: string;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** What a function did. */
export interface Recording<T> {
  readonly steps: readonly Step[];
  /** What it returned. Its tensors may be symbolic. */
  readonly result: T;
  readonly storageOf: ReadonlyMap<Tensor, Storage>;
  /** Leaves whose gradients it left behind, with them. */
  readonly gradients: ReadonlyMap<Tensor, Tensor>;
  /** Leaves whose gradients it forgot. */
  readonly cleared: readonly Tensor[];
  /** Results through which gradients would flow on, if the function were not compiled. */
  readonly differentiable: ReadonlySet<Tensor>;
  /** Whether gradients were recorded around it. */
  readonly gradEnabled: boolean;
  /** Whether memory was made by the function, not found by it: constants. */
  readonly isOwn: (storage: Storage) => boolean;
  /** Constants of the function whose values are known to be good indices. */
  readonly fixed: ReadonlySet<Storage>;
  /** Whether it asked for finite values, by `minimize(…, { finite: true })` or detectAnomaly. */
  readonly finite: boolean;
  /** Whether it used tensors from outside that may be replaced unseen: no module that it used, no optimizer and no EMA holds them. */
  readonly isLoose: boolean;
  /** Tensors from outside that it used: they must live as long as the recording is run. */
  readonly captured: readonly Captured[];
  /** The first field of a module that has changed since, for messages. */
  readonly changedField: () => string | undefined;
  /** What must still hold for the recording to stand for the function. */
  readonly guards: readonly (() => boolean)[];
  /** Memory that it reads or writes besides its own, retained for it. */
  readonly retained: readonly Storage[];
}

/** Why a tensor that a recording made is gone: part of the error that a later use of it throws. */
export const RECORDED =
  "compile, which gave it no value. Keep state in a tensor made outside, and write it with copyFrom(…)";

/** Refuses state that the function would set in its recording alone. @throws TraceError */
function requireUnchanged(properties: Properties): void {
  const changed = properties.changed();
  if (!changed) return;
  throw new TraceError(
    `compile: the function sets ${changed}, which would happen when it is recorded and never again. ` +
      "Keep state in a tensor made outside and write it with copyFrom(…), a number in scalar(…); return what you want to read.",
  );
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
  const made: Tensor[] = [];
  const args = new Set(Array.from(own, (x) => x.storage("compile")));
  const sites = new Map<Storage, string>();
  /** Gradients as they were: recording changes nothing. */
  const before = new Map<Tensor, Tensor | null>();
  const first = nextStorageId();
  const isOwn = (storage: Storage): boolean => storage.id >= first;

  /** Whether its values were given inside the function, and stay as they are: writes to it are refused. */
  const isFixed = (storage: Storage, owner: Tensor): boolean => !storage.symbolic && isOwn(storage) && !owner.isKept;
  /** Such memory that was read as indices, and looked at. */
  const fixed = new Set<Storage>();
  /** Tensors of optimizers and the like, which never replace them. */
  const held = new Set<Tensor>();
  let finite = false;

  const recorder: Recorder = {
    record(op, used, outputs, attributes) {
      const node = currentNode();
      const site = node?.site?.() || callSite();
      const operand = (x: Tensor): Operand => ({
        storage: x.storage(op.name),
        shape: x.shape,
        dtype: x.dtype,
        size: x.size,
      });
      const step: Mutable<Step> = { op, inputs: used.map(operand), outputs: outputs.map(operand), attributes, site };
      if (node) step.gradientOf = node.rule.name;
      for (const { storage, shape } of step.inputs) {
        if (!storage.symbolic || isOwn(storage) || args.has(storage)) continue;
        throw new TraceError(
          `${op.name}: a tensor ${show(shape)} was made while another compiled function was recorded, and has no memory. ` +
            "Make what is to outlive a function outside of it, or return it.",
        );
      }
      for (const storage of mutated(step)) requireWritable(op.name, storage, used);
      for (const check of op.checks?.(used, attributes) ?? []) {
        const { storage } = step.inputs[check.input]!;
        if (!isFixed(storage, used[check.input]!)) continue;
        verifyOne(check, used[check.input]!.live());
        fixed.add(storage);
      }
      used.forEach((x, i) => {
        const { storage } = step.inputs[i]!;
        if (storage.symbolic) return;
        const use = site ? `${op.name} at ${site}` : op.name;
        if (!outside.has(x)) outside.set(x, { tensor: x, requiresGrad: x.requiresGrad, use });
        if (!retained.has(storage)) retained.add(storage.hold());
      });
      for (const x of outputs) {
        own.add(x);
        made.push(x);
      }
      for (const { storage } of step.outputs) sites.set(storage, site);
      steps.push(step);
    },
    finite: () => void (finite = true),
    hold(tensors) {
      for (const x of tensors) held.add(x);
    },
    siteOf: (storage) => sites.get(storage) ?? "",
    guard: (check) => void guards.push(check),
    gradient(leaf, event) {
      if (!before.has(leaf)) before.set(leaf, leaf.grad);
      if (event === "cleared") {
        cleared.add(leaf);
        if (leaf.grad?.storage("clearGrad").symbolic) leaf.grad.dispose();
      } else if (!cleared.has(leaf)) {
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

  /** Refuses writes that would be lost, or would be seen by the next call. @throws TraceError */
  const requireWritable = (op: string, storage: Storage, used: readonly Tensor[]): void => {
    if (args.has(storage)) {
      throw new TraceError(
        `${op}: compile's function would write to its own copy of an argument. Return the new value instead, or use the tensor without passing it.`,
      );
    }
    const owner = used.find((x) => x.storage(op) === storage);
    if (isFixed(storage, owner!)) {
      throw new TraceError(
        `${op}: values given inside compile's function are made once, and would stay as this write leaves them. Write to a clone() of them.`,
      );
    }
  };
  const restore = (): void => {
    for (const [leaf, grad] of before) leaf.grad = grad?.isDisposed ? null : grad;
  };
  /** f failed: nothing of the recording may be left behind. */
  const undo = (): void => {
    for (const leaf of leaves)
      if (leaf.grad && !leaf.grad.isDisposed && leaf.grad.storage("compile").symbolic) leaf.grad.dispose();
    restore();
    for (const storage of retained) storage.letGo();
  };
  const properties = new Properties();
  /** Writes that were recorded have not happened: graphs from before stay valid, should the call fail. */
  const restoreVersions = (): void => {
    for (const step of steps) for (const storage of mutated(step)) if (!storage.symbolic) storage.version--;
  };
  const { result, gradients, storageOf, differentiable } = tidy(() => {
    let value: T;
    try {
      value = observe(properties, () => withRecorder(recorder, () => f(...inputs)));
      requireSynchronous("compile", value);
      requireUnchanged(properties);
    } catch (error) {
      undo();
      properties.changed(true);
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
    restore();
    const results = [...tensorsIn(value)];
    const kept = [...results, ...left.values()];
    const stay = new Set(kept);
    for (const x of made) if (!stay.has(x) && !x.isKept) x.disposeBecause(RECORDED);
    return {
      result: value,
      gradients: left,
      storageOf: new Map(kept.map((x) => [x, x.storage("compile")])),
      differentiable: new Set(results.filter((x) => x.hasLiveGraph)),
    };
  });
  restoreVersions();
  // What f made for itself on the way, constants among it, is held by its memory alone.
  const captured = Array.from(outside.values()).filter(({ tensor }) => !tensor.isDisposed && !own.has(tensor));
  for (const x of properties.tensors) held.add(x);
  /** By memory: a detached or reshaped tensor shares that of the tensor that is held. */
  const holding = new Set(Array.from(held, (x) => !x.isDisposed && x.storage("compile")));
  return {
    steps,
    result,
    storageOf,
    gradients,
    cleared: Array.from(cleared).filter((leaf) => !gradients.has(leaf) && !own.has(leaf)),
    differentiable,
    gradEnabled: isGradEnabled(),
    isOwn,
    fixed,
    finite,
    isLoose: captured.some(({ tensor }) => !holding.has(tensor.storage("compile")) && !isConstant(tensor)),
    captured,
    changedField: () => properties.changed(),
    guards: properties.isEmpty ? guards : [...guards, properties.guard()],
    retained: [...retained],
  };
}
