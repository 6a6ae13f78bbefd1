/** Shows the texts of exercises: paragraphs with code and formulas. */
import katex from "katex";
import { displayedFormula, partsOf } from "../../practice/text.ts";
import { maker } from "../../view/dom.ts";

export const make = maker(document);

function formula(tex: string, displayMode: boolean): HTMLElement {
  const element = make("span", { class: displayMode ? "practice-display" : "practice-tex" });
  element.innerHTML = katex.renderToString(tex, { output: "mathml", displayMode });
  return element;
}

/** The parts of a text as nodes. */
export const inline = (text: string): Node[] =>
  partsOf(text).map((part) => {
    if (part.kind === "formula") return formula(part.text, false);
    if (part.kind === "text") return document.createTextNode(part.text);
    return make(part.kind === "code" ? "code" : "em", {}, part.text);
  });

export function paragraph(text: string): HTMLElement {
  const tex = displayedFormula(text);
  // A wide formula scrolls, and the keyboard can scroll it too.
  return tex === undefined
    ? make("p", {}, ...inline(text))
    : make(
        "div",
        { class: "practice-formula", role: "group", tabindex: 0, "aria-label": "Formula" },
        formula(tex, true),
      );
}

/** A message of a check: words with code between backticks. Line breaks stay. */
export const withCode = (message: string): Node[] =>
  message
    .split(/(`[^`\n]+`)/)
    .map((piece) => (/^`.+`$/.test(piece) ? make("code", {}, piece.slice(1, -1)) : document.createTextNode(piece)));
