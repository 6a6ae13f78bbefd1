/**
 * Who frees tensors: the scope they are made in; outside of scopes, dispose(), or the garbage collector.
 *
 * A FinalizationRegistry never runs during a synchronous loop, and its cells are never freed there either. So a tensor
 * made outside of scopes waits in `unowned` until its job ends, and only then is it registered. Where a loop makes more than a job
 * should, storages that were not used for a while move to JavaScript (memory.ts) and their tensors are let go: what
 * nobody can reach is collected at once, what somebody can reach moves back when used.
 */

import { onShortage } from "../runtime/engine.ts";
import { currentOp, epoch, ownerless, type Storage, tick, unscoped } from "./memory.ts";

/** What a tensor holds. Apart from it, so that the finalizer can free it without holding the tensor. */
export interface Handle<N> {
  storage: Storage | null;
  /** The node of the graph of gradients that made the tensor. */
  node: N | null;
  /** The op that made the tensor. */
  readonly op: string;
  /** How it was freed. */
  gone: string;
  /** Whether keep() exempted it from scopes. */
  kept: boolean;
  /** Whether the finalizer watches over it. */
  registered: boolean;
  /** Whether it only shows its storage (see Storage.weaken). */
  weak: boolean;
  /** What Storage.count returned. */
  readonly counted: number;
}
type AnyHandle = Handle<{ release(): void }>;

/** A tensor, as far as its memory goes. */
interface Owned {
  /** @internal */
  readonly handle: AnyHandle;
}

/** Tensors made outside of scopes in this job, and kept ones until the next sweep. */
const unowned: Owned[] = [];
/** Kept tensors of this job that sweeps found: they cannot move, so they never trigger a sweep. */
let kept: Owned[] = [];
/** Tensors made in the innermost open scope. */
let scope: Owned[] = unowned;
/** Handles of tensors from earlier jobs, which the finalizer watches over. */
let registered: AnyHandle[] = [];

const finalizer = new FinalizationRegistry<AnyHandle>((handle) => {
  handle.registered = false;
  freeHandle(handle, "the garbage collector");
});

/** Frees what a handle holds; `how` is what a DisposedError will say. Twice is fine. */
export function freeHandle(handle: AnyHandle, how: string): void {
  const { storage, node } = handle;
  if (!storage) return;
  if (storage.isPinned) epoch.value++;
  handle.storage = null;
  handle.node = null;
  handle.gone = how;
  if (handle.registered) finalizer.unregister(handle);
  if (handle.kept) storage.unpin();
  node?.release();
  if (handle.weak) storage.releaseWeak();
  else storage.uncount(handle.counted);
}

/** How much unscoped tensors may hold of linear memory. */
const MOST_BYTES = 64 * 2 ** 20;
/** How many there may be of one job, and of earlier jobs, whose finalizers may not get to run between jobs. */
const MOST_TENSORS = 1024;
const MOST_REGISTERED = 16384;
/** At how many bytes and tensors to look again. */
let sweepAtBytes = MOST_BYTES;
let sweepAtTensors = MOST_TENSORS;
/** At how many kept tensors to let go of disposed ones. */
let pruneAtKept = MOST_TENSORS;
/** The op that was at work at the last sweep. */
let lastSweep = 0;
/** Library functions at work outside of scopes: positions in `unowned` must not change until they end. */
let depth = 0;
let scheduled = false;

/** Gives a new tensor to the open scope. */
export function adopt(tensor: Owned): void {
  scope.push(tensor);
  if (scope !== unowned) return;
  unscoped.bytes += tensor.handle.storage!.bytes;
  if (!scheduled) schedule();
  if (depth === 0) sweepIfDue();
}

/** Takes a tensor that is to be kept out of all scopes. */
export function adoptKept(tensor: Owned): void {
  unowned.push(tensor);
  if (!scheduled) schedule();
}

