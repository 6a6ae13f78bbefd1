/** Creates elements in one expression, in the browser's document or in linkedom's. */

type Child = Node | string | undefined | false;

/** Creates an element in the document that was given to `maker`. */
export type Make = <K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes?: Readonly<Record<string, string | number | boolean>>,
  ...children: readonly Child[]
) => HTMLElementTagNameMap[K];

/**
 * `const make = maker(document); make("p", { class: "claim" }, "text")`. An attribute that is true has no value; one
 * that is false is omitted.
 */
export const maker =
  (document: Document): Make =>
  (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes))
      if (value !== false) element.setAttribute(name, value === true ? "" : String(value));
    for (const child of children) if (child) element.append(child);
    return element;
  };
