/**
 * `npm run bench:peers -- kernels`: measures the time of every kernel in TensorFlow.js's WASM backend, on that backend and on nabla's.
 * Both run in this process, with one thread, and take turns. Each kernel runs at two sizes: the smallest (doubling from 64 elements) at
 * which the WASM backend needs at least 50 µs, and one with 16 times as many elements.
 */
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-layers";
import "@tensorflow/tfjs-backend-cpu";
import { setThreadsCount } from "@tensorflow/tfjs-backend-wasm";
import { median, wallClock as now } from "../../dist/bench/measure.js";
import { figure } from "../../dist/bench/report.js";
import { kernelCases } from "./kernelCases.mjs";
import { valuesOf } from "./specifications.mjs";

const LEAST = 0.05;
const GROWTH = 16;
const ROUNDS = 9;
const ROUND = 12;

/** Prepares a kernel call on one backend. The inputs are uploaded once. */
async function open(backend, name, n) {
  await tf.setBackend(backend);
  const [specifications, attrs] = kernelCases[name](n);
  const list = Object.values(specifications).map((one, i) => tf.tensor(valuesOf(one, i + 1), one.shape, one.dtype));
  const inputs = Array.isArray(specifications)
    ? list
    : Object.fromEntries(Object.keys(specifications).map((key, i) => [key, list[i]]));
  const call = () => [tf.engine().runKernel(name, inputs, attrs)].flat();
  return {
    run: () => tf.dispose(call()),
    use: () => tf.setBackend(backend),
    result: () => tf.tidy(() => call().flatMap((x) => (x.dtype === "string" ? [] : [...x.dataSync()]))),
    close: () => tf.dispose(list),
  };
}

/** The median time of a call during a round. */
function round(job, length = ROUND) {
  job.use();
  const times = [];
  const begin = now();
  for (let before = begin; times.length < 3 || before - begin < length; ) {
    job.run();
    const after = now();
    times.push(after - before);
    before = after;
  }
  return median(times);
}

/** The smallest size at which a call on the WASM backend takes at least LEAST milliseconds. */
async function smallest(name) {
  for (let n = 64; ; n *= 2) {
    const job = await open("wasm", name, n);
    round(job, 3 * ROUND);
    const time = round(job);
    job.close();
    if (time >= LEAST || n >= 2 ** 24) return n;
  }
}

/**
 * Whether at most one element in a thousand differs by more than 10⁻³ times the largest magnitude. A few may differ by more, because
 * rounding can change which position a kernel returns.
 */
function agree(got, expected) {
  if (got.length !== expected.length) return false;
  const largest = expected.reduce((most, x) => (Number.isFinite(x) ? Math.max(most, Math.abs(x)) : most), 0);
  const differ = (x, y) => !(Math.abs(x - y) <= 1e-3 * largest || Object.is(x, y));
  return got.filter((x, i) => differ(x, expected[i])).length <= got.length / 1000;
}

/**
 * Checks nabla's result against that of the CPU backend, which serves as the reference.
 * @returns whether the WASM backend's result is wrong
 */
async function check(name, n, jobs) {
  const cpu = await open("cpu", name, n);
  const [expected, theirs, ours] = [cpu, ...jobs].map((job) => {
    job.use();
    return job.result();
  });
  cpu.close();
  // Random results differ even between two calls, so they cannot be compared.
  if (name === "Multinomial") return false;
  if (!agree(ours, expected)) throw new Error("nabla's result differs from the CPU backend's");
  return !agree(theirs, expected);
}

/** A kernel's times on both backends at one size, and the WASM backend's time divided by nabla's. */
async function compare(name, n) {
  const [wasm, nabla] = [await open("wasm", name, n), await open("nabla", name, n)];
  const isWrong = await check(name, n, [wasm, nabla]);
  for (const job of [wasm, nabla]) round(job, 3 * ROUND);
  const pairs = Array.from({ length: ROUNDS }, () => [round(wasm), round(nabla)]);
  for (const job of [wasm, nabla]) job.close();
  const [theirs, ours] = [0, 1].map((i) => median(pairs.map((pair) => pair[i])));
  return { theirs, ours, ratio: median(pairs.map(([a, b]) => a / b)), isWrong };
}

/**
 * @param only a comma-separated list of the kernels to run; if it is empty, all kernels run
 * @returns the rows of the table
 */
export async function compareKernels(only, print) {
  setThreadsCount(1);
  await import("nabla/tfjs");
  const names = tf
    .getKernelsForBackend("wasm")
    .map(({ kernelName }) => kernelName)
    .sort();
  const chosen = names.filter((name) => kernelCases[name] && (!only || only.split(",").includes(name)));
  const [rows, slower, failed] = [[], [], []];
  const width = Math.max(...chosen.map((name) => name.length));
  const head = ["elements", "wasm µs", "nabla µs", "×"].map((text) => text.padStart(9)).join("");
  print(`kernels: medians over ${ROUNDS} rounds, and the median ratio of the times\n${"".padEnd(width)}${head}${head}`);
  for (const name of chosen) {
    const n = await smallest(name);
    const cells = [];
    for (const size of [n, GROWTH * n]) {
      try {
        const { theirs, ours, ratio, isWrong } = await compare(name, size);
        cells.push(...[size, ...[theirs * 1e3, ours * 1e3, ratio].map(figure)], isWrong ? "!" : " ");
        if (ratio < 0.9) slower.push(`${name} at ${size}: ${figure(ratio)}`);
        for (const [impl, time] of Object.entries({ "tfjs-wasm": theirs, "tfjs-nabla": ours }))
          rows.push({ suite: "kernels", case: `${name} ${size}`, impl, unit: "µs", median: time * 1e3 });
      } catch (error) {
        failed.push(`${name} at ${size}: ${error.message}`);
      }
    }
    print(
      name.padEnd(width) +
        cells.map((cell) => (`${cell}`.length > 1 || cell === 0 ? `${cell}`.padStart(9) : cell)).join(""),
    );
  }
  if (!only)
    print(
      `\nnot measured, because they copy nothing or never take 50 µs: ${names.filter((name) => !kernelCases[name]).join(", ")}`,
    );
  print(
    `!: the WASM backend's result differs from the CPU backend's\nbelow 0.9 of the WASM backend's speed: ${slower.join("; ") || "none"}`,
  );
  if (failed.length) print(`!! FAILED ${failed.join("\n!! FAILED ")}`);
  return rows;
}
