/**
 * `npm run bench [suite…] [-- --json]`: nabla against careful pure JavaScript in the same run, on one thread; `threads` measures more against one.
 * `--against REV` measures this tree against another commit instead (against.ts). `npx -y -p node@24 node dist/bench/index.js matmul` measures another Node.
 */
import { Argument, Command, Option } from "commander";
import { info, init } from "../src/index.ts";
import { against, COMPARED } from "./against.ts";
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
import { step } from "./suites/step.ts";
import { threads } from "./suites/threads.ts";

const suites: readonly Suite[] = [matmul, conv, elementwise, step, gradients, costs, threads];
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
  .option("--save", "keep the results in docs/data, for the benchmarks page (node docs/tables.mjs)")
  .addOption(
    new Option("--build <build>", "the kernels' build; default: the fastest that runs here").choices([
      "simd",
      "relaxed",
    ]),
  )
  .option("--rounds <count>", "how many turns each contender has (default: 9; with --against: 15)", Number)
  .option("--against <revision>", "measure this tree (B) against another commit (A), in processes that take turns")
  .option("--own", "leave out pure JavaScript and the ceiling")
  .option("--warm-up <milliseconds>", "how long each contender runs before it is measured", Number, 300)
  .option(
    "--cpu-time",
    "count the time this process runs instead of the wall clock's: for a machine that others use too",
  )
  .parse();
const options = program.opts<{
  json?: boolean;
  save?: boolean;
  cpuTime?: boolean;
  build?: "simd" | "relaxed";
  rounds?: number;
  against?: string;
  own?: boolean;
  warmUp: number;
}>();
const { rounds = options.against ? 15 : 9 } = options;
if (!(Number.isInteger(rounds) && rounds > 0)) program.error("--rounds must be a whole number above 0.");
if (!(options.warmUp >= 0)) program.error("--warm-up must be a number of milliseconds.");
const named: readonly string[] = program.processedArgs[0] ?? [];
if (options.against) {
  const passed = [...(options.cpuTime ? ["--cpu-time"] : []), ...(options.build ? ["--build", options.build] : [])];
  const suitesToCompare = named.length ? named : COMPARED;
  await against({ revision: options.against, suites: suitesToCompare, rounds, passed }).catch((error: Error) =>
    program.error(`bench --against ${options.against}: ${error.message}`),
  );
  process.exit();
}
if (named.includes(START))
  program.error(`${START} is measured with --against only; npm run bench:cold measures it alone.`);
const chosen = suites.filter(({ name }) => !named.length || named.includes(name));

const effort: Effort = { rounds, time: 40, warmUp: options.warmUp, now: options.cpuTime ? cpuClock : wallClock };
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
const where = machine(info().build, chosen.includes(threads) ? "one thread unless said" : undefined);
print(where);
const rows: Row[] = [];
for (const { name, cases } of chosen) {
  const results: Result[] = [];
  const notes: string[] = [];
  let base = PURE;
  for await (const one of cases()) {
    base = one.base ?? PURE;
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
print("\n* by the least time per call");
if (options.save) save("npm run bench", options.cpuTime ? `${where}, CPU time` : where, rows);
if (options.json) console.log(JSON.stringify(rows, null, 2));
