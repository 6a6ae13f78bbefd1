/** Keeps results for the documentation: docs/data/SUITE.json, which docs/tables.mjs turns into the benchmarks page. */
import { writeFileSync } from "node:fs";

/** One figure. */
export interface SavedRow {
  readonly case: string;
  readonly impl: string;
  readonly unit: string;
  readonly median: number;
}

/** Writes one file per suite. Run it in the checkout's root. */
export function save(command: string, machine: string, rows: readonly (SavedRow & { readonly suite: string })[]): void {
  const date = new Date().toISOString().slice(0, 10);
  for (const suite of new Set(rows.map((row) => row.suite))) {
    const own = rows
      .filter((row) => row.suite === suite)
      .map(({ case: name, impl, unit, median }) => ({ case: name, impl, unit, median: Number(median.toPrecision(4)) }));
    writeFileSync(`docs/data/${suite}.json`, `${JSON.stringify({ command, machine, date, rows: own }, null, 2)}\n`);
  }
}
