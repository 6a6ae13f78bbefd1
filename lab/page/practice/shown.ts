/** The parts of an exercise that the page shows. The build renders their text and formulas. */
import type { Exercise, Prediction } from "../../practice/exercise.ts";
import { displayedFormula, partsOf } from "../../practice/text.ts";
import { formula, slug } from "../render.mjs";

/** A part of a document, as HTML that the build has rendered. */
export type Html = string;

export interface Shown extends Pick<Exercise, "name" | "title" | "section" | "concept" | "starter" | "solution"> {
  /** The id of the section's heading. */
  readonly place: string;
  readonly prediction: Prediction & { readonly question: Html; readonly explanation: Html };
  readonly statement: Html;
  readonly hints: readonly Html[];
}

const escape = (text: string): string => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/** Renders a text with code, emphasis and formulas. */
const inline = (text: string): Html =>
  partsOf(text)
    .map((part) => {
      if (part.kind === "formula") return formula(part.text, false);
      if (part.kind === "text") return escape(part.text);
      const tag = part.kind === "code" ? "code" : "em";
      return `<${tag}>${escape(part.text)}</${tag}>`;
    })
    .join("");

/** Renders a paragraph, or a displayed formula. A formula that is too wide can be scrolled, also with the keyboard. */
function paragraph(text: string): Html {
  const tex = displayedFormula(text);
  return tex === undefined
    ? `<p>${inline(text)}</p>`
    : `<div class="practice-formula" role="group" tabindex="0" aria-label="Formula">${formula(tex, true)}</div>`;
}

export const render = ({
  name,
  title,
  section,
  concept,
  prediction,
  statement,
  starter,
  hints,
  solution,
}: Exercise): Shown => ({
  name,
  title,
  section,
  place: slug(section),
  concept,
  prediction: { ...prediction, question: inline(prediction.question), explanation: inline(prediction.explanation) },
  statement: statement.map(paragraph).join(""),
  starter,
  hints: hints.map(inline),
  solution,
});
