/** PyTorch's values (test/torch/values.json, written by make.py) as tensors, and the tolerance for all comparisons. */
import { readFileSync } from "node:fs";
import * as nabla from "nabla";
import { grad, hvp, nn, type Tensor, tensor } from "nabla";
import { expect } from "vitest";

type Num = number | "NaN" | "Infinity" | "-Infinity";
/** A tensor, or `at`, the index of a tensor in `shared`. */
export type Stored = { shape: number[]; data: Num[]; dtype?: "int32" | "bool" } | { at: number };
type Argument = Stored | number | string | boolean | null | Argument[] | { [option: string]: Argument };

/** A call and its results. test/torch/make.py describes the fields. */
export interface Case {
  name: string;
  f: string;
  args: Argument[];
  out: Stored;
  wrt?: number[];
  dy?: Stored;
  grads?: Stored[];
  v?: Stored;
  hvp?: Stored;
}

/** A sequence of layers with state, input, upstream gradient and results. */
export interface LayerCase {
  name: string;
  layers: [string, ...unknown[]][];
  x: Stored;
  dy: Stored;
  out: Stored;
  dx: Stored;
  state: Record<string, Stored>;
  grads: Record<string, Stored>;
}

/** A module with any number of inputs and results. */
export interface ModuleCase {
  name: string;
  layer: string;
  args: unknown[];
  inputs: Argument[];
  state: Record<string, Stored>;
  /** The flat list of results, and their upstream gradients. */
  out: Stored[];
  dy: Stored[];
  /** The gradients of the parameters, by name, and those of the float32 inputs, as a flat list. */
  grads: Record<string, Stored>;
  dx: Stored[];
}

/** A function of one tensor with several results. */
export interface SeveralCase {
  name: string;
  f: string;
  args: Argument[];
  out: Stored[];
  /** The upstream gradients of the float32 results. */
  dy: Stored[];
  dx: Stored;
}

/** 20 steps of an optimizer on `values.problem`. */
export interface OptimizerCase {
  name: string;
  optimizer: "SGD" | "Adam" | "AdamW" | "RMSProp" | "Adagrad";
  options: { lr?: number };
  /** One learning rate per parameter, each in its own group; null means the optimizer's rate. */
  lrs?: (number | null)[];
  /** The index of the parameter that has no gradient in the first 3 steps. */
  late?: number;
  /** The parameters after steps 1, 2, 5, 10 and 20. */
  at: Stored[][];
}

/** 50 steps of an optimizer on `values.problem`. */
export interface MarathonCase {
  name: string;
  optimizer: string;
  options: object;
  /** The parameters after steps 1, 2, 10 and 50. */
  at: Stored[][];
}

/** 20 steps on a table with a sparse gradient. Step t uses the batch t % batches.length. */
export interface SparseCase {
  name: string;
  optimizer: "SparseAdam" | "SGD" | "Adagrad";
  options: object;
  /** How a step uses the table; make_sparse in test/torch/cases/optimizers.py computes each. */
  uses: "once" | "twice" | "accumulated" | "tied";
  paddingIdx?: number;
  /** The norm to clip gradients to. */
  clip?: number;
  /** The table after steps 1, 2, 5, 10 and 20. */
  at: Stored[];
}

/** A schedule's rates for two groups that start at 0.1 and 0.3. */
export interface ScheduleCase {
  name: string;
  schedule: string;
  args: unknown[];
  rates: [number, number][];
  /** The losses that ReduceLROnPlateau receives. */
  values?: number[];
}

/** A batch norm's second training batch, and its results for that input in training and evaluation mode. */
export interface BatchNormCase {
  name: string;
  layer: "BatchNorm1d" | "BatchNorm2d";
  features: number;
  options: object;
  /** Parameters. */
  state: Record<string, Stored>;
  /** The running statistics before and after the batch. */
  before: Record<string, Stored>;
  after: Record<string, Stored>;
  x: Stored;
  dy: Stored;
  out: Stored;
  dx: Stored;
  grads: Record<string, Stored>;
  eval: Stored;
}

/** A layer and a batch norm in evaluation mode: the result, and the layer's weight and bias after folding. */
export interface FusionCase {
  name: string;
  layers: [string, ...unknown[]][];
  state: Record<string, Stored>;
  x: Stored;
  out: Stored;
  weight: Stored;
  bias: Stored;
}

/** A linear layer whose weight nn.quantize rounds: the numbers and scales that it stores, the rounded weight, and the result. */
export interface QuantizedCase {
  name: string;
  dtype: "int8" | "int4" | "float16" | "bfloat16";
  w: Stored;
  bias: Stored;
  x: Stored;
  /** For int8 and int4. */
  numbers?: Stored;
  scale?: Stored;
  weight: Stored;
  out: Stored;
}

export interface InitCase {
  name: "xavierUniform" | "xavierNormal" | "kaimingUniform" | "kaimingNormal" | "truncNormal";
  shape: number[];
  options: Record<string, never>;
  bound?: number;
  std?: number;
  mean?: number;
  low?: number;
  high?: number;
}

