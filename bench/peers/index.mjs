/**
 * `npm run bench:peers -- [suite…] [--json] [--cpu-time]`: compares nabla with other libraries. The suite "kernels" compares
 * TensorFlow.js's backends; the suite "browsers" runs on pages. In the other suites, each contender has its own process (serve.mjs,
 * torch_step.py). They take turns over several rounds; only one runs at a time, with one thread unless its name says otherwise. If a
 * contender cannot start or fails, the table says so.
 */
import { Argument, Command, Option } from "commander";
import { machine } from "../../dist/bench/report.js";
import { save } from "../../dist/bench/save.js";
import { STEPS } from "../../dist/bench/training.js";
import { BROWSERS, compareBrowsers } from "./browsers/index.mjs";
import { suites } from "./cases.mjs";
import { installNabla } from "./install.mjs";
import { compareKernels } from "./kernels.mjs";
import { Peer } from "./peer.mjs";
import { runSuite } from "./turns.mjs";

const names = ["matmul", "step", "models", "epoch", "tfjs"];
/** This suite compares TensorFlow.js's backends kernel by kernel. Like "browsers", it takes minutes, so it runs only if the command line names it. */
const KERNELS = "kernels";
const program = new Command("bench:peers")
  .description(
    "Compares nabla with tfjs-wasm, onnxruntime, jax-js, ml-matrix and PyTorch. Compares an epoch of MNIST with PyTorch only.",
  )
  .addArgument(
    new Argument("[suite...]", "what to measure")
      .choices([...names, BROWSERS, KERNELS])
      .default(names, names.join(", ")),
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

/** Starts every contender. If one cannot start, its `error` says why. */
async function startPeers() {
  const node = (name, ...args) => new Peer(name, { cpuTime }, process.execPath, "serve.mjs", ...args);
  const peers = [
    node("pure JS", "pure"),
    node("nabla simd", "nabla", "simd"),
    node("nabla relaxed", "nabla", "relaxed"),
    node("nabla simd, compiled", "nabla-compiled", "simd"),
    node("nabla relaxed, compiled", "nabla-compiled", "relaxed"),
    node("nabla relaxed, compiled, int8", "nabla-int8", "relaxed"),
    node("nabla relaxed, compiled, 2 threads", "nabla-compiled", "relaxed", "2"),
    node("fromLayersModel simd, compiled", "fromLayers", "simd"),
    node("fromLayersModel relaxed, compiled", "fromLayers", "relaxed"),
    node("tfjs-wasm", "tfjs"),
    node("tfjs-cpu", "tfjs", "cpu"),
    node("tfjs-nabla", "tfjs", "nabla"),
    node("jax-js wasm", "jax"),
    node("ml-matrix", "ml-matrix"),
    new Peer("PyTorch", { cpuTime }, "/usr/bin/python3", "torch_step.py"),
    // onnxruntime starts after PyTorch, because PyTorch exports its models.
    node("onnxruntime-web", "ort", "web"),
    node("onnxruntime-node", "ort", "node"),
  ];
  for (const peer of peers) {
    const { name, error } = await peer.reply();
    if (name) peer.name = name;
    peer.error = error;
  }
  return peers;
}

/** For each suite, the contender to which ratios are relative. */
const BASES = { matmul: "tfjs-wasm", step: "PyTorch", models: "nabla relaxed", epoch: "PyTorch", tfjs: "tfjs-wasm" };
/** The contender to which ratios are relative if the base cannot run the case. */
const OTHER_BASE = "tfjs-cpu";
/**
 * The contenders that run each suite. onnxruntime runs only models, and TensorFlow.js those that its programs define. Only models run on two
 * threads, and only by wall-clock time. A compiled function would only add its call to a product. ml-matrix has no gradients, and therefore
 * no training steps. Only compiled nabla and PyTorch run an epoch. tfjs-wasm cannot train CNNs, so tfjs-cpu trains the small one in its
 * place; larger CNNs would take tfjs-cpu too long.
 */
const TAKES_PART = {
  matmul: (name) => !/^tfjs-cpu|^onnx|compiled/.test(name),
  step: (name, one) =>
    !/^(ml-matrix|onnx)|(int8|threads)$/.test(name) &&
    (!name.startsWith("tfjs-cpu") || one.name.startsWith("CNN 8-16")),
  models: (name, one) =>
    /^(nabla relaxed, compiled$|PyTorch)/.test(name) ||
    (name.endsWith("int8") && one.int8) ||
    (name.endsWith("threads") && !cpuTime) ||
    (name.startsWith("onnx") && one.name.startsWith("infer")) ||
    (/^tfjs-(wasm|nabla)/.test(name) && one.name.includes("224×224")),
  epoch: (name) => (name.startsWith("nabla") && name.endsWith("compiled")) || name.startsWith("PyTorch"),
  tfjs: (name, one) => /^tfjs-(wasm|nabla)/.test(name) || (name.startsWith("tfjs-cpu") && one.name.includes("CNN")),
};

/** The heads of the columns with losses. */
const LOSS = { step: `loss at step ${STEPS}`, epoch: "mean loss", models: "loss or error", tfjs: "loss" };

installNabla();
const print = json ? () => {} : console.log;
const where = machine(undefined, "one thread unless noted");
print(where);
const chosen = program.processedArgs[0];
const chosenSuites = names.filter((name) => chosen.includes(name));
const peers = chosenSuites.length ? await startPeers() : [];
const results = { rows: [], missing: [] };
const add = ({ rows, missing = [] }) => {
  results.rows.push(...rows);
  results.missing.push(...missing);
};
const isChosen = ({ name }) => name.includes(only);
for (const suite of chosenSuites) {
  const contenders = (one) => peers.filter(({ name }) => TAKES_PART[suite](name, one));
  const bases = [BASES[suite], OTHER_BASE];
  const title = `${suite}${cpuTime ? ", CPU time" : ""}`;
  add(await runSuite(suite, suites[suite].filter(isChosen), { contenders, bases, title, loss: LOSS[suite], print }));
}
for (const peer of peers) peer.close();
if (chosen.includes(BROWSERS)) add(await compareBrowsers({ isChosen, print, save: isSaved }));
if (chosenSuites.length || chosen.includes(BROWSERS)) print("\n* computed from the shortest time per call");
if (chosen.includes(KERNELS)) add({ rows: await compareKernels(only, print) });
if (json) {
  for (const reason of results.missing) console.error(reason);
  console.log(JSON.stringify(results.rows, null, 2));
}
if (isSaved) {
  const own = results.rows.filter(({ suite }) => [...names, KERNELS].includes(suite));
  save(
    "npm run bench:peers",
    where,
    own.map((row) => ({ ...row, suite: `peers-${row.suite}` })),
  );
}
process.exit(0);
