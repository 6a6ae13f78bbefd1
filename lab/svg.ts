/** Creates SVG elements in one expression, in the browser's document or in linkedom's. */

export type Attributes = Readonly<Record<string, string | number>>;

export function newSvg<K extends keyof SVGElementTagNameMap>(
  document: Document,
  name: K,
  attributes: Attributes = {},
  ...content: readonly (Node | string)[]
): SVGElementTagNameMap[K] {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...content);
  return element;
}

/** Creates an SVG element, and appends it to `parent`. */
export const addSvg = <K extends keyof SVGElementTagNameMap>(
  parent: Element,
  name: K,
  attributes?: Attributes,
  ...content: readonly (Node | string)[]
): SVGElementTagNameMap[K] => parent.appendChild(newSvg(parent.ownerDocument, name, attributes, ...content));
