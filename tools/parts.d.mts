/** The parts of the kernels that only some programs need. */
export const PART_NAMES: readonly string[];
/** Returns a function that maps the name of a function in the text of a module to the index of its part; −1 for the base. */
export function partsOf(wat: string): (name: string) => number;
