/**
 * The context that ops run in: the recorder, if compile is recording a function; whether autograd records ops; and the
 * innermost open scope.
 */
import type { AnyOp } from "../ops/definition/op.ts";
import type { Stored } from "./graph.ts";
import type { Owned } from "./handle.ts";
import type { Storage } from "./memory.ts";

/** Records ops instead of running them. compile/recording.ts implements it. */
export interface Recorder<T extends Stored = Stored> {
  /** The recording function's name in errors, default "compile". */
  readonly name?: string;
  /** Records an op. The tensors may have symbolic storages. */
  record(op: AnyOp, inputs: readonly T[], outputs: readonly T[], attributes: unknown): void;
  /** The file, line and column where the function made a value; "" if unknown. */
  siteOf(storage: Storage): string;
  /**
   * Registers a condition, other than the state of tensors, on which the recording depends. The recording is valid
   * while `check` returns true.
   */
  guard(check: () => boolean): void;
  /** From now on, treats NaN and ±∞ in results, gradients and state as errors. */
  requireFinite?(): void;
  /** Registers tensors whose owner, such as an optimizer, never replaces them. */
  addFixed?(tensors: Iterable<T>): void;
  /**
   * Called after a leaf's gradient was cleared (the recorder then owns the old gradient), and before backward adds to a
   * leaf's gradient.
   */
  gradient(leaf: T, event: "cleared" | "added"): void;
}

/** Observes and redirects the ops of a function that nn.checkpoint runs. autograd/checkpoint.ts implements it. */
export interface Checkpoint<T extends Stored = Stored> {
  /** The id of the recomputation that the ops belong to; 0 if they belong to none. compile merges only ops with the same id. */
  readonly recomputation: number;
  /** Called before each op. Returns the inputs that the op uses instead of the given ones. */
  enter(op: AnyOp, inputs: readonly T[], attributes: unknown): readonly T[];
}

/** All modes, in a single object, so that everything that affects how ops run is in one place. */
export const context: {
  recorder: Recorder | null;
  /** Whether autograd records ops. */
  gradEnabled: boolean;
  /** The tensors made in the innermost open scope; null outside scopes. */
  scope: Owned[] | null;
  /** Observes ops; null outside the functions that nn.checkpoint runs. */
  checkpoint: Checkpoint | null;
} = { recorder: null, gradEnabled: true, scope: null, checkpoint: null };

/** The active recorder; null if ops run instead of being recorded. */
export const currentRecorder = (): Recorder | null => context.recorder;

/** Runs f with a recorder. If `recorder` is null, ops run even while compile records. */
export function withRecorder<T>(recorder: Recorder | null, f: () => T): T {
  const outer = context.recorder;
  context.recorder = recorder;
  try {
    return f();
  } finally {
    context.recorder = outer;
  }
}

/** Runs f with a checkpoint; null if nothing should observe the ops of f. */
export function withCheckpoint<T>(checkpoint: Checkpoint | null, f: () => T): T {
  const outer = context.checkpoint;
  context.checkpoint = checkpoint;
  try {
    return f();
  } finally {
    context.checkpoint = outer;
  }
}

/** Whether autograd records ops. */
export const isGradEnabled = (): boolean => context.gradEnabled;

/** Runs f with autograd on or off. */
export function withGrad<T>(enabled: boolean, f: () => T): T {
  const outer = context.gradEnabled;
  context.gradEnabled = enabled;
  try {
    return f();
  } finally {
    context.gradEnabled = outer;
  }
}

/** Runs f, and adds to `made` all tensors that f makes, except those made in nested scopes. */
export function withScope<T, O extends Owned>(made: O[], f: () => T): T {
  const outer = context.scope;
  context.scope = made as Owned[];
  try {
    return f();
  } finally {
    context.scope = outer;
  }
}
