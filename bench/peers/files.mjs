/** Files that contenders read, in Node and on pages. */

/** The bytes of a file. On a page, the path is the address from which the page's server sends the file. @throws Error if there is no such file */
export async function readBytes(path) {
  if (!globalThis.document) return new Uint8Array(await (await import("node:fs/promises")).readFile(path));
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.bytes();
}
