/** The page that contains the tables. */
export const PAGE: string;
export function withBlock(page: string, name: string, text: string): string;
export function withTables(page: string): string;
