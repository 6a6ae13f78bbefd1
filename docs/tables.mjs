/**
 * `node docs/tables.mjs` writes the tables of the benchmarks page from docs/data/*.json, which the bench commands write with `--save`.
 * test/matrix/table.mjs and bench/size.mjs write the tables of runtimes.md and sizes.md, also with `withBlock`.
 */
import { readFileSync, writeFileSync } from "node:fs";

export const PAGE = "docs/benchmarks.md";

/** Replaces the text between `<!-- name -->` and `<!-- /name -->` in a page. @throws Error if the page has no such block */
export function withBlock(page, name, text) {
  const block = new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(<!-- /${name} -->)`);
  if (!block.test(page)) throw new Error(`The page has no <!-- ${name} --> … <!-- /${name} -->.`);
  return page.replace(block, (_, begin, end) => `${begin}\n${text}\n\n${end}`);
}

const number = (v) =>
  v >= 100
    ? Math.round(v).toLocaleString("en")
    : v >= 10
      ? String(Math.round(10 * v) / 10)
      : String(Number(v.toPrecision(2)));

/** A table with one row per case and one column per contender. The best figure in a row is bold. */
export function table({ command, machine, date, rows }) {
  const impls = [...new Set(rows.map(({ impl }) => impl))];
  const [{ unit }] = rows;
  const higherIsBetter = unit.endsWith("/s");
  const lines = [...new Set(rows.map((row) => row.case))].map((name) => {
    const of = (impl) => rows.find((row) => row.case === name && row.impl === impl)?.median;
    // The ceiling and the empty program are references, not contenders.
    const contenders = impls.filter((impl) => of(impl) !== undefined && !/ceiling|no library/.test(impl));
    const best = (higherIsBetter ? Math.max : Math.min)(...contenders.map(of));
    const cells = impls.map((impl) => {
      const v = of(impl);
      if (v === undefined) return "–";
      return contenders.length > 1 && contenders.includes(impl) && v === best ? `**${number(v)}**` : number(v);
    });
    return `| ${[name, ...cells].join(" | ")} |`;
  });
  return [
    `| ${[unit, ...impls].join(" | ")} |`,
    `|---|${impls.map(() => "---:|").join("")}`,
    ...lines,
    "",
    `\`${command}\`, ${date}. ${machine}.`,
  ].join("\n");
}

/** Writes every table of a page from its data. */
export function withTables(page) {
  const names = Array.from(page.matchAll(/^<!-- ([\w-]+) -->$/gm), ([, name]) => name);
  return names.reduce(
    (text, name) => withBlock(text, name, table(JSON.parse(readFileSync(`docs/data/${name}.json`, "utf8")))),
    page,
  );
}

if (process.argv[1] === import.meta.filename) writeFileSync(PAGE, withTables(readFileSync(PAGE, "utf8")));
