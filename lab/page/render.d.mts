/** The types of render.mjs. */
import type { Reference } from "../article/references.ts";

export function renderArticle(
  text: string,
  experiments: readonly {
    readonly name: string;
    readonly title: string;
    readonly claim: string;
    readonly formula: string;
  }[],
  pictures: Readonly<Record<string, () => string>>,
  references: readonly Reference[],
): string;
export function renderContents(html: string): string;
export function renderFont(html: string): Promise<string>;
export function slug(heading: string): string;
export function formula(source: string, displayMode: boolean): string;
