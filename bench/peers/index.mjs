/**
 * `npm run bench:peers -- [suite…] [--json] [--cpu-time]`: compares nabla with other libraries. The suite "kernels" compares
 * TensorFlow.js's backends. Each contender has its own process (serve.mjs, torch_step.py). They take turns over several rounds; only one
 * runs at a time, with one thread. If a contender cannot start or fails, the table says so.
 */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Argument, Command, Option } from "commander";
import { median } from "../../dist/bench/measure.js";
import { networkStart, networks } from "../../dist/bench/networks.js";
import { figure, machine, table } from "../../dist/bench/report.js";
import { save } from "../../dist/bench/save.js";
import { EPOCH, LR, requireEpoch, requireLosses, STEPS, startOf, trainingTasks } from "../../dist/bench/training.js";
import { difference, requireClose, shuffledOrder, uniform } from "../../dist/bench/values.js";
import { installedDirectory } from "../../dist/cli/mnist/data.js";
import { installNabla } from "./install.mjs";
import { compareKernels } from "./kernels.mjs";
import { modelCases, requireResults } from "./models.mjs";

const ROUNDS = 9;
/**
 * The length of a round in milliseconds. Rounds that train networks are longer, because the first steps after a pause
 * run with cold caches.
 */
const ROUND = 60;
const NETWORK_ROUND = 500;
const names = ["matmul", "step", "models", "epoch", "tfjs"];
/** This suite compares TensorFlow.js's backends kernel by kernel. It takes minutes, so it runs only if the command line names it. */
const KERNELS = "kernels";
const program = new Command("bench:peers")
  .description(
    "Compares nabla with tfjs-wasm, onnxruntime-web, jax-js, ml-matrix and PyTorch. Compares an epoch of MNIST with PyTorch only.",
  )
  .addArgument(
    new Argument("[suite...]", "what to measure").choices([...names, KERNELS]).default(names, names.join(", ")),
  )
  .option("--json", "print only an array of { suite, case, impl, unit, median, min, samples }")
  .addOption(
    new Option("--save", "save the results in docs/data, for the benchmarks page (node docs/tables.mjs)").conflicts(
      "only",
    ),
  )
  .option("--only <text>", "measure only cases whose name contains this text")
  .option("--cpu-time", "measure CPU time instead of wall-clock time, for a machine that other programs use too")
  .parse();
const { json, save: isSaved, cpuTime, only = "" } = program.opts();

const encode = (values) => Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64");

/** A process that answers each line of its input with one line of output. */
class Peer {
  constructor(name, command, ...args) {
    this.name = name;
    /** Replies that have not been read yet, and callers that are waiting for a reply. */
    this.replies = [];
    this.waiting = [];
    const env = {
      ...process.env,
      OMP_NUM_THREADS: "1",
      PYTHONDONTWRITEBYTECODE: "1",
      ...(cpuTime ? { CPU_TIME: "1" } : {}),
    };
    // These variables can restrict OpenBLAS, and so PyTorch, to fewer instructions than the machine has.
    delete env.OPENBLAS_CORETYPE;
    delete env.OPENBLAS_L2_SIZE;
    this.process = spawn(command, args, {
      cwd: fileURLToPath(new URL(".", import.meta.url)),
      env,
      stdio: ["pipe", "pipe", "pipe"],
    });
    let errors = "";
    this.process.stderr.on("data", (text) => {
      errors = (errors + text).slice(-2000);
    });
    this.process.on("error", (error) => this.end(error.message));
    this.process.on("close", (code) => this.end(errors.trim().split("\n").at(-1) || `ended with code ${code}`));
    this.process.stdin.on("error", () => {});
    createInterface({ input: this.process.stdout }).on("line", (line) => {
      const settle = this.waiting.shift();
      if (settle) settle(JSON.parse(line));
      else this.replies.push(JSON.parse(line));
    });
  }
  end(reason) {
    this.ended = reason;
    for (const settle of this.waiting.splice(0)) settle({ error: reason });
  }
  reply() {
    if (this.replies.length) return this.replies.shift();
    return this.ended ? { error: this.ended } : new Promise((settle) => this.waiting.push(settle));
  }
  ask(request) {
    if (!this.ended) this.process.stdin.write(`${JSON.stringify(request)}\n`);
    return this.reply();
  }
  close() {
    this.process.stdin.end();
  }
}