/** Runs f with all tensors that it makes, except those of scopes inside it, added to `own`. */
export function collectTensors<T, O extends Owned>(own: O[], f: () => T): T {
  const outer = scope;
  scope = own as Owned[];
  try {
    return f();
  } finally {
    scope = outer;
  }
}

/** Starts a library function. Returns what `endInternal` takes. */
export function beginInternal(): number {
  if (scope !== unowned) return -1;
  depth++;
  return unowned.length;
}

/** Ends a library function: frees what it made outside of scopes and does not return, which nobody else can reach. */
export function endInternal(start: number, result: unknown): void {
  if (start < 0) return;
  depth--;
  const made = unowned.length - start;
  if (made > 1 || (made === 1 && unowned[start] !== result)) {
    let count = start;
    for (let i = start; i < unowned.length; i++) {
      const tensor = unowned[i]!;
      if (tensor.handle.kept || holds(result, tensor)) unowned[count++] = tensor;
      else freeHandle(tensor.handle, "the library function that made it");
    }
    unowned.length = count;
  }
  if (depth === 0) sweepIfDue();
}

/** Whether a result is a tensor, or an array or object that contains it. */
function holds(value: unknown, tensor: Owned): boolean {
  if (value === tensor) return true;
  if (Array.isArray(value)) return value.some((part) => holds(part, tensor));
  if (typeof value !== "object" || value === null || "handle" in value) return false;
  return Object.values(value).some((part) => holds(part, tensor));
}

/** A library function, which calls no code of users: what it makes outside of scopes but does not return is freed. */
export function asInternal<A extends unknown[], T>(f: (...args: A) => T): (...args: A) => T {
  return (...args) => {
    const start = beginInternal();
    let result: T | undefined;
    try {
      result = f(...args);
      return result;
    } finally {
      endInternal(start, result);
    }
  };
}

/** Runs a part of a library function as `asInternal` does. */
export const runInternal = <T>(f: () => T): T => asInternal(f)();

function schedule(): void {
  scheduled = true;
  void Promise.resolve().then(endJob);
}

/** Registers what the job leaves behind. */
function endJob(): void {
  scheduled = false;
  for (const tensor of kept) register(tensor);
  for (const tensor of unowned) register(tensor);
  kept.length = 0;
  unowned.length = 0;
}

function register(tensor: Owned): void {
  const { handle } = tensor;
  if (!handle.storage?.isResident || handle.registered) return;
  handle.registered = true;
  finalizer.register(tensor, handle, handle);
  if (!handle.kept) registered.push(handle);
}

function sweepIfDue(): void {
  const isCrowded = registered.length >= MOST_REGISTERED;
  if (unowned.length < sweepAtTensors && unscoped.bytes < sweepAtBytes && !isCrowded) return;
  dropGone();
  setKeptAside();
  const all = liveStorages(true);
  const isFull = bytesOf(all) >= sweepAtBytes;
  // Too many small ones are this job's: those of others are left alone.
  const live = isFull ? all : liveStorages(isCrowded);
  // What came back and was used since the last sweep will be used again.
  const isIdle = (storage: Storage): boolean => !storage.isReachable || storage.lastUse < lastSweep;
  const idle = [...live].filter(isIdle);
  const newest = moveOldest(idle, isFull ? MOST_BYTES / 2 : MOST_BYTES, 0.75 * MOST_TENSORS);
  if (newest) {
    if (isFull) warn();
    // What only the graphs of those hold is as idle.
    else for (const storage of ownerless) if (storage.isMovable && storage.lastUse <= newest) storage.moveOut();
    tick();
    lastSweep = currentOp();
    dropGone();
  }
  if (unowned.length > 0.75 * MOST_TENSORS) weakenAliases();
  unscoped.bytes = bytesOf(liveStorages(true));
  sweepAtBytes = Math.max(MOST_BYTES, unscoped.bytes + MOST_BYTES / 2);
  sweepAtTensors = Math.max(MOST_TENSORS, (4 / 3) * unowned.length);
}

