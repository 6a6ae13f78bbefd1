/** Typed arrays as text, for messages between processes and to pages. */

/** The length of the pieces that String.fromCharCode converts: a call cannot have arbitrarily many arguments. */
const PIECE = 2 ** 14;

export function encode(values) {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  let text = "";
  for (let at = 0; at < bytes.length; at += PIECE) text += String.fromCharCode(...bytes.subarray(at, at + PIECE));
  return btoa(text);
}

/** @param Type the class of the array, such as Int32Array */
export const decode = (text, Type = Float32Array) =>
  new Type(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer);
