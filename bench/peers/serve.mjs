/**
 * Runs a contender in its own process: `node serve.mjs <peer> [option] [threads]` reads requests and writes replies (job.mjs), one line of
 * JSON each. The first line that it writes is {name}. torch_step.py uses the same protocol.
 */
import { createInterface } from "node:readline";
import { cpuClock, wallClock } from "../../dist/bench/measure.js";
import { Runner } from "./job.mjs";

const [peerName, option, threads] = process.argv.slice(2);
const send = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
// Send messages that libraries print to stderr, because stdout carries the replies.
console.log = console.info = console.warn = console.error;

try {
  const peer = await import(`./${peerName}.mjs`);
  const now = process.env.CPU_TIME ? cpuClock : wallClock;
  const runner = await Runner.start(peer, { option, threads: Number(threads ?? 1), now });
  send({ name: runner.name });
  for await (const line of createInterface({ input: process.stdin })) send(await runner.answer(JSON.parse(line)));
} catch (error) {
  send({ error: String(error?.message ?? error) });
}
process.exit(0);
