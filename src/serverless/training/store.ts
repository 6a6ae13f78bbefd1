/** The interface through which a trainingHandler keeps its weights. */

/** Keeps weights between requests: in a file, an object store or a key-value store. */
export interface Store {
  /** Returns the state that was saved last, or undefined if there is none. */
  load(): Promise<Uint8Array | undefined>;
  /** Replaces the stored state as a whole. `state` has the format of saveState in nabla/formats. */
  save(state: Uint8Array): Promise<void>;
}
