export function kernelsFile(root: string): Promise<string>;
