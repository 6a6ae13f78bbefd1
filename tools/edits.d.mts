/** How `bytes` follow from `base`, as src/runtime/load.ts applies it. */
export function editsOf(base: Buffer, bytes: Buffer): Buffer;
/** What the package stores of a build. */
export function storedBytes(build: string): Buffer;
