/** Formats results: a line about the machine, numbers, and aligned tables. */
import { cpus } from "node:os";
import { CEILING, type Result } from "./measure.ts";

/** Describes the environment of a run: Node, V8, nabla's build unless the results name it, and the processor. */
export function machine(build?: string, threads = "one thread"): string {
  const { node, v8 } = process.versions;
  return `Node ${node}, V8 ${v8}, ${build ? `nabla ${build}, ` : ""}${cpus()[0]?.model.trim() ?? "unknown CPU"} × ${cpus().length}, ${threads}`;
}

/**
 * Formats lines of cells as aligned columns: aligns the first `leftColumns` to the left, and the others, which are numbers, to the right.
 */
export function table(lines: readonly (readonly string[])[], leftColumns = 2): string {
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines
    .map((line) =>
      line
        .map((cell, i) => (i < leftColumns ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** Formats a number with no decimals if it is at least 100, with one if it is at least 10, and with two otherwise. */
export function figure(v: number): string {
  return v >= 100 ? v.toFixed(0) : v >= 10 ? v.toFixed(1) : v.toFixed(2);
}

/** Formats a time in milliseconds, with its unit. */
export const time = (milliseconds: number): string =>
  milliseconds < 1 ? `${figure(1000 * milliseconds)} µs` : `${figure(milliseconds)} ms`;

/** The table of a suite. If results are rates, a column shows the times too. Columns without entries are left out. */
export function suiteTable(results: readonly Result[], base: string): string {
  const head = ["case", "impl", "median", "min*", "unit", "time", `× ${base}`, "of ceiling"];
  let last = "";
  const lines = results.map((r) => {
    const name = r.case === last ? "" : r.case;
    last = r.case;
    return [
      name,
      r.impl,
      figure(r.median),
      figure(r.min),
      r.unit,
      r.unit === "µs" || r.impl === CEILING ? "" : time(r.time),
      r.ratio === undefined ? "" : figure(r.ratio),
      r.share === undefined ? "" : `${(100 * r.share).toFixed(0)} %`,
    ];
  });
  const isUsed = head.map((_, column) => lines.some((line) => line[column]));
  return table([head, ...lines].map((line) => line.filter((_, column) => isUsed[column])));
}
