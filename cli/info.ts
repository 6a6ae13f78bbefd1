/** `npx nabla info`: shows which build runs here, on how many threads, and why. */
import { availableParallelism } from "node:os";
import type { Command } from "commander";
import { info, init } from "nabla";
import { threadsOption } from "./options.ts";
import { print } from "./terminal.ts";

/** Adds the command. */
export function addInfo(program: Command): void {
  program
    .command("info")
    .description("Show which build runs here, the number of threads, and what this machine supports.")
    .addOption(threadsOption().default("auto"))
    .option("--json", "print JSON")
    .allowExcessArguments(false)
    .action(async ({ threads, json }: { threads: number | "auto"; json?: boolean }) => {
      await init({ threads });
      const { build, simd, relaxed, threads: count, reason } = info();
      const facts = {
        nabla: program.version(),
        runtime: `${process.release?.name ?? "unknown"} ${process.version}, ${process.platform} ${process.arch}`,
        cores: availableParallelism(),
        build,
        simd,
        relaxed,
        threads: count,
        reason,
      };
      print(json ? JSON.stringify(facts, null, 2) : lines(facts));
    });
}

const yesNo = (value: unknown): string => (value ? "yes" : "no");

function lines(facts: Record<string, unknown>): string {
  const rows = [
    ["nabla", facts.nabla],
    ["runtime", facts.runtime],
    ["cores", facts.cores],
    [
      "build",
      facts.build === "simd" ? "simd (the same bits on every machine)" : "relaxed (fused multiply-add, the fastest)",
    ],
    ["SIMD", yesNo(facts.simd)],
    ["relaxed SIMD", yesNo(facts.relaxed)],
    ["threads", `${facts.threads} (${facts.reason})`],
  ];
  return rows.map(([name, value]) => `${String(name).padEnd(14)}${value}`).join("\n");
}
