/**
 * `npm run bench:load`: 200 concurrent clients each send one request after another to `nabla serve`, and to the same
 * network served by tfjs-wasm behind the same router. With `--batch`, compares `nabla serve` with `nabla serve
 * --batch`. The servers take turns in rounds.
 */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import autocannon from "autocannon";
import { Command, Option } from "commander";
import { median } from "../../../dist/bench/measure.js";
import { machine } from "../../../dist/bench/report.js";
import { save } from "../../../dist/bench/save.js";
import { whole } from "../../../dist/cli/mnist/numbers.js";
import { networks } from "./networks.mjs";

const {
  requests,
  clients,
  rounds,
  only,
  network: wanted,
  batch,
  save: isSaved,
} = new Command("bench:load")
  .description("Compares nabla's served inference with tfjs-wasm's.")
  .option("--requests <count>", "requests per round", whole(1), 10_000)
  .option("--clients <count>", "concurrent clients", whole(1), 200)
  .option("--rounds <count>", "rounds for each server", whole(1), 3)
  .addOption(
    new Option("--only <server>", "measure only this server").choices(["nabla", "tfjs-wasm"]).conflicts("batch"),
  )
  .option("--batch [milliseconds]", "compare nabla with and without combining requests into batches", whole(0))
  .addOption(
    new Option("--save", "save the results in docs/data, for the benchmarks page (node docs/tables.mjs)").conflicts([
      "only",
      "network",
      "batch",
    ]),
  )
  .addOption(new Option("--network <name>", "measure only this network").choices(Object.keys(networks)))
  .parse()
  .opts();

/** The number of requests in the warm-up round. */
const WARM_UP = 5000;
const here = (file) => fileURLToPath(new URL(file, import.meta.url));
const serve = (network) => [here("../../../dist/bin/nabla.js"), "serve", here(`${network}.mjs`), "--port", "0"];
const joining = ["--batch", ...(batch === true ? [] : [String(batch)])];
const commands = {
  nabla: serve,
  ...(batch === undefined
    ? { "tfjs-wasm": (network) => [here("tfjs.mjs"), network] }
    : { "nabla --batch": (network) => [...serve(network), ...joining] }),
};

async function start(command) {
  const args = ["--expose-gc", "--import", new URL("held.mjs", import.meta.url).href, ...command];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  const waitForOutput = (stream, pattern) =>
    new Promise((found, failed) => {
      let output = "";
      const listen = (text) => {
        output += text;
        const match = pattern.exec(output);
        if (!match) return;
        stream.off("data", listen);
        found(match);
      };
      stream.on("data", listen);
      child.once("exit", (code) => failed(new Error(`${command.join(" ")} ended with ${code}: ${output}`)));
    });
  const [url] = await waitForOutput(child.stdout, /http:\S+/);
  /** The megabytes that the server holds after garbage collection, and the CPU time that it has used, in microseconds. */
  const state = async () => {
    const output = waitForOutput(child.stderr, /held (\d+) used (\d+)/);
    child.kill("SIGUSR2");
    const [, bytes, used] = (await output).map(Number);
    return { memory: bytes / 1e6, used };
  };
  return { child, url, state };
}

const saved = [];
const row = (cells) => console.log(cells.map((text, i) => (i ? String(text).padStart(15) : text.padEnd(40))).join(""));
console.log(
  `Node ${process.version}: ${clients} clients, ${requests.toLocaleString("en")} requests per round, medians of ${rounds} rounds\n`,
);
row(["", "requests/s", "CPU µs each", "p50 ms", "p99 ms", "errors", "MB held warm", "MB held last"]);
for (const [network, { title, sample }] of Object.entries(networks)) {
  if (wanted && wanted !== network) continue;
  const body = JSON.stringify({ inputs: [sample] });
  const servers = {};
  for (const [name, command] of Object.entries(commands))
    if (!only || only === name) servers[name] = await start(command(network));
  const answers = [];
  const warm = {};
  const seen = Object.fromEntries(Object.keys(servers).map((name) => [name, []]));
  for (const { url } of Object.values(servers)) {
    const response = await fetch(url, { method: "POST", body, headers: { "content-type": "application/json" } });
    answers.push((await response.json()).outputs[0]);
  }
  if (answers.some((answer) => answer.some((value, i) => Math.abs(value - answers[0][i]) > 1e-4)))
    throw new Error(`${title}: all servers must give the same answer, got ${answers.join(" | ")}`);
  for (let round = 0; round <= rounds; round++)
    for (const [name, { url, state }] of Object.entries(servers)) {
      const options = {
        url,
        method: "POST",
        body,
        headers: { "content-type": "application/json" },
        connections: clients,
        amount: round ? requests : WARM_UP,
        timeout: 120,
      };
      const before = await state();
      const { duration, latency, "2xx": fine } = await autocannon(options);
      const { p50, p99 } = latency;
      const { memory, used } = await state();
      const cpu = (used - before.used) / fine;
      if (round) seen[name].push({ rate: fine / duration, cpu, p50, p99, errors: requests - fine, memory });
      else warm[name] = memory;
    }
  for (const [name, results] of Object.entries(seen)) {
    const of = (key) => median(results.map((result) => result[key]));
    saved.push({ suite: "load", case: title, impl: name, unit: "requests/s", median: of("rate") });
    const errors = results.reduce((sum, result) => sum + result.errors, 0);
    row([
      `${title}, ${name}`.slice(0, 40),
      of("rate").toFixed(0),
      of("cpu").toFixed(0),
      of("p50").toFixed(1),
      of("p99").toFixed(1),
      errors,
      warm[name].toFixed(1),
      results.at(-1).memory.toFixed(1),
    ]);
  }
  const rate = (name) => median(seen[name].map((result) => result.rate));
  const [first, second] = Object.keys(servers);
  if (batch !== undefined) {
    // Compare round by round, so that a period in which the machine is slow affects both servers. CPU time hardly depends on what else
    // the machine runs.
    const ratio = (of) => median(seen[second].map((result, i) => of(result, seen[first][i]))).toFixed(2);
    console.log(
      `nabla --batch serves ${ratio((joined, alone) => joined.rate / alone.rate)}× as many requests, ` +
        `${ratio((joined, alone) => alone.cpu / joined.cpu)}× as many per second of CPU time`,
    );
  } else if (!only)
    console.log(`nabla serves ${(rate(first) / rate(second)).toFixed(2)}× as many requests as tfjs-wasm`);
  console.log();
  for (const { child } of Object.values(servers)) child.kill("SIGTERM");
}
if (isSaved) save("npm run bench:load", machine("fastest build"), saved);
