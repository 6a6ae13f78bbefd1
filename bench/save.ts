/** Saves results for the documentation to docs/data/SUITE.json. docs/tables.mjs writes the benchmarks page from these files. */
import { writeFileSync } from "node:fs";

/** One measurement. */
export interface SavedRow {
  readonly case: string;
  readonly impl: string;
  readonly unit: string;
  readonly median: number;
}

/** Writes one file per suite. The working directory must be the root of the checkout. */
export function save(command: string, machine: string, rows: readonly (SavedRow & { readonly suite: string })[]): void {
  const date = new Date().toISOString().slice(0, 10);
  for (const suite of new Set(rows.map((row) => row.suite))) {
    const own = rows
      .filter((row) => row.suite === suite)
      .map(({ case: name, impl, unit, median }) => ({ case: name, impl, unit, median: Number(median.toPrecision(4)) }));
    writeFileSync(`docs/data/${suite}.json`, `${JSON.stringify({ command, machine, date, rows: own }, null, 2)}\n`);
  }
}
