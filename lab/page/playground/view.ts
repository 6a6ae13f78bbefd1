/** The playground: a network that learns to read digits while the user watches, and reads what the user draws. */
import "./playground.css";
import { SIDE } from "../../../cli/mnist/packed.ts";
import { drawPlot } from "../../draw.ts";
import { type Picture, type Plot, valuesOf } from "../../experiment.ts";
import { maker } from "../../view/dom.ts";
import { imageOf } from "../../view/picture.ts";
import { drawControls } from "../controls.ts";
import { newStatus } from "../status.ts";
import type { View } from "../view.ts";
import type { Burst, Reading } from "./network.ts";
import { newPad } from "./pad.ts";
import { preprocess } from "./preprocess.ts";
import type { Answer, Request } from "./worker.ts";

const make = maker(document);
const TITLE = "Draw a digit";
const RATE = {
  lr: { kind: "number", label: "learning rate", min: 1e-4, max: 0.1, default: 5e-3, scale: "log" },
} as const;

export function showPlayground(): View {
  const training = drawTraining(() => ask({ kind: "stop" }));
  const answers = drawAnswers();
  let worker: Worker | undefined;
  let drawing: Float32Array | undefined;
  let waiting = false;

  const ask = (request: Request): void => worker?.postMessage(request);
  /** Whether there is new ink since the last request for a reading. */
  let isStale = false;
  /** Requests a reading, one at a time. If there is new ink by the time it arrives, requests another. */
  const read = (): void => {
    isStale = waiting && drawing !== undefined;
    if (!drawing) answers.clear();
    else if (!waiting) {
      waiting = true;
      ask({ kind: "read", drawing });
    }
  };
  const pad = newPad(() => {
    drawing = preprocess(pad.ink());
    read();
  });
  const start = (lr: number): void => {
    worker?.terminate();
    waiting = false;
    training.clear();
    const own = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    worker = own;
    own.onmessage = ({ data }: MessageEvent<Answer>) => {
      if (own !== worker) return;
      if (data.kind === "burst") {
        training.add(data.burst);
        read();
      } else if (data.kind === "reading") {
        waiting = false;
        if (drawing) answers.show(data.reading, data.drawing);
        if (isStale) read();
      } else if (data.kind === "example") {
        drawing = data.drawing;
        pad.show(drawing);
        read();
      } else if (data.of === "train") training.fail(data.message);
      else {
        if (data.of === "read") waiting = false;
        answers.fail(`${data.of === "read" ? "Reading" : "Loading an example"} failed: ${data.message}`);
      }
    };
    const fail = (message: string): void => {
      if (own !== worker) return;
      waiting = false;
      training.fail(message);
    };
    own.onerror = ({ message }) => fail(message || "The worker could not start.");
    own.onmessageerror = () => fail("The worker's message could not be read.");
    ask({ kind: "train", lr });
  };
  const clear = make("button", { type: "button" }, "Clear");
  clear.addEventListener("click", () => {
    pad.clear();
    drawing = undefined;
    read();
  });
  const examples = Array.from({ length: 10 }, (_, digit) => {
    const button = make(
      "button",
      { type: "button", "data-digit": digit, "aria-label": `An example of ${digit}` },
      String(digit),
    );
    button.addEventListener("click", () => ask({ kind: "example", digit }));
    return button;
  });
  let lr: number = RATE.lr.default;
  const again = make("button", { type: "button" }, "Train again");
  again.addEventListener("click", () => start(lr));
  const controls = drawControls(RATE, {
    values: valuesOf(RATE),
    reset: "Default rate",
    onChange: (values) => void (lr = Number(values.lr)),
  });
  controls.append(again);
  const element = make(
    "article",
    {},
    make(
      "header",
      { class: "heading" },
      make("p", { class: "section" }, "Playground"),
      make("h1", { tabindex: -1 }, TITLE),
      make(
        "p",
        { class: "claim" },
        "On this page, a convolutional network with 9,226 parameters learns to read from 6,000 handwritten digits. Draw while it learns. It shows its answer, and the gradient of the answer shows which pixels matter.",
      ),
    ),
    make(
      "div",
      { class: "playground" },
      make(
        "section",
        { "aria-label": "Drawing" },
        make("h2", {}, "Draw here"),
        pad.element,
        make("div", { class: "buttons" }, clear),
        make("p", { class: "section" }, "Or load a digit that is not in the training data:"),
        make("div", { class: "buttons examples", role: "group", "aria-label": "Examples" }, ...examples),
      ),
      answers.element,
    ),
    training.element,
    controls,
  );
  start(lr);
  return {
    title: TITLE,
    element,
    close() {
      worker?.terminate();
      training.close();
    },
  };
}

