/** Undo for steps that run out of memory: what they wrote in place, and the random numbers that they drew, are put back. */
import { isJournaling, type Storage, withJournal } from "./memory.ts";
import { engine, randomState, setRandomState } from "./runtime/engine.ts";
import { OutOfMemoryError } from "./runtime/errors.ts";
import { currentRecorder } from "./tensor.ts";

/**
 * Runs f. If linear memory runs out, parameters, buffers and the random generator are then as before, so that a retry gives equal
 * results.
 */
export function undoable<T>(f: () => T): T {
  // A function that is being recorded writes nothing.
  if (isJournaling() || currentRecorder()) return f();
  const before = randomState();
  const journal = new Map<Storage, Uint8Array>();
  try {
    return withJournal(journal, f);
  } catch (error) {
    if (error instanceof OutOfMemoryError) {
      for (const [storage, bytes] of journal) {
        if (!storage.isResident) continue; // f made and freed it
        engine().heap.u8.set(bytes, storage.address);
        storage.version++;
      }
      setRandomState(before);
    }
    throw error;
  }
}

/** Runs f, which allocates nothing and so cannot run out of memory: its writes need no undo. */
export const final = <T>(f: () => T): T => withJournal(null, f);
