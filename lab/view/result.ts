/** Elements for an experiment and its result. The page shows them, and the command writes them to a file. */
import katex from "katex";
import { drawPlot } from "../draw.ts";
import {
  type AnyExperiment,
  type Finding,
  holds,
  type Picture,
  type Plot,
  type Result,
  showExpectation,
  showNumber,
  type Table,
} from "../experiment.ts";
import { maker } from "./dom.ts";
import { imageOf } from "./picture.ts";

/** Title, section, claim and formula. "mathml" needs no fonts; "htmlAndMathml" needs KaTeX's style sheet. */
export function drawHeading(
  document: Document,
  { title, section, claim, formula }: AnyExperiment,
  output: "mathml" | "htmlAndMathml",
): HTMLElement {
  const make = maker(document);
  const mathematics = make("div", { class: "formula", tabindex: 0, role: "region", "aria-label": "Formula" });
  mathematics.innerHTML = katex.renderToString(formula, { displayMode: true, output, throwOnError: false });
  return make(
    "header",
    { class: "heading" },
    make("p", { class: "section" }, section),
    make("h1", { tabindex: -1 }, title),
    make("p", { class: "claim" }, claim),
    mathematics,
  );
}

/** Findings, plots, pictures and tables. `width` is the width of plots in pixels. */
export function drawResult(document: Document, result: Result, width: number): HTMLElement[] {
  const { findings, plots, pictures = [], tables = [] } = result;
  const make = maker(document);
  const section = (name: string, title: string, ...content: HTMLElement[]): HTMLElement[] =>
    content.length ? [make("section", { class: name, "aria-label": title }, make("h2", {}, title), ...content)] : [];
  return [
    ...section("plots", "Plots", ...plots.map((plot) => drawFigure(document, plot, width))),
    ...section("findings", "Findings", ...(findings.length ? [drawFindings(document, findings)] : [])),
    ...section("pictures", "Pictures", ...pictures.map((picture) => drawPicture(document, picture))),
    ...section("tables", "Tables", ...tables.map((table) => drawTable(document, table))),
  ];
}

function drawFigure(document: Document, plot: Plot, width: number): HTMLElement {
  const make = maker(document);
  const height = Math.round(Math.min(400, Math.max(240, 0.62 * width)));
  return make(
    "figure",
    { class: "plot-figure" },
    make("figcaption", {}, plot.title),
    drawPlot(document, plot, { width, height }),
  );
}

function drawFindings(document: Document, findings: readonly Finding[]): HTMLElement {
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
        make("span", { class: "text" }, finding.text),
        make("span", { class: "measured" }, showNumber(finding.measured)),
        make(
          "span",
          { class: "theory" },
          make("span", { class: "expected" }, `theory: ${showExpectation(finding.expected)}`),
          ` — ${finding.theory}`,
        ),
      );
    }),
  );
}

function drawPicture(document: Document, picture: Picture): HTMLElement {
  const make = maker(document);
  const { title, width, height, colours } = picture;
  const kind = colours === "grey" ? "light to dark, 0 to 1" : "blue below zero, orange above";
  const alt = `${title}: ${width} by ${height} values, ${kind}`;
  return make(
    "figure",
    { class: "picture" },
    make("img", { src: imageOf(picture), alt, width, height }),
    make("figcaption", {}, title),
  );
}

function drawTable(document: Document, { title, columns, rows }: Table): HTMLElement {
  const make = maker(document);
  const cell = (value: string | number): HTMLElement =>
    typeof value === "number" ? make("td", { class: "number" }, showNumber(value)) : make("td", {}, value);
  // The corner cell is not a header.
  const head = columns.map((column, i) =>
    column
      ? make("th", { scope: "col", class: typeof rows[0]?.[i] === "number" ? "number" : "" }, column)
      : make("td", {}),
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
