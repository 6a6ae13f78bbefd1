/**
 * Writes the generated files below `root`, or only checks them.
 * @throws Error if `check` is set and a file is out of date
 */
export function generate(root: string, options?: { check?: boolean }): Promise<void>;
