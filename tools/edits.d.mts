/** Encodes `bytes` as edits to `base`, which src/runtime/load.ts applies. */
export function editsOf(base: Buffer, bytes: Buffer): Buffer;
/** The bytes that the package stores for a build: those of the build, or of its edits to `simd`. */
export function storedBytes(build: string): Buffer;
