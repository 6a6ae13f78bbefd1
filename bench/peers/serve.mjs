/**
 * Runs a contender in its own process: `node serve.mjs <peer> [build]` reads requests and writes replies, one line of JSON each.
 *   {open: suite, …task}   → {result: base64 of float32} or {losses: [first, …, last]}   sets up, warms up
 *   {round: milliseconds}  → {median, least, samples}                                 milliseconds per call
 *   {close: true}          → {}
 * The reply to a request that fails is {error: message}. The first line that it writes is {name}. torch_step.py uses the same protocol.
 */
import { createInterface } from "node:readline";
import { cpuClock, median, wallClock } from "../../dist/bench/measure.js";
import { STEPS } from "../../dist/bench/training.js";

const [peerName, build] = process.argv.slice(2);
const now = process.env.CPU_TIME ? cpuClock : wallClock;
const send = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
// Send messages that libraries print to stderr, because stdout carries the replies.
console.log = console.info = console.warn = console.error;

const WARM_UP = 300;
const SAMPLE = 0.2;
let job;
let repeat = 1;

const decode = (text, Type) => new Type(Uint8Array.from(Buffer.from(text, "base64")).buffer);

async function open(peer, { open: suite, ...task }) {
  if (!peer[suite]) throw new Error(`does not implement ${suite}`);
  for (const key of ["a", "b"]) if (task[key]) task[key] = decode(task[key], Float32Array);
  if (task.order) task.order = decode(task.order, Int32Array);
  if (task.params && !peer.networks?.includes(task.kind)) throw new Error(`does not train ${task.name}`);
  for (const p of task.params ?? []) p.values = decode(p.values, Float32Array);
  if (task.start) {
    task.start = Object.fromEntries(
      Object.entries(task.start).map(([key, text]) => [
        key,
        decode(text, key === "labels" ? Int32Array : Float32Array),
      ]),
    );
  }
  job = await peer[suite](task);
  const results = {};
  if (job.result) {
    results.result = Buffer.from(Float32Array.from(await job.result()).buffer).toString("base64");
  } else {
    job.reset();
    results.losses = [];
    // An epoch is so long that it needs no separate warm-up. The loss of an epoch is the mean over the epoch's steps.
    const runs = suite === "epoch" ? 1 : (task.runs ?? STEPS);
    for (let i = 0; i < runs; i++) results.losses.push(await job.run());
    repeat = 1;
    if (suite === "epoch") return results;
  }
  let least = Infinity;
  const begin = now();
  for (let before = begin, calls = 0; before - begin < WARM_UP || calls < 3; calls++) {
    await job.run();
    const after = now();
    if (after > before) least = Math.min(least, after - before);
    before = after;
  }
  repeat = Math.max(1, Math.ceil(SAMPLE / least));
  return results;
}

async function round(milliseconds) {
  job.reset?.();
  const times = [];
  const begin = now();
  for (let before = begin; !times.length || before - begin < milliseconds; ) {
    for (let i = 0; i < repeat; i++) {
      const pending = job.run();
      if (pending instanceof Promise) await pending;
    }
    const after = now();
    times.push((after - before) / repeat / (job.steps ?? 1));
    before = after;
  }
  return { median: median(times), least: Math.min(...times), samples: times.length };
}

try {
  const peer = await import(`./${peerName}.mjs`);
  send({ name: await peer.open(build) });
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    try {
      if (request.open) send(await open(peer, request));
      else if (request.round) send(await round(request.round));
      else {
        job?.close();
        job = undefined;
        send({});
      }
    } catch (error) {
      job = undefined;
      send({ error: String(error?.message ?? error) });
    }
  }
} catch (error) {
  send({ error: String(error?.message ?? error) });
}
process.exit(0);
