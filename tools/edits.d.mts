/** Encodes `bytes` as edits to `base`, which src/runtime/load.ts applies. */
export function editsOf(base: Buffer, bytes: Buffer): Buffer;
/** The form in which the package stores a build. */
export function storedBytes(build: string): Buffer;
