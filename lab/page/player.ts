/**
 * Replays a plot or a graph step by step, with buttons to play, pause and step, and a slider for the time. During a
 * training run, the buttons control the run.
 */
import { maker } from "../view/dom.ts";

const make = maker(document);
/** How long it takes to play all steps, in milliseconds. */
const DURATION = 5000;

/** The state of a training run that has not ended. */
export type Live = "running" | "paused";
/** The actions of the buttons during a training run. */
export interface LiveActions {
  pause(): void;
  resume(): void;
  step(): void;
}

export interface Player {
  readonly element: HTMLElement;
  /**
   * Shows the player if there is more than one step. If the number of steps has changed, moves to the last step, so
   * that all steps are drawn.
   * @param live the state of the training run
   */
  show(steps: number, live?: Live): void;
  /** The number of steps to draw; undefined to draw all. */
  upTo(): number | undefined;
}

/** @param onChange called after upTo() has changed */
export function newPlayer(onChange: () => void, training: LiveActions): Player {
  const play = make("button", { type: "button" }, "Play");
  const step = make("button", { type: "button" }, "Step");
  const slider = make("input", { type: "range", min: 1, max: 1, step: 1, "aria-label": "steps shown" });
  const element = make("div", { class: "player" }, play, step, slider);
  element.hidden = true;
  let length = 0;
  let at = 0;
  let frame = 0;
  let live: Live | undefined;

  const go = (to: number): void => {
    at = Math.min(length, Math.max(1, to));
    slider.value = String(Math.round(at));
    onChange();
  };
  const stop = (): void => {
    cancelAnimationFrame(frame);
    frame = 0;
    play.textContent = live === undefined ? "Play" : live === "running" ? "Pause" : "Train";
  };
  const start = (): void => {
    play.textContent = "Pause";
    if (at >= length) at = 1;
    let before = performance.now();
    const advance = (now: number): void => {
      go(at + ((now - before) * length) / DURATION);
      before = now;
      if (at < length) frame = requestAnimationFrame(advance);
      else stop();
    };
    frame = requestAnimationFrame(advance);
  };
  play.addEventListener("click", () => {
    if (live === "running") training.pause();
    else if (live === "paused") training.resume();
    else if (frame) stop();
    else start();
  });
  step.addEventListener("click", () => {
    if (live) return training.step();
    stop();
    go(at >= length ? 1 : Math.floor(at) + 1);
  });
  slider.addEventListener("input", () => {
    stop();
    go(slider.valueAsNumber);
  });
  return {
    element,
    show(steps, state) {
      live = state;
      if (live || steps !== length) at = steps;
      length = steps;
      slider.max = String(Math.max(1, length));
      slider.value = String(Math.round(at));
      slider.hidden = live !== undefined;
      element.hidden = !live && length < 2;
      if (element.hidden || !frame || live) stop();
    },
    upTo: () => (at < length ? Math.floor(at) : undefined),
  };
}
