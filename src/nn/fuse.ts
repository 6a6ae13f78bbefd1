/** Folds batch normalization into the layers before it, in a copy of a model that is for inference only. */

import { tensor } from "../core/creation.ts";
import type { TypedArray } from "../core/elements.ts";
import type { Storage } from "../core/memory.ts";
import { tensorsIn } from "../core/scope.ts";
import { Tensor } from "../core/tensor.ts";
import type { DType, Shape } from "../ops/definition/value.ts";
import { check } from "../runtime/arguments.ts";
import { Error } from "../runtime/errors.ts";
import { isPlainObject } from "../runtime/kinds.ts";
import { Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d } from "./conv.ts";
import { copyOf, makeCopy, requireFloat } from "./copy.ts";
import { isPlain } from "./intercept.ts";
import { Identity, Linear } from "./layers.ts";
import { Module, nameOf } from "./module.ts";
import { BatchNorm } from "./norm.ts";
import { isParameter, parameter } from "./parameter.ts";
import { Sequential } from "./sequential.ts";
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

/**
 * The data flow: for each use of a value, the module that made the value and the module that reads it. The reader is
 * `undefined` for a use that prevents folding, and the maker is `undefined` for a value from elsewhere, such as the
 * model's input.
 */
type Flow = [maker: unknown, reader: unknown][];

/** The modules of nested Sequentials, in the order in which they run. */
function* leavesOf(module: Module): Generator<Module> {
  if (isPlain(module, Sequential)) for (const layer of (module as Sequential).layers) yield* leavesOf(layer);
  else yield module;
}

/**
 * The values in the properties of a module, and in arrays, Maps, Sets and plain objects in its properties.
 * @param deep whether to include the values in the modules that this module contains
 */
function* partsOf(value: object, deep: boolean, seen = new Set<unknown>()): Generator<unknown> {
  const parts: Iterable<unknown> =
    value instanceof Map || value instanceof Set
      ? value.values()
      : Object.values(Object.getOwnPropertyDescriptors(value)).map((property) => property.get ?? property.value);
  for (const part of parts) {
    if (seen.has(part)) continue;
    seen.add(part);
    yield part;
    if (typeof part !== "object" || part === null) continue;
    if (part instanceof Module ? deep : [Array, Map, Set].some((type) => part instanceof type) || isPlainObject(part))
      yield* partsOf(part, deep, seen);
  }
}

/** The data flow through nested Sequentials. @throws Error if it could depend on a module's own forward or on a function */
function listedFlow(model: Module): Flow {
  const leaves = [...leavesOf(model)];
  const flow: Flow = [...leaves, undefined].map((leaf, i) => [leaves[i - 1], leaf]);
  // A leaf's forward may use any module in the leaf's properties.
  const used = new Map<unknown, Module>();
  for (const leaf of leaves)
    for (const part of partsOf(leaf, true)) {
      if (part === leaf || !(part instanceof Module)) continue;
      used.set(part, leaf);
      flow.push([part, undefined], [undefined, part]);
    }
  for (const [name, module] of model.namedModules()) {
    const user = used.get(module);
    if (user && isNorm(module) && !leaves.includes(module))
      throw new Error(
        `fuse: ${name} (${nameOf(module)}) is in ${nameOf(user)}, which has its own forward, so its input is unknown. Pass { inputShape }.`,
      );
    const parts = [...partsOf(module, false)];
    const hasState = parts.some((part) => part instanceof Module || part instanceof Tensor);
    for (const part of parts)
      if (typeof part === "function" && (hasState || /\bthis\b/.test(String(part))))
        throw new Error(
          `fuse: the copy of ${nameOf(module)} may use the model through a function (${part.name || "anonymous"}). Make it a method, or pass { inputShape }.`,
        );
  }
  return flow;
}

/** The data flow in one forward pass. */
function tracedFlow(model: Module, inputShape: Shape | readonly Shape[], dtype: FuseOptions["dtype"]): Flow {
  const flow: Flow = [];
  const keepWhole = (module: Module) => void flow.push([module, undefined], [undefined, module]);
  /** The property values of each foldable layer and normalization, and the modules that hold each tensor. */
  const states = new Map<Module, unknown[]>();
  const owners = new Map<Storage, Module[]>();
  for (const [, module] of model.namedModules()) {
    if (!isFoldable(module) && !isNorm(module)) continue;
    const values = Object.values(module);
    states.set(module, values);
    for (const x of tensorsIn(values)) {
      const storage = x.storage("fuse");
      owners.set(storage, [...(owners.get(storage) ?? []), module]);
    }
  }
  /** The result of each foldable layer, with the layer that made it. */
  const made = new Map<Storage, readonly [Tensor, Module]>();
  /** @param own the input of the module that reads x */
  const read = (x: Tensor, module?: Module, own?: unknown): void => {
    const storage = x.storage("fuse");
    const holders = owners.get(storage) ?? [];
    if (!holders.includes(module!)) holders.forEach(keepWhole);
    const [y, maker] = made.get(storage) ?? [];
    // A different view of the result, such as a flattened one, may have different channels.
    if (maker && maker !== module) flow.push([maker, y === own ? module : undefined]);
  };
  /** The modules that are running, with their inputs. */
  const open: (readonly [Module, unknown])[] = [];
  traceForward("fuse", model, inputShape, dtype, {
    around({ module, inputs: [x], forward }) {
      // If a property of this module, such as its weight, was replaced during the pass, do not fold.
      const now = Object.values(module);
      if (states.get(module)?.some((value, i) => value !== now[i])) keepWhole(module);
      if (isNorm(module)) flow.push([x instanceof Tensor ? made.get(x.storage("fuse"))?.[1] : undefined, module]);
      open.push([module, x]);
      const result = forward();
      open.pop();
      if (isFoldable(module)) made.set((result as Tensor).storage("fuse"), [result as Tensor, module]);
      if (!open.length) {
        for (const y of tensorsIn(result)) read(y);
        for (const y of tensorsIn(model)) if (!y.isDisposed && !owners.has(y.storage("fuse"))) read(y);
      }
      return result;
    },
    record(_, inputs) {
      for (const x of inputs) read(x, ...open.at(-1)!); // `open` is not empty while the model runs
    },
  });
  return flow;
}

