/**
 * Writes the generated files under `root`, or, if `check` is set, only compares them.
 * @throws Error if `check` is set and a file is out of date
 */
export function generate(root: string, options?: { check?: boolean }): Promise<void>;
