/**
 * Limits the size of JSON structures before parsing: for a text that consists mostly of brackets or names, JSON.parse needs many
 * times as much memory as the text itself.
 */

/** Limits for a JSON text. */
export interface JsonLimits {
  /** The number of nesting levels of arrays and objects. */
  readonly depth: number;
  /** The number of arrays and objects. Default: unlimited. */
  readonly containers?: number;
  /** The number of names in all objects. Default: unlimited. */
  readonly names?: number;
}

const [QUOTE, BACKSLASH, COLON] = [0x22, 0x5c, 0x3a];
const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

/** The first limit that a text exceeds, or undefined. The text does not have to be valid JSON. */
export function exceededLimit(
  json: Uint8Array,
  { depth, containers = Number.POSITIVE_INFINITY, names = Number.POSITIVE_INFINITY }: JsonLimits,
): keyof JsonLimits | undefined {
  let [open, containersSeen, namesSeen] = [0, 0, 0];
  for (let i = 0; i < json.length; i++) {
    switch (json[i]) {
      case QUOTE:
        for (i++; i < json.length && json[i] !== QUOTE; i++) if (json[i] === BACKSLASH) i++;
        break;
      case OPEN_ARRAY:
      case OPEN_OBJECT:
        if (++open > depth) return "depth";
        if (++containersSeen > containers) return "containers";
        break;
      case CLOSE_ARRAY:
      case CLOSE_OBJECT:
        open--;
        break;
      case COLON:
        if (++namesSeen > names) return "names";
    }
  }
  return undefined;
}
