/** The models by the name of their folder. `files` gives the text or bytes of each file. */
export const models: Readonly<Record<string, () => { files(): Record<string, string | Uint8Array> }>>;
