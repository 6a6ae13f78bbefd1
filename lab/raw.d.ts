/** A file's text, as Vite and tools/cli.mjs import it. */
declare module "*?raw" {
  const text: string;
  export default text;
}
