/** The text of each generated file, by its path. */
export function generated(root?: string): Map<string, string>;
