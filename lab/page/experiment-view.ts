/** An experiment on the page: what it claims, what can be turned, what came out, and the code that made it. */
import { type AnyExperiment, type Result, valuesOf } from "../experiment.ts";
import { maker } from "../view/dom.ts";
import { drawHeading, drawResult } from "../view/result.ts";
import { drawControls, type Values } from "./controls.ts";
import { Runner } from "./runner.ts";
import type { View } from "./view.ts";

const make = maker(document);
const sources = import.meta.glob<string>("../experiments/*.ts", { query: "?raw", import: "default" });
/** How long a slider rests before the experiment runs again. */
const REST = 120;

export function showExperiment(experiment: AnyExperiment): View {
  const runner = new Runner();
  const results = make("div", { class: "results" });
  const bar = make("progress", { max: 1, "aria-label": "progress" });
  const words = make("span", { role: "status" });
  const status = make("div", { class: "status" }, bar, words);
  const element = make("article", {}, drawHeading(document, experiment, "htmlAndMathml"));
  let result: Result | undefined;

  const draw = (): void => {
    if (result) results.replaceChildren(...drawResult(document, result, plotWidth(results)));
  };
  const run = (values: Values): void => {
    status.dataset.state = "running";
    bar.removeAttribute("value");
    words.textContent = "Running";
    runner.run(experiment.name, values, {
      onProgress(fraction, what) {
        bar.value = fraction;
        words.textContent = what || "Running";
      },
      onResult(latest, seconds) {
        result = latest;
        draw();
        status.dataset.state = "done";
        words.textContent = `Ran in ${seconds < 1 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(1)} s`}`;
      },
      onError(message) {
        status.dataset.state = "failed";
        words.textContent = `It failed: ${message}`;
      },
    });
  };
  let timer: ReturnType<typeof setTimeout> | undefined;
  const soon = (values: Values): void => {
    clearTimeout(timer);
    timer = setTimeout(() => run(values), REST);
  };
  const resized = new ResizeObserver(() => {
    const svg = results.querySelector("svg.plot, .plot-figure svg");
    if (svg && Number(svg.getAttribute("width")) !== plotWidth(results)) draw();
  });
  if (Object.keys(experiment.parameters).length) element.append(drawControls(experiment.parameters, soon));
  element.append(status, results, drawSource(experiment));
  resized.observe(results);
  run(valuesOf(experiment.parameters));
  return {
    title: experiment.title,
    element,
    close() {
      clearTimeout(timer);
      resized.disconnect();
      runner.close();
    },
  };
}

/** What fits into a figure's frame: drawn at its own size, so that text stays readable on a phone. */
const plotWidth = (results: HTMLElement): number =>
  Math.min(900, Math.max(240, Math.floor(results.clientWidth || 640) - 34));

/** The experiment's own file, loaded when it is asked for. */
function drawSource({ name, functions }: AnyExperiment): HTMLElement {
  const code = make("code", {});
  const shows = functions.length ? make("p", {}, `It shows ${functions.join(", ")} of nabla/gradients.`) : undefined;
  const details = make(
    "details",
    { class: "source" },
    make("summary", {}, "The code that makes it"),
    shows,
    make("pre", { tabindex: 0, role: "region", "aria-label": `${name}.ts` }, code),
  );
  details.addEventListener("toggle", async () => {
    if (code.textContent === "") code.textContent = (await sources[`../experiments/${name}.ts`]?.()) ?? "";
  });
  return details;
}
