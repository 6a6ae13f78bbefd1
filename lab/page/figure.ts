/**
 * A live figure: shows an experiment's plots with their handles, its parameters and its findings, and runs the
 * experiment.
 */
import { type Finding, holds, type Result, valuesOf } from "../experiment.ts";
import { maker } from "../view/dom.ts";
import { drawFindings } from "../view/result.ts";
import { hashOf } from "./address.ts";
import { drawControls, type Values } from "./controls.ts";
import type { Listener, Runner } from "./runner.ts";
import { openSource } from "./source.ts";
import { newStage } from "./stage.ts";
import type { Description } from "./worker.ts";

const make = maker(document);
/**
 * How long parameters must stay unchanged, in milliseconds, before the address shows them. Browsers limit how often a
 * page may change its address.
 */
const REST = 400;
/** The time, in milliseconds, after which a run dims the figure. Shorter runs, such as those during a drag, do not dim it. */
const PATIENCE = 250;

export interface Figure {
  /** Sets parameters from the address. If a value is invalid, shows the error, and uses the defaults. */
  set(given: Readonly<Record<string, string>>): void;
  /** Runs the experiment if it has no result for the current values. */
  resume(): void;
  /** Ends the current run, because the figure is no longer visible. */
  pause(): void;
}

export function newFigure(element: HTMLElement, description: Description, runner: Runner): Figure {
  const { name, title, parameters } = description;
  let values: Values = valuesOf(parameters);
  /** Whether the result for the current values is shown or on its way. */
  let isCurrent = false;
  /** Whether the reader has paused training. Changing parameters does not resume training. */
  let isPaused = false;
  /** Whether anything has been drawn yet. */
  let hasDrawn = false;
  let measured: readonly Finding[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  let dimming: ReturnType<typeof setTimeout> | undefined;

  const findings = make("details", { class: "findings" }, make("summary", {}, "Findings"), make("div", {}));
  const bar = make("progress", { max: 1, "aria-label": "progress" });
  const note = make("p", { class: "note" });
  const retry = make("button", { type: "button" }, "Try again");
  const source = make("button", { type: "button", class: "plain" }, "Source code");
  const alert = make("p", { class: "alert", role: "alert" });
  const problem = make("p", { class: "alert", role: "alert" });
  const body = element.querySelector<HTMLElement>(".body")!;

  /** If the figure waits for a run, dims the figure after PATIENCE; otherwise, ends the dimming. */
  const dim = (waits: boolean): void => {
    if (waits) dimming ??= setTimeout(() => body.classList.add("slow"), PATIENCE);
    else {
      clearTimeout(dimming);
      dimming = undefined;
      body.classList.remove("slow");
    }
  };
  /**
   * Shows the state of the run. Screen readers announce the end of long runs only, because every key press starts a
   * short run.
   */
  const report = (state: { busy?: boolean; failure?: string; end?: string; isLong?: boolean }): void => {
    if (state.busy) body.setAttribute("aria-busy", "true");
    else {
      body.removeAttribute("aria-busy");
      bar.hidden = true;
    }
    dim(state.busy === true);
    body.toggleAttribute("data-training", false);
    isCurrent = state.failure === undefined;
    alert.textContent = state.failure ?? "";
    retry.hidden = state.failure === undefined;
    if (state.isLong) note.setAttribute("role", "status");
    else note.removeAttribute("role");
    if (!state.busy) note.textContent = state.end ?? "";
  };
  /** @param steps the number of training steps after which to pause */
  const run = (steps = isPaused ? 0 : undefined): void => {
    report({ busy: true });
    if (!hasDrawn) note.textContent = "Computing …";
    const listener: Listener = {
      onProgress(fraction, what) {
        bar.hidden = false;
        bar.value = fraction;
        note.textContent = what;
      },
      onDrawing(drawing, fraction, pauses) {
        if (pauses) report({ end: `Paused after ${Math.round(100 * fraction)}% of the training` });
        else {
          dim(false);
          body.toggleAttribute("data-training", true);
        }
        bar.hidden = pauses;
        bar.value = fraction;
        hasDrawn = true;
        stage.show(drawing, pauses ? "paused" : "running");
        // Findings exist only at the end of a run.
        findings.hidden = true;
      },
      onResult(latest, seconds, isLatest) {
        if (!isLatest) {
          dim(false);
          dim(true);
          show(latest);
          return;
        }
        isPaused = false;
        const end = `Ran in ${seconds < 1 ? `${Math.round(1000 * seconds)} ms` : `${seconds.toFixed(1)} s`}`;
        report({ end, isLong: seconds > 2 });
        show(latest);
      },
      onError(message) {
        isPaused = false;
        report({ failure: `The run failed: ${message}` });
      },
    };
    void runner.run(description, values, listener, steps);
  };
  const show = (result: Result): void => {
    hasDrawn = true;
    stage.show(result);
    findings.hidden = !result.findings.length;
    findings.firstElementChild!.replaceChildren(...summarize(result.findings));
    measured = result.findings;
    list();
  };
  /** Draws the list of findings if it is open. */
  const list = (): void => {
    if (findings.open) findings.lastElementChild!.replaceChildren(drawFindings(document, measured));
  };
  const change = (changed: Values): void => {
    values = changed;
    problem.textContent = "";
    run();
    clearTimeout(timer);
    timer = setTimeout(() => history.replaceState(null, "", hashOf(`figure-${name}`, parameters, values)), REST);
  };
  const runPaused = (paused: boolean, steps?: number): void => {
    isPaused = paused;
    run(steps);
  };
  const stage = newStage(
    parameters,
    (changed) => {
      change({ ...values, ...changed });
      controls?.show(values);
    },
    (ignores) => controls?.disable(ignores),
    { pause: () => runPaused(true), resume: () => runPaused(false), step: () => runPaused(true, 1) },
  );
  const controls = Object.keys(parameters).length
    ? drawControls(parameters, {
        prefix: `${name}-`,
        label: `Parameters of ${title}`,
        values,
        reset: "Reset",
        onChange: change,
      })
    : undefined;
  findings.addEventListener("toggle", list);
  retry.addEventListener("click", () => run());
  // If the reader follows a link, cancel the pending address update, which would overwrite the link's hash.
  addEventListener("hashchange", () => clearTimeout(timer));
  source.addEventListener("click", () => void openSource(description));
  bar.hidden = true;
  retry.hidden = true;
  findings.hidden = true;
  const status = make("div", { class: "status" }, findings, bar, note, alert, retry, source);
  body.replaceChildren(problem, stage.element, ...(controls ? [controls] : []), status);
  return {
    set(given) {
      problem.textContent = "";
      try {
        values = valuesOf(parameters, given);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        values = valuesOf(parameters);
        problem.textContent = `The address has an invalid value: ${error.message}`;
      }
      controls?.show(values);
      run();
    },
    resume: () => void (isCurrent || run()),
    pause() {
      if (!body.hasAttribute("aria-busy")) return;
      runner.cancel(name);
      isCurrent = false;
    },
  };
}

/** Sums up the findings, such as "✓ 3 of 3 checks agree with theory". */
function summarize(findings: readonly Finding[]): Node[] {
  const agree = findings.filter(holds).length;
  const all = agree === findings.length;
  const mark = make("span", { class: all ? "mark good" : "mark bad", "aria-hidden": "true" }, all ? "✓" : "✗");
  return [mark, document.createTextNode(` ${agree} of ${findings.length} checks agree with theory`)];
}
