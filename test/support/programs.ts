/** The programs in the README and the guide. */
import { readdirSync, readFileSync } from "node:fs";

export interface Program {
  /** The page, and the line on which the program's first block starts. */
  readonly title: string;
  readonly page: string;
  readonly source: string;
}

const pagesIn = (folder: string): string[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith(".md"))
    .map((name) => `${folder}/${name}`);

/** The pages whose code runs: all pages except the generated reference. */
export const pages: readonly string[] = ["README.md", "CONTRIBUTING.md", ...pagesIn("docs"), ...pagesIn("docs/guide")];

/** The fenced blocks of a page: the info string after the fence, the text, and the line number. */
export function blocksOf(page: string): { info: string; text: string; line: number }[] {
  const text = readFileSync(page, "utf8");
  return Array.from(text.matchAll(/^```([^\n]*)\n([\s\S]*?)^```$/gm), ({ 1: info, 2: body, index }) => ({
    info: info!,
    text: body!,
    line: text.slice(0, index).split("\n").length,
  }));
}

/** The TypeScript programs of a page. A block with imports starts a program, and blocks without imports continue it. */
export function programsOf(page: string): Program[] {
  const programs: { title: string; page: string; source: string }[] = [];
  for (const { info, text, line } of blocksOf(page)) {
    if (!/^ts\b/.test(info)) continue;
    const last = programs.at(-1);
    if (last && !/^import /m.test(text)) last.source += `\n${text}`;
    else programs.push({ title: `${page}:${line}`, page, source: text });
  }
  return programs;
}

export const programs: Program[] = pages.flatMap(programsOf);
