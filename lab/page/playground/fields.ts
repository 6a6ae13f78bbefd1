/** Creates menus and sliders for choosing a value from a list. The program can also set the value. */
import { maker } from "../../view/dom.ts";

const make = maker(document);

export interface Field<T> {
  readonly element: HTMLElement;
  /** Shows a value without calling onChange. */
  set(value: T): void;
}

export interface FieldOptions<T> {
  /** The element's id, unique on the page. */
  readonly id: string;
  readonly label: string;
  readonly values: readonly T[];
  readonly value: T;
  /** Formats a value for display. Default: `String`. */
  readonly show?: (value: T) => string;
  onChange(value: T): void;
}

export function newMenu<T extends string | number>(options: FieldOptions<T>): Field<T> {
  const { id, label, values, value, show = String, onChange } = options;
  const items = values.map((one) => make("option", { value: one }, show(one)));
  const select = make("select", { id }, ...items);
  const set = (to: T): void => void (select.selectedIndex = values.indexOf(to));
  set(value);
  select.addEventListener("change", () => onChange(values[select.selectedIndex]!));
  return { element: make("div", { class: "pg-field" }, make("label", { for: id }, label), select), set };
}

export function newSlider<T extends number>(options: FieldOptions<T>): Field<T> {
  const { id, label, values, value, show = String, onChange } = options;
  const input = make("input", { id, type: "range", min: 0, max: values.length - 1, step: 1 });
  // Do not use an <output> here: screen readers would read the text at each step, in addition to the slider's value.
  const shown = make("span", { class: "pg-value", "aria-hidden": "true" });
  const tell = (to: T): void => {
    shown.textContent = show(to);
    input.setAttribute("aria-valuetext", show(to));
  };
  const set = (to: T): void => {
    input.value = String(values.indexOf(to));
    tell(to);
  };
  set(value);
  input.addEventListener("input", () => {
    const now = values[input.valueAsNumber]!;
    tell(now);
    onChange(now);
  });
  return { element: make("div", { class: "pg-field" }, make("label", { for: id }, label), shown, input), set };
}