let warned = false;

function warn(): void {
  if (warned) return;
  warned = true;
  console.warn(
    "nabla: more than 64 MB of tensors were made outside of scopes and not disposed. The oldest now move to JavaScript's memory, " +
      "and back when used, which takes time. Wrap each step in tidy(() => …), or dispose() of tensors.",
  );
}

const bytesOf = (storages: Iterable<Storage>): number => {
  let total = 0;
  for (const { bytes } of storages) total += bytes;
  return total;
};

/** Storages that unscoped tensors of this job hold and that may move; or all, with those of earlier jobs and of the graph. */
function liveStorages(all: boolean): Set<Storage> {
  const live = new Set<Storage>();
  for (const { handle } of unowned) if (handle.storage?.isMovable) live.add(handle.storage);
  if (!all) return live;
  for (const { storage } of registered) if (storage?.isMovable) live.add(storage);
  for (const storage of ownerless) {
    if (storage.isGone) ownerless.delete(storage);
    else if (storage.isMovable) live.add(storage);
  }
  return live;
}

/**
 * Moves the least recently used out until so many bytes and storages are left. Returns the op that last used any of those moved; 0 if
 * none was.
 */
function moveOldest(storages: Storage[], mostBytes: number, most: number): number {
  let [bytes, count, newest] = [bytesOf(storages), storages.length, 0];
  for (const storage of storages.sort((a, b) => a.lastUse - b.lastUse || a.id - b.id)) {
    if (bytes <= mostBytes && count <= most) break;
    try {
      storage.moveOut();
    } catch {
      break; // JavaScript's memory is full too
    }
    bytes -= storage.bytes;
    count--;
    newest = storage.lastUse;
  }
  return newest;
}

/** Lets go of tensors that were disposed or whose bytes moved out: if nobody else holds them, they are garbage. */
function dropGone(): void {
  const stays = (handle: AnyHandle): boolean => {
    if (handle.storage?.isResident) return true;
    if (handle.registered) finalizer.unregister(handle);
    handle.registered = false;
    return false;
  };
  registered = registered.filter(stays);
  let count = 0;
  for (const tensor of unowned) if (stays(tensor.handle)) unowned[count++] = tensor;
  unowned.length = count;
}

/** Takes kept tensors out of `unowned`. */
function setKeptAside(): void {
  let count = 0;
  for (const tensor of unowned)
    if (tensor.handle.kept) kept.push(tensor);
    else unowned[count++] = tensor;
  unowned.length = count;
  if (kept.length < pruneAtKept) return;
  kept = kept.filter(({ handle }) => handle.storage?.isResident);
  pruneAtKept = Math.max(MOST_TENSORS, 2 * kept.length);
}

/** Lets go of old tensors whose storage another tensor holds. */
function weakenAliases(): void {
  const held = new Set<Storage>();
  const stays = (handle: AnyHandle, isOld: boolean): boolean => {
    const storage = handle.storage!;
    if (!isOld || handle.kept || storage.references < 2 || !(held.has(storage) || storage.isPinned)) {
      held.add(storage);
      return true;
    }
    if (handle.registered) finalizer.unregister(handle);
    handle.registered = false;
    handle.weak = true;
    storage.weaken(handle.counted);
    return false;
  };
  if (registered.length >= MOST_REGISTERED / 2) registered = registered.filter((handle) => stays(handle, true));
  const old = unowned.length - MOST_TENSORS / 4;
  let count = 0;
  unowned.forEach((tensor, i) => {
    if (stays(tensor.handle, i < old)) unowned[count++] = tensor;
  });
  unowned.length = count;
}

onShortage(() => {
  const op = currentOp();
  const idle = [...liveStorages(true)].filter(({ lastUse }) => lastUse < op);
  moveOldest(idle, 0, 0);
  if (depth === 0) dropGone();
});