/** Traces a forward pass of the copy. @throws Error if the copy uses modules or tensors of the original model */
function requireSeparate(
  model: Module,
  copy: Module,
  inputShape: Shape | readonly Shape[],
  dtype: FuseOptions["dtype"],
): void {
  const open = [copy];
  const refuse = (): never => {
    throw new Error(
      `fuse: the copy of ${nameOf(open.at(-1)!)} uses the model through a function or a variable. Make it a method that uses this.`,
    );
  };
  const modules = Array.from(model.namedModules(), ([, module]) => module);
  const originals = new Set<Storage>();
  const traps = ["forward", "training"];
  for (const module of modules) {
    for (const x of partsOf(module, false)) if (x instanceof Tensor && !x.isDisposed) originals.add(x.storage("fuse"));
    for (const name of traps) Object.defineProperty(module, name, { configurable: true, get: refuse });
  }
  try {
    traceForward("fuse", copy, inputShape, dtype, {
      around({ module, forward }) {
        open.push(module);
        const result = forward();
        open.pop();
        return result;
      },
      record(_, inputs) {
        if (inputs.some((x) => originals.has(x.storage("fuse")))) refuse();
      },
    });
  } finally {
    for (const module of modules) for (const name of traps) Reflect.deleteProperty(module, name);
  }
}

/** The layers whose result only one batch normalization reads, each with that normalization, if it reads nothing else. */
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

/**
 * Copies a model for inference, and folds batch normalization into the `Linear` or convolution layer before it, so that
 * the normalization costs no time: w ← w·s and b ← (b − mean)·s + shift, with s = scale/√(variance + eps) and the
 * running statistics, even if the model is in training mode. In the copy, `Identity` replaces the batch normalization.
 * Results differ from the model's in evaluation mode by rounding errors.
 *
 * A batch normalization is folded if the forward pass uses the normalization, the layer before it and that layer's
 * result nowhere else. `fuse` finds such pairs in nested `Sequential`s. For modules of your own, pass `inputShape`:
 * `fuse` then follows the tensors through one forward pass. Other methods, and branches that this pass does not take,
 * must not use the folded layers. The copy is in evaluation mode and has its own tensors; the model does not change,
 * and you can dispose of it. The copy shares the functions in properties with the model, so these functions must not
 * use the model's modules or parameters. Without `inputShape`, `fuse` cannot check this, and rejects such functions in
 * modules that also contain modules or tensors.
 *
 * ```ts
 * const model = new nn.Sequential(new nn.Conv2d(3, 8, 3), new nn.BatchNorm2d(8), new nn.ReLU());
 * const fused = nn.fuse(model);
 * const infer = compile((x: Tensor) => noGrad(() => fused.forward(x)));
 * ```
 * @throws Error if the model is quantized, if a batch normalization to fold has no running statistics, if a module of your own
 * contains one and inputShape is missing, if a module cannot be copied, or if the copy would use the model
 */
export function fuse<M extends Module>(model: M, options: FuseOptions = {}): M {
  check("fuse", arguments, "model:module {inputShape:array dtype:any}");
  const { inputShape, dtype } = options;
  requireFloat("fuse", model);
  const flow = inputShape ? inEval(model, () => tracedFlow(model, inputShape, dtype)) : listedFlow(model);
  const names = new Map(Array.from(model.namedModules(), ([name, module]) => [module, name]));
  return makeCopy(() => {
    const copies = new Map<unknown, unknown>();
    const replaced = new Map<unknown, Record<string, Tensor>>();
    for (const [layer, norm] of pairsIn(flow)) {
      replaced.set(layer, fold(layer, norm, names.get(norm)!));
      copies.set(norm, new Identity().eval());
    }
    const copy = copyOf("fuse", model, copies, replaced);
    if (inputShape) requireSeparate(model, copy, inputShape, dtype);
    return copy;
  });
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
