/** Undo for steps that run out of memory: their writes in place and the random numbers that they drew. */

import { OutOfMemoryError } from "../runtime/errors.ts";
import { isJournaling, Journal, withJournal } from "./memory.ts";
import { currentRecorder } from "./tensor.ts";

/**
 * Runs f. If linear memory runs out, parameters, buffers and the random generator are then as before, so that a retry gives equal
 * results.
 */
export function withUndo<T>(f: () => T): T {
  // A function that is being recorded writes nothing.
  if (isJournaling("shortage") || currentRecorder()) return f();
  const journal = new Journal();
  try {
    return withJournal("shortage", journal, f);
  } catch (error) {
    if (error instanceof OutOfMemoryError) journal.restore();
    throw error;
  }
}

/** Runs f, which allocates nothing and so cannot run out of memory: its writes need no undo. */
export const withoutUndo = <T>(f: () => T): T => withJournal("shortage", null, f);
