/**
 * `npm run bench [suite…] [-- --json]`: measures nabla against carefully written pure JavaScript in the same run, on one thread. The
 * suite `threads` compares runs on several threads with runs on one. With `--against`, the command instead compares this tree with
 * another commit, or one build with another (against.ts). `npx -y -p node@24 node dist/bench/index.js matmul` runs a suite on another
 * version of Node.
 */
import { Argument, Command, Option } from "commander";
import { info } from "../src/index.ts";
import { against, COMPARED, COMPARED_BUILDS } from "./against.ts";
import { type BenchBuild, BUILDS, startBuild } from "./builds.ts";
import { START } from "./compare.ts";
import {
  CEILING,
  cpuClock,
  type Effort,
  measure,
  PURE,
  type Result,
  type Row,
  type Suite,
  wallClock,
} from "./measure.ts";
import { machine, suiteTable } from "./report.ts";
import { save } from "./save.ts";
import { conv } from "./suites/conv.ts";
import { costs } from "./suites/costs.ts";
import { elementwise } from "./suites/elementwise.ts";
import { gradients } from "./suites/gradients.ts";
import { matmul } from "./suites/matmul.ts";
import { models } from "./suites/models.ts";
import { step } from "./suites/step.ts";
import { threads } from "./suites/threads.ts";

const suites: readonly Suite[] = [matmul, conv, elementwise, step, models, gradients, costs, threads];
const names = suites.map(({ name }) => name);

const program = new Command("bench")
  .description("Measures nabla against pure JavaScript.")
  .addArgument(
    new Argument("[suite...]", `what to measure (default: all; with --against: ${COMPARED.join(", ")})`).choices([
      ...names,
      START,
    ]),
  )
  .option("--json", "print only an array of { suite, case, impl, unit, median, min, samples }")
  .option("--save", "save the results in docs/data, for the benchmarks page (node docs/tables.mjs)")
  .addOption(
    new Option("--build <build>", "the build of the kernels; default: the fastest that needs no option").choices(
      BUILDS,
    ),
  )
  .option("--rounds <count>", "the number of turns for each contender (default: 9; with --against: 15)", Number)
  .option("--against <revision>", "compare this tree (B) with another commit or build (A), in alternating processes")
  .option("--only <text>", "measure only the cases whose name contains this text")
  .option("--own", "measure only nabla: skip the pure JavaScript and FMA ceiling contenders")
  .option("--cpu-time", "measure CPU time instead of wall-clock time, for a machine that other programs use too")
  .parse();
const options = program.opts<{
  json?: boolean;
  save?: boolean;
  cpuTime?: boolean;
  build?: BenchBuild;
  rounds?: number;
  only?: string;
  against?: string;
  own?: boolean;
}>();
const { rounds = options.against ? 15 : 9 } = options;
if (!(Number.isInteger(rounds) && rounds > 0)) program.error(`--rounds must be a whole number above 0, got ${rounds}.`);
const named: readonly string[] = program.processedArgs[0] ?? [];
if (options.against) {
  const own = options.build ? ["--build", options.build] : [];
  const passed = [
    ...(options.cpuTime ? ["--cpu-time"] : []),
    ...(options.only ? ["--only", options.only] : []),
    ...own,
  ];
  const isBuild = BUILDS.some((build) => build === options.against);
  const suitesToCompare = named.length ? named : isBuild ? COMPARED_BUILDS : COMPARED;
  await against({ revision: options.against, suites: suitesToCompare, rounds, passed }).catch((error: Error) =>
    program.error(`bench --against ${options.against}: ${error.message}`),
  );
  process.exit();
}
if (named.includes(START))
  program.error(
    `the suite "${START}" needs --against <revision>. To measure only this tree, run \`npm run bench:cold\`.`,
  );
const chosen = suites.filter(({ name }) => !named.length || named.includes(name));

const effort: Effort = { rounds, time: 40, warmUp: 300, now: options.cpuTime ? cpuClock : wallClock };
const print = options.json ? () => {} : console.log;
const asRow = ({ suite, case: name, impl, unit, median, min, samples }: Result): Row => ({
  suite,
  case: name,
  impl,
  unit,
  median,
  min,
  samples,
});

await startBuild(options.build).catch((error: Error) => program.error(error.message));
const where = machine(info().build, chosen.includes(threads) ? "one thread unless noted" : undefined);
print(where);
const rows: Row[] = [];
for (const { name, cases } of chosen) {
  const results: Result[] = [];
  const notes: string[] = [];
  let base = PURE;
  for await (const one of cases()) {
    base = one.base ?? PURE;
    if (!one.name.includes(options.only ?? "")) continue;
    const contenders = one.contenders.filter(({ impl }) => !options.own || (impl !== PURE && impl !== CEILING));
    results.push(...measure(name, { ...one, contenders }, effort));
    if (one.note) notes.push(one.note);
  }
  rows.push(...results.map(asRow));
  print(
    [
      `\n${name}: medians over ${effort.rounds} rounds${options.cpuTime ? ", CPU time" : ""}`,
      suiteTable(results, base),
      ...notes,
    ].join("\n"),
  );
}
print("\n* computed from the shortest time per call");
if (options.save) save("npm run bench", options.cpuTime ? `${where}, CPU time` : where, rows);
if (options.json) console.log(JSON.stringify(rows, null, 2));
