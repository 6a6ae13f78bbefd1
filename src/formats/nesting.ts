/** Measures JSON text before it is parsed: JSON.parse takes many times the memory of a text that is all brackets or all names. */

/** The most that a text may have. */
export interface Nesting {
  /** Arrays and objects inside each other. */
  readonly depth: number;
  /** Arrays and objects. Default: any number. */
  readonly containers?: number;
  /** Names in all objects. Default: any number. */
  readonly names?: number;
}

const [QUOTE, BACKSLASH, COLON] = [0x22, 0x5c, 0x3a];
const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

/** What a text has too much of; undefined if it has not. It need not be valid. */
export function exceeded(
  json: Uint8Array,
  { depth, containers = Number.POSITIVE_INFINITY, names = Number.POSITIVE_INFINITY }: Nesting,
): keyof Nesting | undefined {
  let [open, opened, named] = [0, 0, 0];
  for (let i = 0; i < json.length; i++) {
    switch (json[i]) {
      case QUOTE:
        for (i++; i < json.length && json[i] !== QUOTE; i++) if (json[i] === BACKSLASH) i++;
        break;
      case OPEN_ARRAY:
      case OPEN_OBJECT:
        if (++open > depth) return "depth";
        if (++opened > containers) return "containers";
        break;
      case CLOSE_ARRAY:
      case CLOSE_OBJECT:
        open--;
        break;
      case COLON:
        if (++named > names) return "names";
    }
  }
  return undefined;
}
