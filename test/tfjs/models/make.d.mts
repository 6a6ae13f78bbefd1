/** The models, keyed by folder name. `files()` returns the text or bytes of each file. */
export const models: Readonly<Record<string, () => { files(): Record<string, string | Uint8Array> }>>;
