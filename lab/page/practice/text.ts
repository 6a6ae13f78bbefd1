/** Creates elements for exercise text. */
import { maker } from "../../view/dom.ts";
import type { Html } from "./shown.ts";

export const make = maker(document);

/** Parses the build's HTML into nodes. */
export const nodesOf = (html: Html): DocumentFragment => document.createRange().createContextualFragment(html);

/** Converts a check's message to nodes: text between backticks becomes code, and line breaks are kept. */
export const withCode = (message: string): Node[] =>
  message
    .split(/(`[^`\n]+`)/)
    .map((piece) => (/^`.+`$/.test(piece) ? make("code", {}, piece.slice(1, -1)) : document.createTextNode(piece)));
