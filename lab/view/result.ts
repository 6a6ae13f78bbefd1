/**
 * Creates the elements for an experiment and its result. The page shows the elements, and the command writes them to a
 * file.
 */
import { drawPlot } from "../draw.ts";
import {
  type Finding,
  holds,
  type Picture,
  type Plot,
  type Result,
  showExpectation,
  showNumber,
  type Table,
} from "../experiment.ts";
import { drawGraph } from "../graph.ts";
import { typeset } from "../scale.ts";
import { maker } from "./dom.ts";
import { imageOf } from "./picture.ts";

/**
 * Creates the elements for a result's graphs, plots, findings, pictures and tables. `width` is the width of plots in
 * pixels.
 */
export function drawResult(document: Document, result: Result, width: number): HTMLElement[] {
  const { findings, plots, pictures = [], tables = [], graphs = [] } = result;
  const make = maker(document);
  const section = (name: string, title: string, ...content: Element[]): HTMLElement[] =>
    content.length ? [make("section", { class: name, "aria-label": title }, make("h2", {}, title), ...content)] : [];
  return [
    ...section("graphs", "Graphs", ...graphs.map((graph) => drawGraph(document, graph, { width }))),
    ...section("plots", "Plots", ...plots.map((plot) => drawFigure(document, plot, width))),
    ...section("findings", "Findings", ...(findings.length ? [drawFindings(document, findings)] : [])),
    ...section("pictures", "Pictures", ...drawGallery(document, pictures)),
    ...section("tables", "Tables", ...tables.map((table) => drawTable(document, table))),
  ];
}

function drawFigure(document: Document, plot: Plot, width: number): HTMLElement {
  const make = maker(document);
  const height = Math.round(Math.min(430, Math.max(260, 0.65 * width)));
  return make(
    "figure",
    { class: "plot-figure" },
    make("figcaption", {}, plot.title),
    drawPlot(document, plot, { width, height }),
  );
}

export function drawFindings(document: Document, findings: readonly Finding[]): HTMLElement {
  const make = maker(document);
  return make(
    "ul",
    {},
    ...findings.map((finding) => {
      const agrees = holds(finding);
      return make(
        "li",
        { class: agrees ? "holds" : "fails" },
        make(
          "span",
          { class: "mark", role: "img", "aria-label": agrees ? "agrees with theory:" : "disagrees with theory:" },
          agrees ? "✓" : "✗",
        ),
        make("span", { class: "text" }, typeset(finding.text)),
        make("span", { class: "measured" }, typeset(showNumber(finding.measured))),
        make(
          "span",
          { class: "theory" },
          make("span", { class: "expected" }, typeset(`theory: ${showExpectation(finding.expected)}`)),
          ` — ${finding.theory}`,
        ),
      );
    }),
  );
}

/** Draws all pictures, with a key to their colours if they can show negative numbers. */
export function drawGallery(document: Document, pictures: readonly Picture[]): HTMLElement[] {
  const make = maker(document);
  const all = pictures.map((picture) => drawPicture(document, picture));
  const hasColours = pictures.some(({ colours }) => colours === "diverging");
  return hasColours ? [...all, make("p", { class: "key" }, "negative", make("span", {}), "positive")] : all;
}

function drawPicture(document: Document, picture: Picture): HTMLElement {
  const make = maker(document);
  const { title, width, height, colours, cell } = picture;
  const kind = colours === "grey" ? "light to dark, 0 to 1" : "blue below zero, orange above";
  const alt = `${title}: ${width} by ${height} values, ${kind}`;
  return make(
    "figure",
    { class: cell ? "picture cells" : "picture" },
    make("img", { src: imageOf(picture), alt, width, height, style: cell ? `width:${cell * width}px` : false }),
    make("figcaption", {}, title),
  );
}

export function drawTable(document: Document, { title, columns, rows }: Table): HTMLElement {
  const make = maker(document);
  // In a column with numbers, align dashes and bounds such as "> 300" like the numbers.
  const classes = columns.map((_, i) => (rows.some((row) => typeof row[i] === "number") ? "number" : ""));
  const cell = (value: string | number, i: number): HTMLElement =>
    make("td", { class: classes[i]! }, typeset(typeof value === "number" ? showNumber(value) : value));
  // An empty corner cell is not a header.
  const head = columns.map((column, i) =>
    column ? make("th", { scope: "col", class: classes[i]! }, column) : make("td", {}),
  );
  const table = make(
    "table",
    {},
    make("caption", {}, title),
    make("thead", {}, make("tr", {}, ...head)),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map(cell)))),
  );
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": title }, table);
}
