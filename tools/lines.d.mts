/** Breaks the long lines of a module's code. */
export function breakLines(code: string): string;
