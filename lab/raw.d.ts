/** Importing `FILE?raw` gives the file's text. Vite and tools/cli.mjs resolve such imports. */
declare module "*?raw" {
  const text: string;
  export default text;
}
