/**
 * Frees tensors that the program does not dispose: at the end of their scope or, outside scopes, when they are garbage
 * collected.
 *
 * During a synchronous loop, a FinalizationRegistry neither calls back nor frees its cells. Therefore a tensor made
 * outside scopes waits in `unowned` until its job (a turn of the event loop) ends, and is registered only then. If a
 * job makes too many tensors, the least recently used storages move to JavaScript's memory (memory.ts), and `unowned`
 * drops their tensors. Unreachable tensors are then collected even during the loop, and the storages of reachable
 * tensors move back when they are used.
 */

import { onShortage } from "../runtime/engine.ts";
import { context } from "./context.ts";
import type { AnyHandle, Owned } from "./handle.ts";
import { currentOp, epoch, ownerless, type Storage, tick, unscoped } from "./memory.ts";

/** Tensors made outside scopes in this job, including kept ones until the next sweep. */
const unowned: Owned[] = [];
/** This job's kept tensors that sweeps took out of `unowned`. They cannot move, so they must not trigger sweeps. */
let kept: Owned[] = [];
/** Handles of tensors from earlier jobs. They are registered with the finalizer. */
let registered: AnyHandle[] = [];

const finalizer = new FinalizationRegistry<AnyHandle>((handle) => {
  handle.registered = false;
  freeHandle(handle, "the garbage collector");
});

/** Frees what a handle holds, unless it was freed before. @param freedBy what freed it, for DisposedError */
export function freeHandle(handle: AnyHandle, freedBy: string): void {
  const { storage, node } = handle;
  if (!storage) return;
  if (storage.isPinned) epoch.value++;
  handle.storage = null;
  handle.node = null;
  handle.freedBy = freedBy;
  if (handle.registered) finalizer.unregister(handle);
  if (handle.kept) storage.unpin();
  node?.release();
  if (handle.weak) storage.releaseWeak();
  else storage.uncount(handle.counted);
}

/** How many bytes of linear memory unscoped tensors may hold before a sweep. */
const MAX_BYTES = 64 * 2 ** 20;
/**
 * The number of tensors that a job may make before a sweep, and the number that earlier jobs may leave behind. The
 * second limit exists because finalizers do not always run between jobs.
 */
const MAX_TENSORS = 1024;
const MAX_REGISTERED = 16384;
/** The numbers of bytes and tensors at which the next sweep runs. */
let sweepAtBytes = MAX_BYTES;
let sweepAtTensors = MAX_TENSORS;
/** If there are at least this many kept tensors, a sweep drops the disposed ones. */
let pruneAtKept = MAX_TENSORS;
/** The sequence number of the op that ran at the last sweep. */
let lastSweep = 0;
/**
 * The number of library functions that are running outside scopes. Until they end, positions in `unowned` must not
 * change.
 */
let depth = 0;
let scheduled = false;

/** Adds a new tensor to the open scope. */
export function adopt(tensor: Owned): void {
  const { scope } = context;
  if (scope) {
    scope.push(tensor);
    return;
  }
  unowned.push(tensor);
  unscoped.bytes += tensor.handle.storage!.bytes;
  if (!scheduled) schedule();
  if (depth === 0) sweepIfDue();
}

/** Moves a kept tensor out of all scopes. */
export function adoptKept(tensor: Owned): void {
  unowned.push(tensor);
  if (!scheduled) schedule();
}

/** Starts a library function. Returns the argument to pass to `endInternal`. */
export function beginInternal(): number {
  if (context.scope) return -1;
  depth++;
  return unowned.length;
}

/**
 * Ends a library function: frees the tensors that it made outside scopes and does not return, because nothing else can
 * reach them.
 */
export function endInternal(start: number, result: unknown): void {
  if (start < 0) return;
  depth--;
  const made = unowned.length - start;
  if (made > 1 || (made === 1 && unowned[start] !== result)) {
    let count = start;
    for (let i = start; i < unowned.length; i++) {
      const tensor = unowned[i]!;
      if (tensor.handle.kept || contains(result, tensor)) unowned[count++] = tensor;
      else freeHandle(tensor.handle, "the library function that made it");
    }
    unowned.length = count;
  }
  if (depth === 0) sweepIfDue();
}

