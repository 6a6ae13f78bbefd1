/** Creates elements for exercise text. */
import { maker } from "../../view/dom.ts";
import type { Html } from "./shown.ts";

export const make = maker(document);

/** The HTML that the build rendered, as nodes. */
export const nodesOf = (html: Html): DocumentFragment => document.createRange().createContextualFragment(html);

/** A check's message as nodes: text between backticks becomes code, and line breaks stay. */
export const withCode = (message: string): Node[] =>
  message
    .split(/(`[^`\n]+`)/)
    .map((piece) => (/^`.+`$/.test(piece) ? make("code", {}, piece.slice(1, -1)) : document.createTextNode(piece)));