/** Starts every contender. If one cannot start, its `error` says why. */
async function startPeers() {
  const node = (name, ...args) => new Peer(name, process.execPath, "serve.mjs", ...args);
  const peers = [
    node("pure JS", "pure"),
    node("nabla simd", "nabla", "simd"),
    node("nabla relaxed", "nabla", "relaxed"),
    node("nabla simd, compiled", "nabla-compiled", "simd"),
    node("nabla relaxed, compiled", "nabla-compiled", "relaxed"),
    node("nabla relaxed, compiled, int8", "nabla-int8", "relaxed"),
    node("fromLayersModel simd, compiled", "fromLayers", "simd"),
    node("fromLayersModel relaxed, compiled", "fromLayers", "relaxed"),
    node("tfjs-wasm", "tfjs"),
    node("tfjs-cpu", "tfjs", "cpu"),
    node("tfjs on nabla", "tfjs", "nabla"),
    node("jax-js wasm", "jax"),
    node("ml-matrix", "ml-matrix"),
    new Peer("PyTorch", "/usr/bin/python3", "torch_step.py"),
    // onnxruntime-web starts after PyTorch, because PyTorch exports its models.
    node("onnxruntime-web", "ort"),
  ];
  for (const peer of peers) {
    const { name, error } = await peer.reply();
    if (name) peer.name = name;
    peer.error = error;
  }
  return peers;
}

/** The largest error of a model with int8 weights: ‖y − ŷ‖ / ‖y‖. */
const INT8_ERROR = 0.05;

/**
 * Checks a contender's results against those of the first contender. Returns the error of a model with int8 weights.
 * @throws Error if the results differ
 */
function check(peer, { name, epoch, tfjs, model }, { result, losses }, reference) {
  const what = `${name}, ${peer.name}`;
  if (model) {
    // TensorFlow.js's models have their own weights. The suite "tfjs" checks them.
    const valuesOf = (reply) => reply.losses ?? decode(reply.result);
    if (peer.name.endsWith("int8")) {
      const error = difference(valuesOf({ result, losses }), valuesOf(reference));
      if (!(error <= INT8_ERROR)) throw new Error(`${what}: the results differ by ${error} from those in float32.`);
      return `error ${(100 * error).toFixed(2)} %`;
    }
    if (!peer.name.startsWith("tfjs")) requireResults(what, valuesOf({ result, losses }), valuesOf(reference));
    return undefined;
  }
  if (epoch) requireEpoch(what, losses[0], reference.losses[0]);
  else if (tfjs && losses) requireClose(what, losses, reference.losses, 1e-3);
  else if (losses) requireLosses(what, losses, reference.losses);
  else requireClose(what, decode(result), decode(reference.result), 1e-4);
  return undefined;
}
const decode = (text) => new Float32Array(Uint8Array.from(Buffer.from(text, "base64")).buffer);

async function runCase(peers, suite, one) {
  const entries = peers.map((peer) => ({
    peer,
    error: peer.error ?? peer.ended,
    rounds: [],
    least: Infinity,
    samples: 0,
  }));
  let reference;
  for (const entry of entries) {
    if (entry.error) continue;
    const reply = await entry.peer.ask({ open: suite, ...one.task() });
    entry.error = reply.error;
    if (reply.error) continue;
    reference ??= reply;
    entry.loss = reply.losses?.at(-1).toPrecision(6);
    try {
      entry.loss = check(entry.peer, one, reply, reference) ?? entry.loss;
    } catch (error) {
      entry.error = error.message;
    }
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (const entry of entries) {
      if (entry.error) continue;
      const reply = await entry.peer.ask({ round: one.network ? NETWORK_ROUND : ROUND });
      entry.error = reply.error;
      entry.rounds.push(reply.median);
      entry.least = Math.min(entry.least, reply.least);
      entry.samples += reply.samples;
    }
  }
  for (const { peer } of entries) if (!peer.ended && !peer.error) await peer.ask({ close: true });
  return entries;
}

const cubes = [64, 128, 256, 512].map((n) => ({
  name: `${n}³`,
  flops: 2 * n ** 3,
  task: () => ({ m: n, k: n, n, a: encode(uniform(n * n, -1, 1, 1)), b: encode(uniform(n * n, -1, 1, 2)) }),
}));
const steps = trainingTasks.map((training) => ({
  name: training.name,
  task: () => ({
    ...training,
    lr: LR,
    start: Object.fromEntries(Object.entries(startOf(training)).map(([key, values]) => [key, encode(values)])),
  }),
}));
const epochs = [
  {
    name: `MNIST ${EPOCH.inputs}-${EPOCH.hidden}-${EPOCH.outputs} B=${EPOCH.batch}`,
    epoch: true,
    task: () => ({
      ...EPOCH,
      lr: LR,
      folder: installedDirectory(),
      order: encode(shuffledOrder(60_000)),
      start: Object.fromEntries(Object.entries(startOf(EPOCH)).map(([key, values]) => [key, encode(values)])),
    }),
  },
];
for (const network of networks) {
  steps.push({
    name: network.name,
    network: true,
    task: () => {
      const { x, labels, params } = networkStart(network);
      const shaped = params.map(({ shape, values }) => ({ shape, values: encode(values) }));
      return { ...network, lr: LR, start: { x: encode(x), labels: encode(labels) }, params: shaped };
    },
  });
}
/** Programs in TensorFlow.js's API (programs.mjs). All backends run the same ones, and must agree on the losses of the first two runs. */
const programNames = [
  "fit: dense 784-512-10 B=128",
  "fit: dense 784-128-10 B=32",
  "fit: LSTM 28→128 T=28 B=32",
  "fit: CNN 8-16 28×28 B=32",
  "fit: XOR 2-8-1 B=4",
  "minimize: XOR 2-8-1 B=4",
  "predict: MobileNetV2 224×224 B=1",
  "predict: ResNet-18 224×224 B=1",
];
const tfjsPrograms = programNames.map((name) => ({
  name,
  tfjs: true,
  network: true,
  task: () => ({ name, runs: 2 }),
}));
const suites = { matmul: cubes, step: steps, models: modelCases(), epoch: epochs, tfjs: tfjsPrograms };
/** For each suite, the contender to which ratios are relative. */
const BASES = { matmul: "tfjs-wasm", step: "PyTorch", models: "nabla relaxed", epoch: "PyTorch", tfjs: "tfjs-wasm" };
/** The contender to which ratios are relative if the base cannot run the case. */
const OTHER_BASE = "tfjs-cpu";
/**
 * The contenders that run each suite. onnxruntime-web runs only models, and TensorFlow.js those that its programs define. A compiled function
 * would only add its call to a product. ml-matrix has no gradients, and therefore no training steps. Only compiled nabla and PyTorch run an
 * epoch. tfjs-wasm cannot train CNNs, so tfjs-cpu trains the small one in its place; larger CNNs would take tfjs-cpu too long.
 */
