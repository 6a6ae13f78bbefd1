/** Folds batch normalization into the layers before it, in a copy of a model that is for inference only. */

import { noGrad } from "../autograd/backward.ts";
import { tensor } from "../core/creation.ts";
import type { TypedArray } from "../core/elements.ts";
import type { Storage } from "../core/memory.ts";
import { tensorsIn } from "../core/scope.ts";
import { Tensor } from "../core/tensor.ts";
import { withUndo } from "../core/undo.ts";
import type { DType, Shape } from "../ops/definition/value.ts";
import { check } from "../runtime/arguments.ts";
import { Error } from "../runtime/errors.ts";
import { Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d } from "./conv.ts";
import { isPlain } from "./intercept.ts";
import { Identity, Linear } from "./layers.ts";
import { Module, nameOf, Sequential } from "./module.ts";
import { BatchNorm } from "./norm.ts";
import { isParameter, parameter } from "./parameter.ts";
import { traceForward } from "./summary.ts";

/** Options for `fuse`. */
export interface FuseOptions {
  /**
   * The shape of the input including the batch, or a list of shapes for several inputs. Required if a module of your own
   * contains batch normalization: `fuse` then follows the tensors through one forward pass, without running any kernel.
   */
  readonly inputShape?: Shape | readonly Shape[];
  /** The type of the input, or of each input. Default "float32". */
  readonly dtype?: DType | readonly DType[];
}

type Foldable = Linear | Conv1d | Conv2d | ConvTranspose1d | ConvTranspose2d;
const foldable = [Linear, Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d];
/** A layer whose weight is computed, as in SpectralNorm, has no weight to fold into. */
const isFoldable = (x: unknown): x is Foldable =>
  x instanceof Module && foldable.some((type) => isPlain(x, type)) && isParameter((x as Foldable).weight);
const isNorm = (module: Module): module is BatchNorm => isPlain(module, BatchNorm);

/** What flows where: pairs of the layer that makes a value, if it is foldable, and the module that reads it. */
type Flow = [maker: unknown, reader: unknown][];

/** The modules of nested Sequentials, in the order in which they run. */
function* leavesOf(module: Module): Generator<Module> {
  if (isPlain(module, Sequential)) for (const layer of (module as Sequential).layers) yield* leavesOf(layer);
  else yield module;
}

/** The flow through nested Sequentials. @throws Error if another module contains batch normalization */
function listedFlow(model: Module): Flow {
  const leaves = [...leavesOf(model)];
  for (const [name, module] of model.namedModules())
    if (isNorm(module) && !leaves.includes(module))
      throw new Error(
        `fuse: ${name} (${nameOf(module)}) is not in a Sequential, so its input is unknown. Pass { inputShape }.`,
      );
  return [...leaves, undefined].map((leaf, i) => [leaves[i - 1], leaf]);
}

/** The flow in one forward pass. */
function tracedFlow(model: Module, inputShape: Shape | readonly Shape[], dtype: FuseOptions["dtype"]): Flow {
  const flow: Flow = [];
  /** The weights and results of foldable layers, with their layers. */
  const made = new Map<Storage, readonly [Tensor, Module]>();
  const add = (x: Tensor, module: Module) => made.set(x.storage("fuse"), [x, module]);
  const madeAt = (x: unknown) => (x instanceof Tensor && made.get(x.storage("fuse"))) || [];
  for (const [, module] of model.namedModules()) if (isFoldable(module)) add(module.weight, module);
  /** The modules that are running, with their inputs. */
  const open: (readonly [Module, unknown])[] = [];
  traceForward("fuse", model, inputShape, dtype, {
    around({ module, inputs: [x], forward }) {
      if (isNorm(module)) flow.push([madeAt(x)[1], module]);
      open.push([module, x]);
      const result = forward();
      open.pop();
      if (isFoldable(module)) add(result as Tensor, module);
      if (!open.length) for (const each of tensorsIn(result)) flow.push([madeAt(each)[1], undefined]);
      return result;
    },
    record(_, inputs) {
      const [module, own] = open.at(-1)!; // the model is running
      for (const x of inputs) {
        const [y, maker] = madeAt(x);
        // Another view of the result, such as a flattened one, can have other channels.
        if (maker !== module) flow.push([maker, y === own ? module : undefined]);
      }
    },
  });
  return flow;
}

/** The layers whose results only one batch normalization reads, which reads nothing else. */
function pairsIn(flow: Flow): [Foldable, BatchNorm][] {
  const single = (at: 0 | 1, module: unknown): unknown => {
    const others = new Set(flow.flatMap((pair) => (pair[at] === module ? [pair[1 - at]] : [])));
    return others.size === 1 ? [...others][0] : undefined;
  };
  return [...new Set(flow.map(([, reader]) => reader))].flatMap((norm) => {
    const layer = norm instanceof Module && isNorm(norm) && single(1, norm);
    return isFoldable(layer) && single(0, layer) === norm ? [[layer, norm as BatchNorm]] : [];
  });
}

