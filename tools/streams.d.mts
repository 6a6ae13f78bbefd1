/** Splits a module, or a part with `count` functions, into streams. @throws Error if assembly/streams.ts would not restore it */
export function splitModule(module: Uint8Array, count?: number): Uint8Array;
/** Joins streams. */
export function joinStreams(packed: Uint8Array): Uint8Array;
