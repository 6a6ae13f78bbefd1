/** A form for an experiment's parameters: a slider for each number, a menu for each choice, all native inputs. */
import { type NumberParameter, type Parameter, type Parameters, showNumber } from "../experiment.ts";
import { maker } from "../view/dom.ts";

const make = maker(document);
const STEPS = 200;

export type Values = Record<string, string | number>;

/** The form; `onChange` gets all values whenever one was turned. */
export function drawControls(parameters: Parameters, onChange: (values: Values) => void): HTMLFormElement {
  const defaults = Object.fromEntries(Object.entries(parameters).map(([key, parameter]) => [key, parameter.default]));
  let values: Values = { ...defaults };
  const fields = Object.entries(parameters).map(([key, parameter]) =>
    drawField(key, parameter, (value) => {
      values = { ...values, [key]: value };
      onChange(values);
    }),
  );
  const reset = make("button", { type: "reset" }, "Reset");
  const form = make(
    "form",
    { class: "controls", "aria-label": "Parameters" },
    ...fields.map(({ element }) => element),
    reset,
  );
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    values = { ...defaults };
    for (const { show } of fields) show();
    onChange(values);
  });
  return form;
}

interface Field {
  readonly element: HTMLElement;
  /** Shows the default again. */
  show(): void;
}

function drawField(key: string, parameter: Parameter, onChange: (value: string | number) => void): Field {
  const label = make("label", { for: key }, parameter.label);
  if (parameter.kind === "choice") {
    const options = parameter.options.map((option) => make("option", { value: option }, option));
    const select = make("select", { id: key, name: key }, ...options);
    const show = (): void => void (select.value = parameter.default);
    show();
    select.addEventListener("change", () => onChange(select.value));
    return { element: make("div", { class: "field" }, label, select), show };
  }
  const scale = sliderOf(parameter);
  const input = make("input", { id: key, name: key, type: "range", min: scale.min, max: scale.max, step: scale.step });
  const output = make("output", { for: key });
  const tell = (value: number): void => {
    output.textContent = showNumber(value);
    input.setAttribute("aria-valuetext", showNumber(value));
  };
  const show = (): void => {
    input.value = String(scale.position(parameter.default));
    tell(parameter.default);
  };
  show();
  input.addEventListener("input", () => {
    const value = scale.value(input.valueAsNumber);
    tell(value);
    onChange(value);
  });
  return { element: make("div", { class: "field" }, label, output, input), show };
}

/** Where a number lies on its slider: itself, or on a log scale its place among STEPS. */
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
