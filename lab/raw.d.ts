/** The text of a file. Vite and tools/cli.mjs resolve this import. */
declare module "*?raw" {
  const text: string;
  export default text;
}