const TAKES_PART = {
  matmul: (name) => !/^tfjs-cpu|^onnx|compiled/.test(name),
  step: (name, one) =>
    !/^(ml-matrix|onnx)|int8$/.test(name) && (!name.startsWith("tfjs-cpu") || one.name.startsWith("CNN 8-16")),
  models: (name, one) =>
    /^(nabla relaxed, compiled$|PyTorch)/.test(name) ||
    (name.endsWith("int8") && one.int8) ||
    (name.startsWith("onnx") && one.name.startsWith("infer")) ||
    (name.startsWith("tfjs-wasm") && one.name.includes("224×224")),
  epoch: (name) => (name.startsWith("nabla") && name.endsWith("compiled")) || name.startsWith("PyTorch"),
  tfjs: (name, one) => /^tfjs.(nabla|wasm|on)/.test(name) || (name.startsWith("tfjs-cpu") && one.name.includes("CNN")),
};

function report(suite, one, entries) {
  const ready = (name) => entries.find(({ peer, error }) => !error && peer.name.startsWith(name));
  const base = ready(BASES[suite]) ?? ready(OTHER_BASE);
  const inUnit = (t) => (one.flops ? one.flops / t / 1e6 : one.epoch ? t / 1e3 : t * 1e3);
  const unit = one.flops ? "GFLOP/s" : one.epoch ? "s" : "µs";
  return entries.map(({ peer, error, rounds, least, samples, loss }, i) => {
    const name = i ? "" : one.name;
    if (error)
      return { cells: [name, peer.name, "—", "—", "", "", "!! MISSING"], missing: `!! MISSING ${peer.name}: ${error}` };
    const ratio = base ? figure(median(rounds.map((t, r) => base.rounds[r] / t))) : "";
    return {
      cells: [name, peer.name, figure(inUnit(median(rounds))), figure(inUnit(least)), unit, ratio, loss ?? ""],
      row: {
        suite,
        case: one.name,
        impl: peer.name,
        unit,
        median: inUnit(median(rounds)),
        min: inUnit(least),
        samples,
      },
    };
  });
}

installNabla();
const print = json ? () => {} : console.log;
print(machine());
const chosenSuites = names.filter((name) => program.processedArgs[0].includes(name));
const peers = chosenSuites.length ? await startPeers() : [];
const rows = [];
for (const suite of chosenSuites) {
  const lines = [
    [
      "case",
      "impl",
      "median",
      "min*",
      "unit",
      `× ${BASES[suite]}`,
      { step: `loss at step ${STEPS}`, epoch: "mean loss", models: "loss or error", tfjs: "loss" }[suite] ?? "",
    ],
  ];
  const missing = new Set();
  for (const one of suites[suite].filter(({ name }) => name.includes(only))) {
    const chosen = peers.filter(({ name }) => TAKES_PART[suite](name, one));
    for (const { cells, row, missing: reason } of report(suite, one, await runCase(chosen, suite, one))) {
      lines.push(cells);
      if (row) rows.push(row);
      if (reason) missing.add(reason);
    }
  }
  print(
    `\n${suite}: medians over ${ROUNDS} rounds${cpuTime ? ", CPU time" : ""}\n${[table(lines), ...missing].join("\n")}`,
  );
  if (json) for (const reason of missing) console.error(reason);
}
if (peers.length) print("\n* computed from the shortest time per call");
for (const peer of peers) peer.close();
if (program.processedArgs[0].includes(KERNELS)) rows.push(...(await compareKernels(only, print)));
if (isSaved) {
  const peerRows = rows.map((row) => ({ ...row, suite: `peers-${row.suite}` }));
  save("npm run bench:peers", machine(), peerRows);
}
if (json) console.log(JSON.stringify(rows, null, 2));
process.exit(0);
