/**
 * The playground: the user builds a network, watches the gradient reach its layers while it learns to read digits, lets
 * it read a drawing, and attacks the drawing. The network runs in a worker.
 */
import "./playground.css";
import { maker } from "../../view/dom.ts";
import { nameWorker, supervise } from "../liveness.ts";
import { newAttack, newProbabilities, newSaliency } from "./answers.ts";
import { newControls } from "./controls.ts";
import { newCurves } from "./curves.ts";
import { newGradients } from "./gradients.ts";
import { newPad } from "./pad.ts";
import { preprocess } from "./preprocess.ts";
import { PRESETS, QUESTION, type Question, type Settings } from "./settings.ts";
import type { Message, Request, State } from "./worker.ts";

const make = maker(document);
/** The digit on the pad at the start. */
const FIRST = 2;

/** A network's worker. */
interface Network {
  ask(request: Request): void;
  end(): void;
}

/** Fills the element with the playground. `close` stops the network and releases everything. */
export function mountPlayground(element: HTMLElement): { close(): void } {
  let worker: Network | undefined;
  /** Sends a request. If the last worker failed, first starts another one with a new network of the same settings. */
  const ask = (request: Request): void => {
    if (!worker) start(controls.settings);
    worker!.ask(request);
  };
  let run = 0;
  /**
   * The digit whose example has been requested. Drawing on the pad, or clearing it, before the example arrives resets
   * this.
   */
  let awaited: number | undefined;
  /** The ID of the latest request for an example. */
  let requests = 0;
  /** Whether the user wants the network to train. Training pauses while the playground is outside the window. */
  let isTraining = false;
  let isVisible = true;
  let drawing: Float32Array | undefined;
  let question: Question = QUESTION;
  /**
   * Whether the page is waiting for an explanation, and whether the drawing or the question has changed since it was
   * requested.
   */
  let isReading = false;
  let isStale = false;

  /**
   * Requests an explanation of the drawing, unless another request is pending. If the drawing or the question has
   * changed when the explanation arrives, requests another.
   */
  const read = (): void => {
    isStale = isReading;
    if (!drawing) for (const panel of panels) panel.clear();
    else if (!worker) start(controls.settings);
    else if (!isReading) {
      isReading = true;
      ask({ kind: "read", drawing, question });
    }
  };
  const start = (settings: Settings): void => {
    controls.set(settings);
    curves.clear();
    gradients.clear();
    const isNew = !worker;
    worker ??= newNetwork();
    ask({ kind: "start", run: ++run, settings });
    if (isNew && awaited !== undefined) showExample(awaited);
    if (isTraining && isVisible) ask({ kind: "train" });
    read();
  };
  const visibility = new IntersectionObserver((entries) => {
    isVisible = entries.at(-1)!.isIntersecting;
    if (isTraining) ask({ kind: isVisible ? "train" : "pause" });
  });
  const controls = newControls(PRESETS.healthy!, {
    onTrain() {
      isTraining = !isTraining;
      controls.showTraining(isTraining);
      ask({ kind: isTraining ? "train" : "pause" });
    },
    onStep() {
      isTraining = false;
      controls.showTraining(false);
      ask({ kind: "step" });
    },
    onRestart: () => start(controls.settings),
    onNetwork: start,
    onTune: ({ optimizer, lr }) => ask({ kind: "tune", optimizer, lr }),
  });
  const gradients = newGradients((part) => start({ ...controls.settings, ...part }));
  const curves = newCurves();
  const onQuestion = (change: Partial<Question>): void => {
    question = { ...question, ...change };
    read();
  };
  const panels = [newProbabilities(), newSaliency(onQuestion), newAttack(onQuestion)] as const;
  const pad = newPad(() => {
    awaited = undefined;
    drawing = preprocess(pad.ink());
    read();
  });

  const showState = (state: State): void => {
    if (state.run !== run) return;
    const { step, accuracy, isDone, diagnosis } = state;
    if (isDone || diagnosis.kind === "diverged") isTraining = false;
    controls.showState(
      isTraining,
      `step ${step.toLocaleString("en")}${isDone ? ", after 40 passes" : ""}`,
      `test accuracy ${(100 * accuracy).toFixed(1)} %`,
    );
    curves.add(state);
    gradients.show(state.layers, diagnosis);
    read();
  };
  const fail = (reason: string): void => {
    worker?.end();
    worker = undefined;
    isReading = false;
    isTraining = false;
    controls.fail(
      `${reason} Your drawing and settings are kept. Press Train, Step or Restart to begin with a new network.`,
    );
  };
  const receive = (message: Message): void => {
    if (message.kind === "state") showState(message.state);
    else if (message.kind === "explanation") {
      isReading = false;
      if (drawing) for (const panel of panels) panel.show(message.explanation, message.drawing);
      if (isStale) read();
    } else if (message.kind === "error") fail(message.message);
    else if (awaited !== undefined && message.request === requests) {
      awaited = undefined;
      drawing = message.drawing;
      pad.show(drawing);
      read();
    }
  };
  function newNetwork(): Network {
    const name = nameWorker();
    const program = new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name });
    const network = { ask: (request: Request) => program.postMessage(request), end: supervise(program, name, fail) };
    // Messages may still arrive from a worker that has failed, so ignore them.
    program.onmessage = ({ data }: MessageEvent<Message>) => worker === network && receive(data);
    return network;
  }
  const showExample = (digit: number): void => {
    awaited = digit;
    if (worker) ask({ kind: "example", digit, request: ++requests });
    else start(controls.settings);
  };

  const clear = make("button", { type: "button", class: "pg-clear" }, "Clear");
  clear.addEventListener("click", () => {
    awaited = undefined;
    pad.clear();
    drawing = undefined;
    read();
  });
  const examples = Array.from({ length: 10 }, (_, digit) => {
    const label = `A test digit: ${digit}`;
    const button = make("button", { type: "button", "data-digit": digit, "aria-label": label }, String(digit));
    button.addEventListener("click", () => showExample(digit));
    return button;
  });
  const draw = make(
    "section",
    { class: "pg-draw", "aria-label": "Drawing" },
    make("h3", {}, "Draw a digit"),
    pad.element,
    make("p", { class: "pg-hint" }, "Or choose a test digit:"),
  );
  const choice = make("div", { class: "pg-examples", role: "group", "aria-label": "Test digits" }, ...examples, clear);
  const root = make(
    "div",
    { class: "playground" },
    make(
      "div",
      { class: "pg-columns" },
      make("div", { class: "pg-network" }, controls.element, gradients.element, curves.element),
      make(
        "div",
        { class: "pg-reading" },
        make("div", { class: "pg-read" }, draw, panels[0].element, choice, panels[1].element),
        panels[2].element,
      ),
    ),
  );
  element.replaceChildren(root);
  visibility.observe(root);
  showExample(FIRST);
  return {
    close() {
      worker?.end();
      visibility.disconnect();
      gradients.close();
      curves.close();
      root.remove();
    },
  };
}
