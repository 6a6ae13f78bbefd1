/**
 * Creates the network's controls: menus and sliders for its settings, presets, and buttons to train, step and restart.
 */
import { maker } from "../../view/dom.ts";
import { type Field, newMenu, newSlider } from "./fields.ts";
import {
  ACTIVATIONS,
  INIT_LABELS,
  INITS,
  LAYERS,
  OPTIMIZERS,
  PRESETS,
  RATES,
  type Settings,
  USUAL_RATES,
  WIDTHS,
} from "./settings.ts";

const make = maker(document);

export interface Controls {
  readonly element: HTMLElement;
  readonly settings: Settings;
  /** Shows the settings without calling a listener, and hides the last failure. */
  set(settings: Settings): void;
  /** Shows whether the network is training. */
  showTraining(isTraining: boolean): void;
  /** Shows the network's state in words. */
  showState(isTraining: boolean, ...words: string[]): void;
  fail(message: string): void;
}

export interface Listeners {
  /** Called to start training, or to pause it. */
  onTrain(): void;
  onStep(): void;
  onRestart(): void;
  /** Called when a setting that needs a new network has changed. */
  onNetwork(settings: Settings): void;
  /** Called when only the optimizer or the learning rate has changed. */
  onTune(settings: Settings): void;
}

export function newControls(first: Settings, listeners: Listeners): Controls {
  let settings = first;
  const change = (part: Partial<Settings>): void => {
    show({ ...settings, ...part });
    if ("optimizer" in part || "lr" in part) listeners.onTune(settings);
    else listeners.onNetwork(settings);
  };
  const fields: { [K in keyof Settings]: Field<Settings[K]> } = {
    layers: newSlider<number>({
      id: "playground-layers",
      label: "Layers",
      values: LAYERS,
      value: first.layers,
      onChange: (layers) => change({ layers }),
    }),
    width: newSlider<number>({
      id: "playground-width",
      label: "Units",
      values: WIDTHS,
      value: first.width,
      onChange: (width) => change({ width }),
    }),
    activation: newMenu({
      id: "playground-activation",
      label: "Activation",
      values: ACTIVATIONS,
      value: first.activation,
      onChange: (activation) => change({ activation }),
    }),
    init: newMenu({
      id: "playground-init",
      label: "Initialization",
      values: INITS,
      value: first.init,
      show: (init) => INIT_LABELS[init],
      onChange: (init) => change({ init }),
    }),
    optimizer: newMenu({
      id: "playground-optimizer",
      label: "Optimizer",
      values: OPTIMIZERS,
      value: first.optimizer,
      onChange: (optimizer) => change({ optimizer, lr: USUAL_RATES[optimizer] }),
    }),
    lr: newMenu<number>({
      id: "playground-lr",
      label: "Learning rate",
      values: RATES,
      value: first.lr,
      onChange: (lr) => change({ lr }),
    }),
  };
  const presets = Object.entries(PRESETS).map(([name, preset]) => {
    const button = make("button", { type: "button" }, name);
    button.addEventListener("click", () => {
      show(preset);
      listeners.onNetwork(preset);
    });
    return { button, preset };
  });
  function show(to: Settings): void {
    settings = to;
    for (const key of Object.keys(fields) as (keyof Settings)[])
      (fields[key] as Field<Settings[typeof key]>).set(to[key]);
    for (const { button, preset } of presets)
      button.setAttribute("aria-pressed", String(JSON.stringify(preset) === JSON.stringify({ ...preset, ...to })));
  }
  const button = (text: string, onClick: () => void, kind = ""): HTMLButtonElement => {
    const element = make("button", { type: "button", class: kind }, text);
    element.addEventListener("click", onClick);
    return element;
  };
  const train = button("Train", listeners.onTrain, "pg-train");
  const words = make("p", { class: "pg-words" }, make("span", {}, "Loading the digits …"));
  const announcement = make("p", { class: "hidden", role: "status" });
  const failure = make("p", { class: "pg-failure", role: "alert" });
  const element = make(
    "section",
    { class: "pg-controls", "aria-label": "Network" },
    make(
      "div",
      { class: "pg-buttons pg-presets", role: "group", "aria-label": "Examples of networks" },
      ...presets.map((one) => one.button),
    ),
    make("div", { class: "pg-fields" }, ...Object.values(fields).map((field) => field.element)),
    make(
      "div",
      { class: "pg-run" },
      make(
        "div",
        { class: "pg-buttons" },
        train,
        button("Step", listeners.onStep, "pg-step"),
        button("Restart", listeners.onRestart, "pg-restart"),
      ),
      words,
      announcement,
    ),
    failure,
  );
  function showTraining(isTraining: boolean): void {
    const [state, next] = isTraining ? ["Training", "Pause"] : ["Paused", "Train"];
    element.dataset.state = state!.toLowerCase();
    train.textContent = next!;
    if (announcement.textContent !== state) announcement.textContent = state!;
  }
  show(first);
  return {
    element,
    get settings() {
      return settings;
    },
    set(to) {
      show(to);
      failure.textContent = "";
    },
    showTraining,
    showState(isTraining, ...texts) {
      showTraining(isTraining);
      words.replaceChildren(...texts.map((text) => make("span", {}, text)));
    },
    fail(message) {
      element.dataset.state = "failed";
      words.replaceChildren();
      train.textContent = "Train";
      failure.textContent = message;
    },
  };
}
