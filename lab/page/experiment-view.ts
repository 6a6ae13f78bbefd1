/** The view of an experiment: its claim, parameters, results and source code. */
import { type AnyExperiment, type Parameters, type Result, valuesOf } from "../experiment.ts";
import { maker } from "../view/dom.ts";
import { drawHeading, drawResult } from "../view/result.ts";
import { hashOf } from "./address.ts";
import { drawControls, type Values } from "./controls.ts";
import { Runner } from "./runner.ts";
import { newStatus } from "./status.ts";
import type { View } from "./view.ts";

const make = maker(document);
const sources = import.meta.glob<string>("../experiments/*.ts", { query: "?raw", import: "default" });
/** How long the parameters must stay unchanged before the experiment runs again, in milliseconds. */
const REST = 120;

/** `given` holds the parameters from the address. If one is invalid, the view reports it and uses the defaults. */
export function showExperiment(experiment: AnyExperiment, given: Readonly<Record<string, string>>): View {
  const { name, parameters } = experiment;
  const runner = new Runner();
  const results = make("div", { class: "results" });
  const first = read(parameters, given);
  let { values } = first;
  let result: Result | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const draw = (): void => {
    if (result) results.replaceChildren(...drawResult(document, result, plotWidth(results)));
  };
  const status = newStatus({
    label: "progress",
    onStop() {
      clearTimeout(timer);
      runner.close();
      status.end("Stopped");
    },
    again: { text: "Run again", onAgain: () => schedule(values, 0) },
  });
  const run = (): void => {
    history.replaceState(null, "", hashOf(name, parameters, values));
    runner.run(name, values, {
      onProgress: (fraction, what) => status.progress(fraction, what),
      onResult(latest, seconds) {
        result = latest;
        draw();
        results.removeAttribute("aria-busy");
        status.end(`Ran in ${seconds < 1 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(1)} s`}`);
      },
      onError: (message) => status.fail(`The run failed: ${message}`),
    });
  };
  /** Marks the results as outdated, stops the current run, and starts a new one after a delay. */
  const schedule = (changed: Values, rest = REST): void => {
    values = changed;
    clearTimeout(timer);
    runner.stop();
    results.setAttribute("aria-busy", "true");
    status.start("Running");
    timer = setTimeout(run, rest);
  };
  const resized = new ResizeObserver(() => {
    const svg = results.querySelector("svg.plot, .plot-figure svg");
    if (svg && Number(svg.getAttribute("width")) !== plotWidth(results)) draw();
  });
  const element = make(
    "article",
    {},
    drawHeading(document, experiment, "htmlAndMathml"),
    first.problem !== undefined && make("p", { class: "alert", role: "alert" }, first.problem),
    Object.keys(parameters).length > 0 && drawControls(parameters, { values, reset: "Reset", onChange: schedule }),
    status.element,
    results,
    drawSource(experiment),
  );
  resized.observe(results);
  schedule(values, 0);
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

/** The values in the address; if one is invalid, the defaults and the problem. */
function read(parameters: Parameters, given: Readonly<Record<string, string>>): { values: Values; problem?: string } {
  try {
    return { values: valuesOf(parameters, given) };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return { values: valuesOf(parameters), problem: `The address has an invalid value: ${error.message}` };
  }
}

/** The width of a plot. It matches the frame, so that text stays readable on a phone. */
const plotWidth = (results: HTMLElement): number =>
  Math.min(900, Math.max(240, Math.floor(results.clientWidth || 640) - 34));

/** The experiment's source file, loaded on demand. */
function drawSource({ name, functions }: AnyExperiment): HTMLElement {
  const code = make("code", {});
  const uses = functions.length ? make("p", {}, `It uses ${functions.join(", ")} from nabla/gradients.`) : undefined;
  const details = make(
    "details",
    { class: "source" },
    make("summary", {}, "Source code"),
    uses,
    make("pre", { tabindex: 0, role: "region", "aria-label": `${name}.ts` }, code),
  );
  details.addEventListener("toggle", async () => {
    if (code.textContent === "") code.textContent = (await sources[`../experiments/${name}.ts`]?.()) ?? "";
  });
  return details;
}
