/** `npx nabla practice`: lists the article's exercises, shows one, or checks a reader's file. The exit code is 2 if a check fails. */
import { readFile } from "node:fs/promises";
import { type Command, InvalidArgumentError } from "commander";
import type { Exercise } from "../lab/practice/exercise.ts";
import { print, terminalOf } from "./terminal.ts";

interface Options {
  readonly predict?: string;
  readonly starter?: boolean;
  readonly hint?: 1 | 2 | 3;
  readonly solution?: boolean;
}

/** Adds the command. The exercises are loaded only when the command runs. */
export function addPractice(program: Command): void {
  const practice = program
    .command("practice")
    .description("List the article's exercises, show one, or check your code.")
    .argument("[name]", "the exercise to show")
    .argument("[file]", "a JavaScript module to check")
    .option("--predict <answer>", "check your answer to the exercise's question")
    .option("--starter", "print the code to start with")
    .option("--hint <level>", "print a hint: 1, 2 or 3", levelOf)
    .option("--solution", "print a solution")
    .allowExcessArguments(false)
    .action(async (name: string | undefined, file: string | undefined, options: Options) => {
      const { exercises } = await import("../lab/practice/index.ts");
      const exercise = exercises.find((one) => one.name === name);
      if (name !== undefined && !exercise) practice.error(`error: ${await unknown(name, exercises)}`);
      const asked = [file, ...Object.values(options)].filter((one) => one !== undefined).length;
      if (!exercise && asked)
        practice.error("error: the name of an exercise is missing. Run npx nabla practice for a list.");
      if (asked > 1) practice.error("error: give a file or one option, not several.");
      if (exercise && file !== undefined) return checkFile(exercise, file);
      const { listing, statement } = await import("./practice/text.ts");
      if (!exercise) return print(listing(exercises, terminalOf(process.stdout)));
      if (asked) return show(exercise, options);
      print(statement(exercise, terminalOf(process.stdout)));
    });
}

function levelOf(text: string): 1 | 2 | 3 {
  if (/^[123]$/.test(text)) return Number(text) as 1 | 2 | 3;
  throw new InvalidArgumentError("must be 1, 2 or 3.");
}

async function unknown(name: string, exercises: readonly Exercise[]): Promise<string> {
  const { nearest } = await import("../lab/nearest.ts");
  const meant = nearest(
    name,
    exercises.map((exercise) => exercise.name),
  );
  return `unknown exercise "${name}".${meant ? ` Did you mean ${meant}?` : ""} Run npx nabla practice for a list.`;
}

/** Prints the starter, a hint, the solution, or whether a prediction is right, depending on the options. */
async function show(exercise: Exercise, { predict, starter, hint, solution }: Options): Promise<void> {
  if (starter) return print(exercise.starter.trimEnd());
  if (solution) return print(exercise.solution.trimEnd());
  const terminal = terminalOf(process.stdout);
  const { paragraph, verdict } = await import("./practice/text.ts");
  if (hint) return print(paragraph(exercise.hints[hint - 1]!, Math.min(100, terminal.columns)));
  const { isRight, numberOf } = await import("../lab/practice/exercise.ts");
  const { prediction } = exercise;
  const number = numberOf(predict!);
  if (prediction.kind === "number" && number === undefined)
    throw new Error(`--predict must be a number, got ${JSON.stringify(predict)}.`);
  const option = prediction.kind === "choice" ? prediction.options[(number ?? 0) - 1] : predict;
  if (option === undefined)
    throw new Error(`--predict must be the number of an option, 1 to 3, got ${JSON.stringify(predict)}.`);
  const right = isRight(prediction, option);
  print(verdict(prediction, right, terminal));
  if (!right) process.exitCode = 2;
}

/** Checks a file, and prints its log output and the outcomes of the checks. */
async function checkFile({ name }: Exercise, file: string): Promise<void> {
  const source = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    const why = error.code === "ENOENT" ? "the file does not exist" : error.message;
    throw new Error(`cannot read ${file}: ${why}.`);
  });
  const { checkIsolated } = await import("./practice/isolated.ts");
  const { report } = await import("./practice/text.ts");
  const outcomes = await checkIsolated({ name, source }, (line) => print(`console.log: ${line}`));
  print(report(outcomes, terminalOf(process.stdout)));
  if (!outcomes.every(({ passed }) => passed)) process.exitCode = 2;
}
