/** Draws the loss and the test error by mini-batch, on a log axis. */
import { drawPlot } from "../../draw.ts";
import type { Plot } from "../../experiment.ts";
import { maker } from "../../view/dom.ts";
import type { State } from "./worker.ts";

const make = maker(document);
/** The largest number of points on the loss curve, and the pause between two drawings in milliseconds. */
const POINTS = 150;
const PAUSE = 200;
/** The height of the plot in pixels, including axes and legend. */
const HEIGHT = 212;

export interface Curves {
  readonly element: HTMLElement;
  add(state: State): void;
  clear(): void;
  close(): void;
}

export function newCurves(): Curves {
  const frame = make("div", { class: "pg-frame" });
  const element = make("section", { class: "pg-curves", "aria-label": "Loss and test error" }, frame);
  let losses: number[] = [];
  let errors: [step: number, error: number][] = [];
  let width = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const draw = (): void => {
    timer = undefined;
    width = frame.clientWidth;
    if (width && losses.length + errors.length)
      frame.replaceChildren(drawPlot(document, plotOf(losses, errors), { width, height: HEIGHT }));
  };
  /** Draws after a pause, so that a single drawing shows everything that arrives during the pause. */
  const plan = (): void => void (timer ??= setTimeout(draw, PAUSE));
  const resized = new ResizeObserver(() => {
    if (frame.clientWidth !== width) draw();
  });
  resized.observe(frame);
  return {
    element,
    add({ step, losses: more, accuracy }) {
      losses.push(...more);
      errors.push([step, 1 - accuracy]);
      plan();
    },
    clear() {
      losses = [];
      errors = [];
    },
    close() {
      clearTimeout(timer);
      resized.disconnect();
    },
  };
}

function plotOf(losses: readonly number[], errors: readonly (readonly [number, number])[]): Plot {
  const end = Math.max(10, losses.length);
  const each = Math.ceil(losses.length / POINTS);
  const stride = Math.ceil(errors.length / POINTS);
  return {
    title: "Loss and test error",
    x: { label: "mini-batch" },
    y: { label: "loss, and share of wrong answers", scale: "log" },
    series: [
      { name: "loss", points: meansOf(losses, Math.max(1, each)) },
      { name: "test error", points: errors.filter((_, i) => (errors.length - 1 - i) % stride === 0) },
      {
        name: "loss of guessing",
        style: "reference",
        points: [
          [0, Math.log(10)],
          [end, Math.log(10)],
        ],
      },
    ],
  };
}

/**
 * Splits the losses into groups of `count` and returns a point for each: the middle of the group's steps, and the mean
 * of its losses.
 */
function meansOf(losses: readonly number[], count: number): [number, number][] {
  return Array.from({ length: Math.ceil(losses.length / count) }, (_, i) => {
    const part = losses.slice(i * count, (i + 1) * count);
    return [i * count + (part.length + 1) / 2, part.reduce((a, b) => a + b, 0) / part.length];
  });
}
