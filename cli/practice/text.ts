/** The text that `npx nabla practice` prints: the list, an exercise, and the outcomes of a check. Pure functions. */
import type { Exercise, Prediction } from "../../lab/practice/exercise.ts";
import type { Outcome } from "../../lab/practice/run.ts";
import { displayedFormula, partsOf } from "../../lab/practice/text.ts";
import { wrap } from "../report.ts";
import type { Terminal } from "../terminal.ts";
import { plainTex } from "./tex.ts";

const widthOf = ({ columns }: Terminal): number => Math.min(100, columns);

/** Wraps a paragraph. Formulas become plain text, and code keeps its backticks. */
export function paragraph(text: string, width: number): string {
  const formula = displayedFormula(text);
  if (formula !== undefined) return `    ${plainTex(formula)}`;
  const plain = partsOf(text)
    .map((part) => {
      if (part.kind === "formula") return plainTex(part.text);
      return part.kind === "code" ? `\`${part.text}\`` : part.text;
    })
    .join("");
  return wrap(plain, width);
}

/** All exercises, grouped by the article's sections. */
export function listing(exercises: readonly Exercise[], { bold, dim }: Terminal): string {
  const wide = Math.max(...exercises.map(({ name }) => name.length));
  const sections = [...new Set(exercises.map(({ section }) => section))];
  const blocks = sections.map((section) =>
    [
      bold(section),
      ...exercises
        .filter((exercise) => exercise.section === section)
        .map(({ name, title }) => `  ${name.padEnd(wide)}   ${title}`),
    ].join("\n"),
  );
  return [...blocks, dim("Start one with npx nabla practice <name>.")].join("\n\n");
}

/** The statement of an exercise: prediction, task, starter, and the commands to continue with. */
export function statement(exercise: Exercise, terminal: Terminal): string {
  const { name, title, section, concept, prediction, starter } = exercise;
  const { bold, dim } = terminal;
  const width = widthOf(terminal);
  const options =
    prediction.kind === "choice" ? [prediction.options.map((text, i) => `  ${i + 1}  ${text}`).join("\n")] : [];
  const command = `npx nabla practice ${name}`;
  const ways = [
    [`${command} --starter > ${name}.mjs`, "saves the starter"],
    [`${command} ${name}.mjs`, "checks the file"],
    [`${command} --hint 1`, "gives a hint; 2 and 3 say more"],
    [`${command} --solution`, "prints a solution"],
  ] as const;
  const wide = Math.max(...ways.map(([usage]) => usage.length));
  return [
    `${bold(title)}\n${dim(section)}\n${dim(`About: ${concept}`)}`,
    bold("Predict"),
    paragraph(prediction.question, width),
    ...options,
    dim(`Check your answer: ${command} --predict ${prediction.kind === "choice" ? "<1, 2 or 3>" : "<number>"}`),
    bold("Code"),
    ...exercise.statement.map((text) => paragraph(text, width)),
    starter.trimEnd().replaceAll(/^(?=.)/gm, "    "),
    bold("Check"),
    ways.map(([usage, meaning]) => `  ${usage.padEnd(wide)}   ${meaning}`).join("\n"),
  ].join("\n\n");
}

/** Says whether a prediction is right, and why. */
export function verdict(prediction: Prediction, isRight: boolean, terminal: Terminal): string {
  const { good, bad } = terminal;
  const answer = prediction.kind === "choice" ? prediction.answer : `${prediction.answer}.`;
  const first = isRight ? `${good("✓")} Right.` : `${bad("✗")} Not quite. The answer: ${answer}`;
  return `${first}\n${paragraph(prediction.explanation, widthOf(terminal))}`;
}

/** The outcomes of a check, as text. */
export function report(outcomes: readonly Outcome[], terminal: Terminal): string {
  const { good, bad, dim } = terminal;
  const width = widthOf(terminal) - 2;
  const lines = outcomes.map(({ title, passed, message }) => {
    const first = `${passed ? good("✓") : bad("✗")} ${wrap(title.replaceAll("`", ""), width).replaceAll("\n", "\n  ")}`;
    if (!message) return first;
    const wrapped = message.split("\n").map((line) => (/^ /.test(line) ? line : wrap(line, width)));
    return `${first}\n  ${wrapped.join("\n").replaceAll("\n", "\n  ")}`;
  });
  const failed = outcomes.filter(({ passed }) => !passed).length;
  const sum = failed ? `${failed} of ${outcomes.length} checks failed.` : `All ${outcomes.length} checks passed.`;
  return [...lines, "", failed ? sum : dim(sum)].join("\n");
}
