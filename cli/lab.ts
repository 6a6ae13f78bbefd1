/** `npx nabla lab`: lists the article's experiments, or runs one. With --check, the exit code is 2 if a finding does not hold. */
import { existsSync, statSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { type AnyExperiment, holds, type Parameter, type Result, valuesOf } from "../lab/experiment.ts";
import { nearest } from "../lab/nearest.ts";
import { run } from "./run.ts";
import { print, terminalOf } from "./terminal.ts";

interface Outputs {
  readonly json?: boolean;
  readonly svg?: string;
  readonly html?: string;
  readonly check?: boolean;
}

/** Adds the command, with a subcommand for each experiment. */
export function addLab(program: Command, experiments: readonly AnyExperiment[]): void {
  const lab = program
    .command("lab")
    .description("List the article's experiments, or run one.")
    .argument("[name]", "the experiment to run")
    .option("--json", "print the list as JSON")
    .action(async (name: string | undefined, { json }: { json?: boolean }) => {
      if (name !== undefined) lab.error(`error: ${unknownExperiment(name, experiments)}`);
      const { listing } = await import("./report.ts");
      const list = experiments.map(({ name: own, title, section, claim, parameters }) => ({
        name: own,
        title,
        section,
        claim,
        parameters,
      }));
      print(json ? JSON.stringify(list, null, 2) : listing(experiments, terminalOf(process.stdout)));
    });

  for (const experiment of experiments) {
    const command = lab
      .commandsGroup(`${experiment.section}:`)
      .command(experiment.name)
      .summary(experiment.title)
      .description(`${experiment.title}\n\n${experiment.claim}`)
      .allowExcessArguments(false)
      .optionsGroup("Parameters:");
    for (const [key, parameter] of Object.entries(experiment.parameters)) command.addOption(optionOf(key, parameter));
    command
      .optionsGroup("Output:")
      .option("--json", "print the result as JSON")
      .option("--svg <file>", "write the plots to an SVG file")
      .option("--html <file>", "write the result to a self-contained HTML file")
      .option("--check", "exit with code 2 if a finding does not match theory")
      .action(async () => {
        // The parent command also has --json, and receives the flag wherever it appears on the command line.
        const { json, svg, html, check, ...given } = command.optsWithGlobals<Outputs & Record<string, unknown>>();
        const values = valuesOf(experiment.parameters, given);
        for (const file of [svg, html]) if (file !== undefined) requireFolder(file);
        const result = await run(experiment, values);
        if (json) print(JSON.stringify(asJson(experiment, values, result), spellNonFinite, 2));
        else {
          const { report } = await import("./report.ts");
          print(report(experiment, result, terminalOf(process.stdout)));
        }
        await write(experiment, values, result, { svg, html } as Outputs);
        if (check && !result.findings.every(holds)) process.exitCode = 2;
      });
  }
}

/** The option `--key <number>` for a parameter, with its description, default and range. */
function optionOf(key: string, parameter: Parameter): Option {
  const allowed =
    parameter.kind === "choice"
      ? parameter.options.join(", ")
      : `${parameter.integer ? "whole number, " : ""}${parameter.min} to ${parameter.max}`;
  return new Option(`--${key} <${parameter.kind === "choice" ? "word" : "number"}>`, `${parameter.label}: ${allowed}`)
    .default(parameter.default)
    .argParser((text: string) => {
      try {
        return valuesOf({ [key]: parameter }, { [key]: text })[key];
      } catch (error) {
        throw new InvalidArgumentError(`\n${(error as Error).message}`);
      }
    });
}

/** Checks before the run that the file's folder exists, so that the result is not lost. */
function requireFolder(file: string): void {
  const folder = dirname(resolve(file));
  const found = existsSync(folder) ? statSync(folder) : undefined;
  if (!found) throw new Error(`cannot write ${file}: the folder ${folder} does not exist. Create it first.`);
  if (!found.isDirectory()) throw new Error(`cannot write ${file}: ${folder} is not a folder.`);
}

/** Converts NaN and infinities, which JSON cannot represent, to strings. */
const spellNonFinite = (_: string, value: unknown): unknown =>
  typeof value === "number" && !Number.isFinite(value) ? String(value) : value;

async function write(
  experiment: AnyExperiment,
  values: Readonly<Record<string, string | number>>,
  result: Result,
  { svg, html }: Outputs,
): Promise<void> {
  if (svg === undefined && html === undefined) return;
  const { htmlFile, svgFile } = await import("./files.ts");
  const save = async (file: string, text: string): Promise<void> => {
    await writeFile(file, text);
    console.error(`Wrote ${file}`);
  };
  if (svg !== undefined) await save(svg, svgFile(experiment, result));
  if (html !== undefined) await save(html, htmlFile(experiment, values, result));
}

/** The object that --json prints. */
function asJson(
  { name }: AnyExperiment,
  parameters: Readonly<Record<string, string | number>>,
  result: Result,
): object {
  const { findings, plots, tables = [], pictures = [], graphs = [] } = result;
  return {
    name,
    parameters,
    findings: findings.map((finding) => ({ ...finding, holds: holds(finding) })),
    plots,
    tables,
    pictures,
    graphs,
  };
}

/** The message for an unknown name, which suggests the nearest experiment. */
function unknownExperiment(name: string, experiments: readonly AnyExperiment[]): string {
  const meant = nearest(
    name,
    experiments.map((experiment) => experiment.name),
  );
  return `unknown experiment "${name}".${meant ? ` Did you mean ${meant}?` : ""} Run npx nabla lab for a list.`;
}
