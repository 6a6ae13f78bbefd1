/** A file's text, as Vite and lab/build.mjs import it. */
declare module "*?raw" {
  const text: string;
  export default text;
}
