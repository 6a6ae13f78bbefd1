/**
 * `node docs/tables.mjs` writes the tables of the benchmarks page from docs/data/*.json, which the bench commands write with `--save`, and the
 * table of concepts from lab/concepts.ts.
 * test/matrix/table.mjs and bench/size.mjs use `withBlock` to write the tables of runtimes.md and sizes.md.
 */
import { readFileSync, writeFileSync } from "node:fs";

export const PAGE = "docs/benchmarks.md";
export const CONCEPTS_PAGE = "docs/guide/concepts.md";

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

/**
 * The contenders that the page compares, in the order of the columns, for tables that show only some of them. The start of a name
 * stands for all names that begin with it: PyTorch's name ends with its version.
 */
const COLUMNS = {
  "peers-matmul": ["nabla relaxed", "PyTorch", "jax-js wasm", "tfjs-wasm", "ml-matrix", "pure JS"],
  "peers-step": ["nabla relaxed, compiled", "PyTorch", "jax-js wasm", "tfjs-wasm", "tfjs-cpu", "pure JS"],
  "peers-models": [
    "nabla relaxed, compiled",
    "nabla relaxed, compiled, int8",
    "nabla relaxed, compiled, 2 threads",
    "tfjs-nabla",
    "onnxruntime-web",
    "tfjs-wasm",
    "onnxruntime-node",
    "PyTorch",
  ],
};

/** A table with one row per case and one column per contender, or per entry of `columns`. The best figure in a row is bold. */
export function table({ command, machine, date, rows }, columns) {
  const all = [...new Set(rows.map(({ impl }) => impl))];
  const impls = columns?.flatMap((start) => all.find((impl) => impl.startsWith(start)) ?? []) ?? all;
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
    (text, name) =>
      withBlock(text, name, table(JSON.parse(readFileSync(`docs/data/${name}.json`, "utf8")), COLUMNS[name])),
    page,
  );
}

/** Writes the table of concepts, one per row, in the article's order. */
export function withConcepts(page, concepts) {
  const code = (names) => names.map((name) => `\`${name}\``).join(", ");
  const rows = concepts.map(({ name, paragraph, experiment, functions, findings, exercise }, i) => {
    const link = `<a href="/lab/#${paragraph}" target="_self">${name}</a>`;
    const cells = [i + 1, link, code([experiment]), code(functions), findings.join("; "), code([exercise])];
    return `| ${cells.map((cell) => String(cell).replaceAll("|", "\\|")).join(" | ")} |`;
  });
  const head = ["| | concept | figure | functions | findings | exercise |", "|---:|---|---|---|---|---|"];
  return withBlock(page, "concepts", [...head, ...rows].join("\n"));
}

if (process.argv[1] === import.meta.filename) {
  const { load } = await import("../tools/reference.mjs");
  const { concepts } = await load("lab/concepts.ts");
  const write = (path, change) => writeFileSync(path, change(readFileSync(path, "utf8")));
  write(PAGE, withTables);
  write(CONCEPTS_PAGE, (page) => withConcepts(page, concepts));
}
