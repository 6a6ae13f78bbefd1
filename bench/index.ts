/**
 * `npm run bench [suite…] [-- --json]`: nabla against careful pure JavaScript in the same run, on one thread; `threads` measures more against one.
 * `npx -y -p node@24 node dist/bench/index.js matmul` measures another Node.
 */
import { Argument, Command, Option } from "commander";
import { info, init } from "../src/index.ts";
import { cpuClock, type Effort, measure, PURE, type Result, type Row, type Suite, wallClock } from "./measure.ts";
import { machine, suiteTable } from "./report.ts";
import { conv } from "./suites/conv.ts";
import { costs } from "./suites/costs.ts";
import { elementwise } from "./suites/elementwise.ts";
import { gradients } from "./suites/gradients.ts";
import { matmul } from "./suites/matmul.ts";
import { step } from "./suites/step.ts";
import { threads } from "./suites/threads.ts";

const suites: readonly Suite[] = [matmul, conv, elementwise, step, gradients, costs, threads];
const names = suites.map(({ name }) => name);

const program = new Command("bench")
  .description("Measures nabla against pure JavaScript.")
  .addArgument(new Argument("[suite...]", "what to measure").choices(names).default(names, "all"))
  .option("--json", "print only an array of { suite, case, impl, unit, median, min, samples }")
  .addOption(
    new Option("--build <build>", "the kernels' build; default: the fastest that runs here").choices([
      "simd",
      "relaxed",
    ]),
  )
  .option("--rounds <count>", "how many turns each contender has", Number, 9)
  .option(
    "--cpu-time",
    "count the time this process runs instead of the wall clock's: for a machine that others use too",
  )
  .parse();
const options = program.opts<{ json?: boolean; cpuTime?: boolean; build?: "simd" | "relaxed"; rounds: number }>();
if (!(Number.isInteger(options.rounds) && options.rounds > 0))
  program.error("--rounds must be a whole number above 0.");

const effort: Effort = { rounds: options.rounds, time: 40, now: options.cpuTime ? cpuClock : wallClock };
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

await init(options.build ? { build: options.build } : {}).catch((error: Error) => program.error(error.message));
print(machine(info().build, program.processedArgs[0].includes("threads") ? "one thread unless said" : undefined));
const rows: Row[] = [];
for (const { name, cases } of suites.filter((suite) => program.processedArgs[0].includes(suite.name))) {
  const results: Result[] = [];
  const notes: string[] = [];
  let base = PURE;
  for await (const one of cases()) {
    base = one.base ?? PURE;
    results.push(...measure(name, one, effort));
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
print("\n* by the least time per call");
if (options.json) console.log(JSON.stringify(rows, null, 2));
