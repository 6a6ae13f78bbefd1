/** The text that the command prints: the list of experiments, or a result in words, curves and tables. Pure functions. */

import {
  type AnyExperiment,
  type Finding,
  type Graph,
  holds,
  type Result,
  showExpectation,
  showNumber,
  type Table,
} from "../lab/experiment.ts";
import { bySection } from "../lab/sections.ts";
import { chart, drawPicture } from "./chart.ts";
import { sideBySide } from "./mnist/draw.ts";
import { visible } from "./mnist/style.ts";
import type { Terminal } from "./terminal.ts";

/** All experiments, grouped by the article's sections. */
export function listing(experiments: readonly AnyExperiment[], { bold, dim }: Terminal): string {
  const wide = Math.max(...experiments.map(({ name }) => name.length));
  const line = ({ name, title }: AnyExperiment): string => `  ${name.padEnd(wide)}   ${title}`;
  const blocks = [...bySection(experiments)].map(([section, members]) =>
    [bold(section), ...members.map(line)].join("\n"),
  );
  return [...blocks, dim("Run one with npx nabla lab <name>. Add --help for its parameters.")].join("\n\n");
}

/** The text of a result, below its experiment's title and claim. */
export function report({ title, section, claim }: AnyExperiment, result: Result, terminal: Terminal): string {
  const width = Math.min(100, terminal.columns);
  const { findings, plots, tables = [], pictures = [], graphs = [] } = result;
  const cell = Math.max(...pictures.map((picture) => Math.max(picture.width, picture.title.length)));
  const blocks = [
    `${terminal.bold(title)}\n${terminal.dim(section)}`,
    wrap(claim, width),
    ...graphs.map((graph) => drawTable(tableOf(graph), width, terminal)),
    ...plots.map((plot) => chart(plot, width, terminal)),
    ...(pictures.length
      ? [
          sideBySide(
            pictures.map((picture) => drawPicture(picture, terminal)),
            cell,
            width,
            visible,
          ),
        ]
      : []),
    ...tables.map((table) => drawTable(table, width, terminal)),
    findings.map((finding) => drawFinding(finding, width, terminal)).join("\n"),
  ];
  return blocks.filter((block) => block !== "").join("\n\n");
}

function drawFinding(finding: Finding, width: number, { bold, dim, good, bad }: Terminal): string {
  const { text, measured, expected, theory } = finding;
  const [mark, paint] = holds(finding) ? ["✓", good] : ["✗", bad];
  const first = wrap(`${text}: ${showNumber(measured)}`, width - 4).replace(/\S+$/, (value) => bold(value));
  const second = wrap(`theory: ${showExpectation(expected)} (${theory})`, width - 4);
  return `${paint(mark)} ${first.replaceAll("\n", "\n  ")}\n  ${dim(second).replaceAll("\n", "\n  ")}`;
}

/**
 * A graph as a table with a row for each node. The last column holds the derivatives of the next nodes with respect to
 * this node.
 */
function tableOf({ title, nodes, edges }: Graph): Table {
  const label = (id: string): string => nodes.find((node) => node.id === id)!.label;
  const out = (id: string): string =>
    edges
      .filter(({ from }) => from === id)
      .map(({ to, derivative }) => `∂${label(to)}/∂${label(id)} = ${showNumber(derivative)}`)
      .join(", ");
  const rows = nodes.map(({ id, label: name, value, gradient }) => [name, value, gradient, out(id)]);
  return { title, columns: ["node", "value", "gradient", "local derivatives"], rows };
}

/** The space between two columns. */
const GAP = "   ";
/** The minimum width of a text column. */
const NARROW = 12;

/** A table as text. If it would be wider than `width`, its text columns are wrapped, the widest first. */
function drawTable({ title, columns, rows }: Table, width: number, { bold, dim }: Terminal): string {
  const texts = rows.map((row) => row.map((value) => (typeof value === "number" ? showNumber(value) : value)));
  const widths = columns.map((column, i) => Math.max(column.length, ...texts.map((row) => row[i]?.length ?? 0)));
  const isNumber = columns.map((_, i) => rows.every((row) => typeof row[i] === "number"));
  const excess = (): number => widths.reduce((a, b) => a + b, GAP.length * (widths.length - 1)) - width;
  while (excess() > 0) {
    const widest = widths.indexOf(Math.max(...widths.filter((_, i) => !isNumber[i])));
    if (widest < 0 || widths[widest]! <= NARROW) break;
    widths[widest] = Math.max(NARROW, widths[widest]! - Math.max(1, Math.ceil(excess() / 2)));
  }
  const line = (cells: readonly string[]): string => {
    const parts = cells.map((text, i) => (isNumber[i] ? [text] : wrap(text, widths[i]!).split("\n")));
    const height = Math.max(...parts.map(({ length }) => length));
    return Array.from({ length: height }, (_, row) =>
      parts
        .map((part, i) => (isNumber[i] ? (part[row] ?? "").padStart(widths[i]!) : (part[row] ?? "").padEnd(widths[i]!)))
        .join(GAP)
        .trimEnd(),
    ).join("\n");
  };
  return [bold(title), dim(line(columns)), ...texts.map(line)].join("\n");
}

/** Text in lines of at most `width` characters, broken between words. */
export function wrap(text: string, width: number): string {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines.join("\n");
}
