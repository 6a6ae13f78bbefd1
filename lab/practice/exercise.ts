/**
 * Defines an exercise. The reader predicts the answer to a question, then writes a module, whose functions are tested
 * against theory. The command and the page use exercises only through this file.
 */

/** A question that the reader answers before writing code. */
export type Prediction = { readonly question: string; readonly explanation: string } & (
  | { readonly kind: "number"; readonly answer: number; readonly within: number }
  | { readonly kind: "choice"; readonly options: readonly string[]; readonly answer: string }
);

/** The functions that the reader's module exports, keyed by name. */
// biome-ignore lint/suspicious/noExplicitAny: the reader's functions are called with valid arguments, and their results are checked
export type Code = Readonly<Record<string, (...args: any[]) => unknown>>;

/** A test of one property of the reader's code. */
export interface Check {
  /** A sentence that is true if the check passes. */
  readonly title: string;
  /** Draws its inputs from nabla's random generator. @throws Hint if the code is wrong; the code's own errors pass through */
  run(code: Code): void;
}

/**
 * In an exercise's text, backticks enclose code, and dollar signs enclose TeX. A paragraph in double dollar signs is a
 * displayed formula.
 */
export interface Exercise {
  /** The name of the exercise, which is also the name of its file without .ts. */
  readonly name: string;
  readonly title: string;
  /** The section of the article. */
  readonly section: string;
  /** The concept that the exercise is about, in a few words. */
  readonly concept: string;
  readonly prediction: Prediction;
  /** Paragraphs. */
  readonly statement: readonly string[];
  /** The names of the functions that the code must export. */
  readonly exports: readonly string[];
  /** Whether the code must not call autograd, because it has to derive the gradient itself. */
  readonly byHand?: boolean;
  /** The code that the reader starts with. This code loads, but fails the checks. */
  readonly starter: string;
  /** Three hints: the first helps a little, and the last gives almost the whole solution. */
  readonly hints: readonly [string, string, string];
  readonly solution: string;
  readonly checks: readonly Check[];
}

/**
 * A typical mistake: a passage of the solution, its wrong replacement, and a part of the hint that the reader should
 * then get.
 */
export interface Mistake {
  readonly replace: string;
  readonly by: string;
  readonly hint: string;
}

/** Whether the reader's answer to the question is right. Numbers may contain spaces and thousands separators. */
export function isRight(prediction: Prediction, answer: string): boolean {
  if (prediction.kind === "choice") return answer === prediction.answer;
  const number = numberOf(answer);
  return number !== undefined && Math.abs(number - prediction.answer) <= prediction.within;
}

/** The number in the text, such as 0.5, -3, 1,000, 1e3 or 1/2; undefined if the text is not a number. */
export function numberOf(text: string): number | undefined {
  const parts = text
    .replaceAll("−", "-")
    .replaceAll(/[\s,](?=\d{3}\b)/g, "")
    .split("/");
  const [top, bottom = 1] = parts.map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  const number = top! / bottom;
  return parts.length <= 2 && Number.isFinite(number) ? number : undefined;
}
