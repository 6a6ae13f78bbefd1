import type { Concept } from "../lab/concepts.ts";

/** The page that contains the tables. */
export const PAGE: string;
/** The page that contains the table of concepts. */
export const CONCEPTS_PAGE: string;
export function withBlock(page: string, name: string, text: string): string;
export function withTables(page: string): string;
export function withConcepts(page: string, concepts: readonly Concept[]): string;
