import type { Seen } from "./project.ts";

export function table(seen: readonly Seen[]): string;
export function withTable(readme: string, seen: readonly Seen[]): string;
