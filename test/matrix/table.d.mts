import type { Seen } from "./project.ts";

/** The page with the table. */
export const PAGE: string;
export function table(seen: readonly Seen[]): string;
export function withTable(page: string, seen: readonly Seen[]): string;