/** The ten probabilities, the network's input, and the pixels that its answer depends on. */
function drawAnswers() {
  const heading = make("h2", {});
  const bars = Array.from({ length: 10 }, (_, digit) => {
    const meter = make("meter", { min: 0, max: 1, "aria-label": `probability of ${digit}` });
    const value = make("span", { class: "value" });
    return { meter, value, item: make("li", {}, make("span", {}, String(digit)), meter, value) };
  });
  const seen = make("div", { class: "seen" });
  const failure = make("p", { role: "alert" });
  const list = make("ul", { class: "probabilities" }, ...bars.map(({ item }) => item));
  const set = (probabilities: readonly number[] | undefined): void => {
    const most = Math.max(...(probabilities ?? [1]));
    bars.forEach(({ meter, value, item }, digit) => {
      const p = probabilities?.[digit];
      meter.value = p ?? 0;
      value.textContent = p === undefined ? "–" : `${(100 * p).toFixed(1)} %`;
      item.className = p === most ? "likeliest" : "";
    });
  };
  const clear = (): void => {
    heading.textContent = "It reads nothing yet";
    failure.textContent = "";
    set(undefined);
    seen.replaceChildren();
  };
  clear();
  return {
    element: make(
      "section",
      { "aria-label": "The network's answer", class: "answers" },
      make("div", { role: "status" }, heading),
      failure,
      list,
      seen,
    ),
    clear,
    fail(message: string): void {
      if (failure.textContent !== message) failure.textContent = message;
    },
    show({ probabilities, saliency }: Reading, drawing: Float32Array): void {
      const best = probabilities.indexOf(Math.max(...probabilities));
      const answer = best < 0 ? "It cannot tell" : `It reads ${best}`; // if training ended in NaN
      failure.textContent = "";
      if (heading.textContent !== answer) heading.textContent = answer; // so that screen readers announce it once
      set(probabilities);
      const most = Math.max(...saliency) || 1;
      seen.replaceChildren(
        drawPicture("the network's input", `The drawing in ${SIDE} by ${SIDE} pixels`, [...drawing]),
        drawPicture(
          "|∂ score / ∂ pixel|",
          `How much each pixel affects the score of ${best}: darker pixels affect it more`,
          saliency.map((s) => s / most),
        ),
      );
    },
  };
}

function drawPicture(caption: string, alt: string, values: readonly number[]): HTMLElement {
  const picture: Picture = { title: caption, width: SIDE, height: SIDE, values, colours: "grey" };
  return make(
    "figure",
    { class: "picture" },
    make("img", { src: imageOf(picture), alt }),
    make("figcaption", {}, caption),
  );
}

/** The training curves, and a progress line. */
function drawTraining(onStop: () => void) {
  let running = false;
  const status = newStatus({
    label: "training",
    onStop() {
      onStop();
      running = false;
      status.end(`Stopped at step ${bursts.at(-1)?.step ?? 0}${accuracyOf(bursts)}`);
    },
  });
  const plots = make("div", { class: "training" });
  const element = make("section", { "aria-label": "Training" }, status.element, plots);
  let bursts: Burst[] = [];
  let started = 0;
  let drawn = true;
  let width = 0;
  /** Draws each plot at the width of its frame. */
  const draw = (): void => {
    drawn = true;
    width = plots.clientWidth;
    if (!bursts.length) return;
    const figures = curves(bursts).map((plot) => ({ plot, frame: newFrame(plot.title) }));
    plots.replaceChildren(...figures.map(({ frame }) => frame));
    for (const { plot, frame } of figures)
      frame.append(drawPlot(document, plot, { width: Math.max(200, frame.clientWidth - 34), height: 220 }));
  };
  const resized = new ResizeObserver(() => {
    if (drawn && plots.clientWidth !== width) draw();
  });
  resized.observe(plots);
  return {
    element,
    /** The old curves stay until there are new ones, so that the page does not jump. */
    clear(): void {
      bursts = [];
      started = performance.now();
      running = true;
      plots.setAttribute("aria-busy", "true");
      status.start("Training");
      status.progress(undefined, "loading the digits");
    },
    add(burst: Burst): void {
      if (!running) return;
      bursts.push(burst);
      const { step, steps } = burst;
      running = step < steps;
      if (running) status.progress(step / steps, `step ${step} of ${steps}${accuracyOf(bursts)}`);
      else status.end(`Trained in ${((performance.now() - started) / 1000).toFixed(1)} s${accuracyOf(bursts)}`);
      plots.removeAttribute("aria-busy");
      if (drawn) requestAnimationFrame(draw);
      drawn = false;
    },
    fail(message: string): void {
      running = false;
      status.fail(`Training failed: ${message}`);
    },
    close: () => resized.disconnect(),
  };
}

/** Chance is one in ten. A network with at most this accuracy after a fifth of its training is not learning. */
const CHANCE = 0.2;

/** The accuracy of the last test. */
function accuracyOf(bursts: readonly Burst[]): string {
  const last = bursts.findLast(({ accuracy }) => accuracy !== undefined);
  if (last?.accuracy === undefined) return "";
  const hint =
    last.accuracy <= CHANCE && last.step > last.steps / 5
      ? ". That is no better than chance: the learning rate may be too high"
      : "";
  return `: it reads ${(100 * last.accuracy).toFixed(1)} % of 1,000 test digits${hint}`;
}

const newFrame = (title: string): HTMLElement =>
  make("figure", { class: "plot-figure" }, make("figcaption", {}, title));

function curves(bursts: readonly Burst[]): Plot[] {
  const x = { label: "step" };
  const layers = Object.keys(bursts[0]?.norms ?? {});
  const tested = bursts.flatMap(({ step, accuracy }) =>
    accuracy === undefined ? [] : [[step, 100 * accuracy] as const],
  );
  return [
    {
      title: "Loss",
      x,
      y: { label: "cross-entropy", scale: "log" },
      series: [{ name: "loss", points: bursts.map(({ step, loss }) => [step, loss]) }],
    },
    { title: "Test accuracy", x, y: { label: "% of 1,000" }, series: [{ name: "accuracy", points: tested }] },
    {
      title: "Gradient norms",
      x,
      y: { label: "‖∂L/∂W‖", scale: "log" },
      series: layers.map((name) => ({ name, points: bursts.map(({ step, norms }) => [step, norms[name] ?? 0]) })),
    },
  ];
}
