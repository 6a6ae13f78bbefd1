/** The types of content.mjs. */
import type { Alias, Plugin } from "vite";

export const root: string;
export const alias: Alias[];
export const practices: Plugin;
export function content(): Promise<typeof import("./content.ts")>;
