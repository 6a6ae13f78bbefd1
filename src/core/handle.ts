/** A tensor's state, in an object of its own so that the finalizer can free it without keeping the tensor alive. */
import type { Storage } from "./memory.ts";

export interface Handle<N> {
  /** The tensor's memory; null after the tensor was disposed. */
  storage: Storage | null;
  /** The graph node that made the tensor. */
  node: N | null;
  /** The op that made the tensor. */
  readonly op: string;
  /** What freed the tensor, for DisposedError's message. */
  freedBy: string;
  /** Whether keep() exempted the tensor from scopes. */
  kept: boolean;
  /** Whether the handle is registered with the finalizer. */
  registered: boolean;
  /** Whether the tensor's reference to the storage is weak (see Storage.weaken). */
  weak: boolean;
  /** The value that Storage.count returned, to pass to Storage.uncount. */
  readonly counted: number;
}
export type AnyHandle = Handle<{ release(): void }>;

/** The part of a tensor that concerns its memory. */
export interface Owned {
  /** @internal */
  readonly handle: AnyHandle;
}

export const newHandle = <N>(storage: Storage, node: N | null, op: string): Handle<N> => ({
  storage,
  node,
  op,
  freedBy: "",
  kept: false,
  registered: false,
  weak: false,
  counted: storage.count(),
});