/** Whether a value is this tensor, or an array or object that contains it. */
function contains(value: unknown, tensor: Owned): boolean {
  if (value === tensor) return true;
  if (Array.isArray(value)) return value.some((part) => contains(part, tensor));
  if (typeof value !== "object" || value === null || "handle" in value) return false;
  return Object.values(value).some((part) => contains(part, tensor));
}

/**
 * Wraps a library function so that it frees the tensors that it makes outside scopes and does not return. The function
 * must not call user code.
 */
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

/** Runs f like a library function (see asInternal). */
export const runInternal = <T>(f: () => T): T => asInternal(f)();

function schedule(): void {
  scheduled = true;
  void Promise.resolve().then(endJob);
}

/** Registers with the finalizer the tensors that remain at the end of the job. */
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
  const isCrowded = registered.length >= MAX_REGISTERED;
  if (unowned.length < sweepAtTensors && unscoped.bytes < sweepAtBytes && !isCrowded) return;
  dropGone();
  setKeptAside();
  const all = liveStorages(true);
  const isFull = bytesOf(all) >= sweepAtBytes;
  // If neither bytes nor tensors from earlier jobs exceed their limits, move only tensors from this job.
  const live = isFull ? all : liveStorages(isCrowded);
  // A storage that moved back and was used since the last sweep will probably be used again.
  const isIdle = (storage: Storage): boolean => !storage.isReachable || storage.lastUse < lastSweep;
  const idle = [...live].filter(isIdle);
  const newest = moveOldest(idle, isFull ? MAX_BYTES / 2 : MAX_BYTES, 0.75 * MAX_TENSORS);
  if (newest) {
    if (isFull) warn();
    // Also move storages that only graph nodes hold and that were last used no later than a moved storage: they are idle
    // too.
    else for (const storage of ownerless) if (storage.isMovable && storage.lastUse <= newest) storage.moveOut();
    tick();
    lastSweep = currentOp();
    dropGone();
  }
  if (unowned.length > 0.75 * MAX_TENSORS) weakenAliases();
  unscoped.bytes = bytesOf(liveStorages(true));
  sweepAtBytes = Math.max(MAX_BYTES, unscoped.bytes + MAX_BYTES / 2);
  sweepAtTensors = Math.max(MAX_TENSORS, (4 / 3) * unowned.length);
}

let warned = false;

function warn(): void {
  if (warned) return;
  warned = true;
  console.warn(
    "nabla: more than 64 MB of tensors were made outside scopes and not disposed. The oldest now move to JavaScript's memory, " +
      "and back when they are used, which takes time. Wrap each step in tidy(() => …), or dispose() tensors.",
  );
}

const bytesOf = (storages: Iterable<Storage>): number => {
  let total = 0;
  for (const { bytes } of storages) total += bytes;
  return total;
};

/**
 * The movable storages of unscoped tensors from this job.
 * @param all whether to include those from earlier jobs and those that only graphs hold
 */
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
 * Moves out the least recently used storages until at most `max` storages with at most `maxBytes` bytes are left.
 * @returns the sequence number of the last op that used any of the moved storages; 0 if none was moved
 */
function moveOldest(storages: Storage[], maxBytes: number, max: number): number {
  let [bytes, count, newest] = [bytesOf(storages), storages.length, 0];
  for (const storage of storages.sort((a, b) => a.lastUse - b.lastUse || a.id - b.id)) {
    if (bytes <= maxBytes && count <= max) break;
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

/** Drops the references to tensors that were disposed or moved out, so that unreachable tensors can be collected. */
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

/** Moves kept tensors from `unowned` to `kept`. */
function setKeptAside(): void {
  let count = 0;
  for (const tensor of unowned)
    if (tensor.handle.kept) kept.push(tensor);
    else unowned[count++] = tensor;
  unowned.length = count;
  if (kept.length < pruneAtKept) return;
  kept = kept.filter(({ handle }) => handle.storage?.isResident);
  pruneAtKept = Math.max(MAX_TENSORS, 2 * kept.length);
}

/** Drops old tensors whose storage another tensor also holds, and makes their references to it weak. */
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
  if (registered.length >= MAX_REGISTERED / 2) registered = registered.filter((handle) => stays(handle, true));
  const old = unowned.length - MAX_TENSORS / 4;
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
