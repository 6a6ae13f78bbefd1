/** The files that the command writes: the plots of a result as SVG, or the whole result as one HTML page. */
import katex from "katex";
import { parseHTML } from "linkedom";
import { drawPlot } from "../lab/draw.ts";
import type { AnyExperiment, Result } from "../lab/experiment.ts";
import { drawGraph } from "../lab/graph.ts";
import { maker } from "../lab/view/dom.ts";
import { drawResult } from "../lab/view/result.ts";
import css from "../lab/view/view.css?raw";

const [WIDTH, HEIGHT, TITLE] = [720, 440, 34];
const THEMES = `svg{color:#1c2128;background:#fff}@media(prefers-color-scheme:dark){svg{color:#e6e8eb;background:#14171c}}`;

/** A document for drawing without a browser. The cast is needed because linkedom's types declare only a part of Document. */
const newDocument = (): Document =>
  parseHTML("<!doctype html><html><head></head><body></body></html>").document as unknown as Document;

/**
 * Stacks all graphs and plots in one SVG, which adapts to the reader's light or dark mode.
 * @throws Error if the result has neither graphs nor plots
 */
export function svgFile({ name, title }: AnyExperiment, { plots, graphs = [] }: Result): string {
  const document = newDocument();
  const drawings = [
    ...graphs.map((graph) => ({ heading: graph.title, svg: drawGraph(document, graph, { width: WIDTH }) })),
    ...plots.map((plot) => ({ heading: plot.title, svg: drawPlot(document, plot, { width: WIDTH, height: HEIGHT }) })),
  ];
  if (!drawings.length) throw new Error(`${name} has no plots, so --svg cannot write any. Use --html.`);
  let top = 0;
  const parts = drawings.map(({ heading: words, svg }) => {
    svg.setAttribute("x", "16");
    svg.setAttribute("y", String(top + TITLE));
    const heading = `<text x="16" y="${top + 24}" font-size="16" font-weight="600" fill="currentColor">${escape(words)}</text>`;
    top += TITLE + Number(svg.getAttribute("height")) + 16;
    return heading + svg.outerHTML;
  });
  const size = `width="${WIDTH + 32}" height="${top}" viewBox="0 0 ${WIDTH + 32} ${top}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ${size} font-family="system-ui, sans-serif">
<title>${escape(title)}</title><style>${THEMES}</style>
${parts.join("\n")}
</svg>
`;
}

const escape = (text: string): string => text.replace(/[&<>]/g, (character) => `&#${character.charCodeAt(0)};`);

/** The experiment, its parameters and its result as one HTML file. */
export function htmlFile(
  experiment: AnyExperiment,
  values: Readonly<Record<string, string | number>>,
  result: Result,
): string {
  const document = newDocument();
  const parameters = Object.entries(experiment.parameters).map(([key, { label }]) => `${label} = ${values[key]}`);
  const main = document.createElement("main");
  main.append(drawHeading(document, experiment));
  const line = main.appendChild(document.createElement("p"));
  line.className = "section";
  line.textContent = parameters.join(", ");
  main.append(...drawResult(document, result, WIDTH));
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(experiment.title)}</title>
<style>${css}main{max-width:${WIDTH + 64}px;margin:auto;padding:2rem 1rem}</style>
</head>
<body>
${main.outerHTML}
</body>
</html>
`;
}

/** The heading of the page: title, section, claim and formula. */
function drawHeading(document: Document, { title, section, claim, formula }: AnyExperiment): HTMLElement {
  const make = maker(document);
  const mathematics = make("div", { class: "formula", tabindex: 0, role: "region", "aria-label": "Formula" });
  mathematics.innerHTML = katex.renderToString(formula, { displayMode: true, output: "mathml", throwOnError: false });
  return make(
    "header",
    { class: "heading" },
    make("p", { class: "section" }, section),
    make("h1", { tabindex: -1 }, title),
    make("p", { class: "claim" }, claim),
    mathematics,
  );
}