interface Values {
  torch: string;
  shared: Stored[];
  losses: Case[];
  activations: Case[];
  ops: Case[];
  convs: Case[];
  pools: Case[];
  norms: Case[];
  sizes: Case[];
  attention: Case[];
  modules: ModuleCase[];
  linalg: Case[];
  several: SeveralCase[];
  batches: BatchNormCase[];
  fusions: FusionCase[];
  quantized: QuantizedCase[];
  layers: LayerCase[];
  optimizers: OptimizerCase[];
  marathons: MarathonCase[];
  schedules: ScheduleCase[];
  sparse: { table: Stored; a: Stored; y: Stored; batches: number[][]; runs: SparseCase[] };
  problem: { x: Stored; y: Stored; start: Stored[] };
  clips: { name: string; max: number; normType?: Num; before: Stored[]; total?: Num; after: Stored[] }[];
  gains: { name: string; args: Parameters<typeof nabla.nn.init.calculateGain>; gain: number }[];
  inits: InitCase[];
  fans: { layer: string; args: unknown[]; shape: number[]; fanIn: number; fanOut: number }[];
  orthogonals: { shape: number[]; gain: number }[];
  linears: { args: [number, number]; bound: number }[];
}

export const values: Values = JSON.parse(readFileSync(new URL("../torch/values.json", import.meta.url), "utf8"));

/** v must not be an array, because arrays have a method `at`. */
const isStored = (v: Argument): v is Stored =>
  typeof v === "object" && v !== null && ("at" in v || ("shape" in v && "data" in v));
const resolve = (s: Stored) => ("at" in s ? (values.shared[s.at] as Exclude<Stored, { at: number }>) : s);

export function load(stored: Stored): Tensor {
  const { shape, data, dtype = "float32" } = resolve(stored);
  return tensor(data.map(Number), shape, { dtype });
}

/** Converts an argument of a call: loads tensors and converts infinities, including those in arrays and options. */
export function loadArgument(v: Argument): unknown {
  if (Array.isArray(v)) return v.map(loadArgument);
  if (isStored(v)) return load(v);
  if (typeof v === "object" && v !== null)
    return Object.fromEntries(Object.entries(v).map(([k, part]) => [k, loadArgument(part)]));
  return v === "Infinity" || v === "-Infinity" ? Number(v) : v;
}

/** The module of a case, with its parameters. */
export function build({ layer, args, state }: ModuleCase): nn.Module {
  const Layer = nn[layer as keyof typeof nn] as unknown as new (...args: unknown[]) => nn.Module;
  const module = new Layer(...args);
  module.loadStateDict(Object.fromEntries(Object.entries(state).map(([name, value]) => [name, load(value)])));
  return module;
}

/** The allowed difference between float32 and PyTorch's float64, relative to the largest element of the tensor. */
const TOLERANCE = 1e-5;

/**
 * Asserts that shapes are equal, that finite elements differ by at most the tolerance, and that NaN and infinities are equal.
 */
export function expectTorch(got: Tensor, stored: Stored, what: string): void {
  const want = resolve(stored);
  expect([...got.shape], `${what}: shape`).toEqual(want.shape);
  const expected = want.data.map(Number);
  const scale = Math.max(...expected.map((v) => (Number.isFinite(v) ? Math.abs(v) : 0)), 0);
  const actual = Array.from(got.data);
  const wrong = expected.findIndex(
    (v, i) => !(Number.isFinite(v) ? Math.abs(actual[i]! - v) <= TOLERANCE * scale : Object.is(actual[i], v)),
  );
  if (wrong >= 0)
    expect.fail(
      `${what}: element ${wrong} must be PyTorch's ${expected[wrong]}, got ${actual[wrong]} (scale ${scale}):\n got [${actual}]\nwant [${expected}]`,
    );
}

type Call = (...args: unknown[]) => Tensor;

/**
 * nabla's function with the given path: an op, a loss, or a layer. A layer's constructor takes the arguments after the first.
 */
export function find(path: string): Call {
  const found = path.split(".").reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], nabla) as Call;
  // Functions start with a lower-case letter.
  if (!/^nn\.[A-Z]/.test(path)) return found;
  const Layer = found as unknown as new (...args: unknown[]) => { forward(x: Tensor): Tensor };
  return (x, ...rest) => new Layer(...rest).forward(x as Tensor);
}

/** Calls a case's function and asserts its value, gradients and second derivative. */
export function check({ f, args: stored, out, wrt = [], dy, grads = [], v, hvp: second }: Case): void {
  const call = find(f);
  const args = stored.map(loadArgument);
  expectTorch(call(...args), out, "value");
  if (!wrt.length) return;
  const upstream = dy ? load(dy) : tensor(1);
  // L(x₁ … xₙ) = Σ dy·f, where the xᵢ are the arguments to differentiate with respect to.
  const loss = (...xs: Tensor[]) => {
    const all = [...args];
    for (const [i, at] of wrt.entries()) all[at] = xs[i];
    return call(...all)
      .mul(upstream)
      .sum();
  };
  const points = wrt.map((at) => args[at] as Tensor);
  const got = grad(
    loss,
    points.map((_, i) => i),
  )(...points) as Tensor[];
  for (const [i, g] of got.entries()) expectTorch(g, grads[i]!, `gradient of argument ${wrt[i]}`);
  if (v && second)
    expectTorch(
      hvp((x) => loss(x, ...points.slice(1)), points[0]!, load(v)),
      second,
      "second derivative",
    );
}
