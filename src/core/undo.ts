/**
 * Undoes a step that ran out of memory: restores the memory that the step overwrote in place, and the state of the
 * random generator.
 */

import { OutOfMemoryError } from "../runtime/errors.ts";
import { currentRecorder } from "./context.ts";
import { isJournaling, Journal, withJournal } from "./memory.ts";

/**
 * Runs f. If linear memory runs out, restores parameters, buffers and the random generator, so that a retry produces
 * the same results.
 */
export function withUndo<T>(f: () => T): T {
  // While compile records a function, nothing is written, so there is nothing to undo.
  if (isJournaling("shortage") || currentRecorder()) return f();
  const journal = new Journal();
  try {
    return withJournal("shortage", journal, f);
  } catch (error) {
    if (error instanceof OutOfMemoryError) journal.restore();
    throw error;
  }
}

/** Runs f, which must not allocate. Because f cannot run out of memory, its writes never have to be undone. */
export const withoutUndo = <T>(f: () => T): T => withJournal("shortage", null, f);
