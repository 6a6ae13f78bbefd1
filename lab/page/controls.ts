/** A form of native inputs for an experiment's parameters: a slider for each number, and a menu for each choice. */
import { type NumberParameter, type Parameter, type Parameters, showNumber, valuesOf } from "../experiment.ts";
import { typeset } from "../scale.ts";
import { maker } from "../view/dom.ts";

const make = maker(document);
const STEPS = 200;

export type Values = Record<string, string | number>;

export interface ControlsOptions {
  /** The start of all field ids, which makes the ids unique on a page with several forms. */
  readonly prefix?: string;
  /** The form's name for screen readers. Default "Parameters". */
  readonly label?: string;
  /** The initial values. */
  readonly values: Values;
  /** The text of the button that resets all parameters. */
  readonly reset: string;
  /** Called with all values after each change. */
  onChange(values: Values): void;
}

export interface Controls extends HTMLFormElement {
  /** Shows values that were changed elsewhere. Does not call onChange. */
  show(values: Values): void;
  /**
   * Disables the given parameters, which do not affect the current view, with a note for the reader. Enables all
   * others.
   */
  disable(keys: readonly string[]): void;
}

/** Creates the form. */
export function drawControls(parameters: Parameters, options: ControlsOptions): Controls {
  const { onChange, prefix = "", label = "Parameters" } = options;
  let { values } = options;
  const fields = Object.entries(parameters).map(([key, parameter]) => ({
    key,
    ...drawField(prefix + key, key, parameter, (value) => {
      values = { ...values, [key]: value };
      onChange(values);
    }),
  }));
  const show = (changed: Values): void => {
    values = changed;
    for (const field of fields) field.show(values[field.key]!);
  };
  show({ ...valuesOf(parameters), ...values });
  const reset = make("button", { type: "reset" }, options.reset);
  const form = make("form", { class: "controls", "aria-label": label }, ...fields.map(({ element }) => element), reset);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    show(valuesOf(parameters));
    onChange(values);
  });
  const disable = (keys: readonly string[]): void => {
    for (const { key, element } of fields) {
      const isDisabled = keys.includes(key);
      element.classList.toggle("idle", isDisabled);
      element.title = isDisabled ? "This changes nothing in this view." : "";
      element.querySelector<HTMLInputElement | HTMLSelectElement>("input, select")!.disabled = isDisabled;
    }
  };
  return Object.assign(form, { show, disable });
}

interface Field {
  readonly element: HTMLElement;
  show(value: string | number): void;
}

function drawField(id: string, name: string, parameter: Parameter, onChange: (value: string | number) => void): Field {
  const label = make("label", { for: id }, parameter.label);
  if (parameter.kind === "choice") {
    const options = parameter.options.map((option) => make("option", { value: option }, option));
    const select = make("select", { id, name }, ...options);
    select.addEventListener("change", () => onChange(select.value));
    return {
      element: make("div", { class: "field" }, label, select),
      show: (value) => void (select.value = String(value)),
    };
  }
  const scale = sliderOf(parameter);
  const input = make("input", { id, name, type: "range", min: scale.min, max: scale.max, step: scale.step });
  // Do not use an <output> here: screen readers would read the text at each step, in addition to the slider's value.
  const shown = make("span", { class: "value", "aria-hidden": "true" });
  const tell = (value: number): void => {
    shown.textContent = typeset(showNumber(value));
    input.setAttribute("aria-valuetext", shown.textContent);
  };
  input.addEventListener("input", () => {
    const value = scale.value(input.valueAsNumber);
    tell(value);
    onChange(value);
  });
  return {
    element: make("div", { class: "field" }, label, shown, input),
    show(value) {
      input.value = String(scale.position(Number(value)));
      tell(Number(value));
    },
  };
}

/**
 * Converts between numbers and slider positions. On a linear scale, a position is the number itself; on a log scale, it
 * is the index of a step.
 */
interface Slider {
  readonly min: number;
  readonly max: number;
  readonly step: number;
  position(value: number): number;
  value(position: number): number;
}

function sliderOf({ min, max, step, integer, scale }: NumberParameter): Slider {
  const within = (value: number): number => Math.min(max, Math.max(min, integer ? Math.round(value) : value));
  if (scale === "log") {
    const ratio = Math.log(max / min);
    return {
      min: 0,
      max: STEPS,
      step: 1,
      position: (value) => Math.round((STEPS * Math.log(value / min)) / ratio),
      value: (position) => within(Number((min * Math.exp((ratio * position) / STEPS)).toPrecision(3))),
    };
  }
  return {
    min,
    max,
    step: step ?? (integer ? 1 : Number(((max - min) / 100).toPrecision(6))),
    position: (value) => value,
    value: within,
  };
}