/** W·s and (b − average)·s + shift, with s = scale/√(variance + ε) for each output channel, in float64. */
function fold(layer: Foldable, norm: BatchNorm, name: string): { weight: Tensor; bias: Tensor } {
  const { runningMean, runningVar, options } = norm;
  if (!runningMean || !runningVar)
    throw new Error(
      `fuse: ${name} (${nameOf(norm)}) has no running statistics to fold. Train it with trackRunningStats: true.`,
    );
  const { shape, data: weight, requiresGrad } = layer.weight;
  const [scale, shift, bias] = [norm.weight, norm.bias, layer.bias].map((x) => x?.data);
  const { eps = 1e-5 } = options;
  const factors = Float64Array.from(runningVar.data, (v, c) => (scale?.[c] ?? 1) / Math.sqrt(v + eps));
  const [rows, last] = [shape[0]!, shape.at(-1)!];
  const inner = weight.length / rows;
  // A transposed weight is [in, …, out/groups], with the rows of a group together.
  const isTransposed = layer instanceof ConvTranspose1d || layer instanceof ConvTranspose2d;
  const { groups = 1 } = isTransposed ? layer.options : {};
  for (let row = 0, i = 0; row < rows; row++) {
    const first = isTransposed ? Math.floor((row * groups) / rows) * last : row;
    for (let j = 0; j < inner; j++, i++) weight[i]! *= factors[isTransposed ? first + (j % last) : first]!;
  }
  const made = (values: TypedArray, dims: Shape) => {
    const x = parameter(tensor(values, dims));
    x.requiresGrad = requiresGrad;
    return x;
  };
  return {
    weight: made(weight, shape),
    bias: made(
      Float32Array.from(runningMean.data, (m, c) => ((bias?.[c] ?? 0) - m) * factors[c]! + (shift?.[c] ?? 0)),
      [factors.length],
    ),
  };
}

/** A new object of the same kind: a whole tensor, but modules, arrays, Maps and others without contents. */
function newLike(value: object): object {
  if (value instanceof Tensor) {
    const copy = value.clone();
    if (isParameter(value)) parameter(copy).requiresGrad = value.requiresGrad;
    return copy.keep();
  }
  if (value instanceof Module) {
    for (let type: unknown = value.constructor; type !== Module; type = Object.getPrototypeOf(type))
      if (Object.hasOwn(value, "forward") || /\.#\w|private_?(field_?)?get\(/i.test(String(type)))
        throw new Error(
          `fuse: cannot copy ${nameOf(value)}, because it has #private fields or its forward is not a method. Use ordinary fields and methods.`,
        );
    return Reflect.construct(Module, [], value.constructor) as Module;
  }
  if (Array.isArray(value)) return [];
  if (value instanceof Map) return new Map();
  if (value instanceof Set) return new Set();
  const prototype = Object.getPrototypeOf(value) as object | null;
  return prototype === null || prototype === Object.prototype ? (Object.create(prototype) as object) : value;
}

/**
 * Copies a module in evaluation mode, with the tensors and modules in its properties. Objects of other classes are shared.
 * @param copies the copies that exist already @param replaced new tensors for the properties of some modules
 */
function copyOf<T>(value: T, copies: Map<unknown, unknown>, replaced: ReadonlyMap<unknown, Record<string, Tensor>>): T {
  if (typeof value !== "object" || value === null || copies.has(value)) return (copies.get(value) ?? value) as T;
  const copy = newLike(value);
  copies.set(value, copy);
  const inner = <V>(part: V): V => copyOf(part, copies, replaced);
  if (copy instanceof Map) for (const [key, part] of value as unknown as typeof copy) copy.set(key, inner(part));
  else if (copy instanceof Set) for (const part of value as unknown as typeof copy) copy.add(inner(part));
  else if (copy !== value && !(copy instanceof Tensor))
    for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(value))) {
      if ("value" in property) property.value = replaced.get(value)?.[name] ?? inner(property.value);
      Object.defineProperty(copy, name, property);
    }
  if (copy instanceof Module) copy.training = false;
  return copy as T;
}

/**
 * Copies a model for inference, and folds batch normalization into the `Linear` or convolution layer before it, which then
 * costs nothing extra: w ← w·s and b ← (b − mean)·s + shift, with s = scale/√(variance + eps) and the running statistics, also
 * if the model is in training mode. In the copy, `Identity` replaces the batch normalization. Results differ from the model's
 * in evaluation mode by rounding errors.
 *
 * A batch normalization is folded if nothing else reads the layer's result. `fuse` finds those in nested `Sequential`s; for
 * modules of your own, pass `inputShape`. The copy is in evaluation mode and has its own tensors; the model does not change,
 * and you can dispose of it.
 *
 * ```ts
 * const model = new nn.Sequential(new nn.Conv2d(3, 8, 3), new nn.BatchNorm2d(8), new nn.ReLU());
 * const fused = nn.fuse(model);
 * const infer = compile((x: Tensor) => noGrad(() => fused.forward(x)));
 * ```
 * @throws Error if a batch normalization to fold has no running statistics, if a module of your own contains one and inputShape
 * is missing, or if a module cannot be copied
 */
export function fuse<M extends Module>(model: M, options: FuseOptions = {}): M {
  check("fuse", arguments, "model:module {inputShape:array dtype:any}");
  const { inputShape, dtype } = options;
  const flow = inputShape ? inEval(model, () => tracedFlow(model, inputShape, dtype)) : listedFlow(model);
  const names = new Map(Array.from(model.namedModules(), ([name, module]) => [module, name]));
  return withUndo(() =>
    noGrad(() => {
      const copies = new Map<unknown, unknown>();
      const replaced = new Map<unknown, Record<string, Tensor>>();
      for (const [layer, norm] of pairsIn(flow)) {
        replaced.set(layer, fold(layer, norm, names.get(norm)!));
        copies.set(norm, new Identity().eval());
      }
      return copyOf(model, copies, replaced);
    }),
  );
}

/** Runs f with all modules in evaluation mode, and then restores their modes. */
function inEval<T>(model: Module, f: () => T): T {
  const modes = Array.from(model.namedModules(), ([, module]) => [module, module.training] as const);
  model.eval();
  try {
    return f();
  } finally {
    for (const [module, mode] of modes) module.training = mode;
  }
}
