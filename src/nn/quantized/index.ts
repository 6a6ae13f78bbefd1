/** Quantizes models. */
import { Tensor } from "../../core/tensor.ts";
import { MultiheadAttention } from "../attention.ts";
import { Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d } from "../conv.ts";
import { copyOf, makeCopy, quantized, requireFloat } from "../copy.ts";
import { Embedding } from "../embedding.ts";
import { isPlain } from "../intercept.ts";
import { Linear } from "../layers.ts";
import { Module, nameOf } from "../module.ts";
import { LayerNorm, RMSNorm } from "../norm.ts";
import { isParameter } from "../parameter.ts";
import { GRU, GRUCell, LSTM, LSTMCell, RNN, RNNCell } from "../recurrent.ts";
import { SpectralNorm } from "../spectral.ts";
import { QuantizedEmbedding, QuantizedLinear, QuantizedMultiheadAttention, widenOnUse } from "./layers.ts";
import { type NarrowWeight, type QuantizedType, quantizeWeight } from "./matrix.ts";
import type { QuantizeOptions } from "./options.ts";
import { QuantizationReport, type QuantizedWeight } from "./report.ts";

/** The layers whose weights are converted to float32 before use. `known` lists all layers that can be quantized. */
const widened = [Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d, LSTM, GRU, RNN, LSTMCell, GRUCell, RNNCell];
const known = [Linear, Embedding, MultiheadAttention, ...widened];

/** The length of the longest row whose sum of products always fits into int32. */
const MAX_ROW = 131_072;

/** The weights of a module: its own parameters with two dims or more, except the factors of a normalization's elements. */
const weightsOf = (module: Module): [string, Tensor][] =>
  module instanceof LayerNorm || module instanceof RMSNorm
    ? []
    : Object.entries(module).filter(
        (entry): entry is [string, Tensor] =>
          entry[1] instanceof Tensor && isParameter(entry[1]) && entry[1].shape.length > 1,
      );

/**
 * Why a module with weights stays in float32; undefined if it can be quantized.
 * @param normalized the modules whose weights SpectralNorm replaces in each call
 */
function obstacle(
  name: string,
  module: Module,
  weights: readonly [string, Tensor][],
  skip: readonly string[],
  normalized: ReadonlySet<unknown>,
  dtype: QuantizedType,
): string | undefined {
  if (skip.some((path) => name === path || name.startsWith(`${path}.`))) return "skipped";
  const type = known.find((one) => module instanceof one);
  if (!type) return "quantize does not know this class";
  if (!isPlain(module, type) || Object.hasOwn(module, "forward")) return "its class has its own forward";
  if (normalized.has(module)) return "SpectralNorm replaces its weight";
  const isProduct = type === Linear || type === MultiheadAttention;
  if (dtype === "int8" && isProduct && weights.some(([, { shape }]) => shape[1]! > MAX_ROW))
    return `its rows are longer than ${MAX_ROW}`;
  if (weights.some(([, { size }]) => size === 0)) return "it is empty";
  return undefined;
}

const bytesOf = (x: Tensor | null): number => x?.peek("quantize").byteLength ?? 0;

/**
 * Returns a copy of a model whose weights have low precision.
 * @throws Error if a weight is not finite or too large, or a module cannot be copied
 */
export function quantizeModel<M extends Module>(
  model: M,
  { dtype = "int8", skip = [], weightsOnly = false }: QuantizeOptions,
): { model: M; report: QuantizationReport } {
  requireFloat("quantize", model);
  const rows: QuantizedWeight[] = [];
  const done = new Map<Tensor, ReturnType<typeof quantizeWeight>>();
  /** The weights of the report that stay in float32. */
  const kept = new Set<Tensor>();
  const copies = new Map<unknown, unknown>();
  const copy = <T>(value: T): T => copyOf("quantize", value, copies);

  /** Copies the properties of a module, except those in `without`. */
  function fill(made: Module, module: Module, without: readonly string[]): void {
    copies.set(module, made);
    for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(module))) {
      if (without.includes(name)) continue;
      if ("value" in property) property.value = copy(property.value as unknown);
      Object.defineProperty(made, name, property);
    }
    made.training = false;
  }

  /** Copies a module as an instance of `type`, without the properties in `without`. */
  function copyAs(module: Module, type: unknown, without: readonly string[]): Module {
    const made = Reflect.construct(Module, [], type as typeof Module) as Module;
    fill(made, module, without);
    return made;
  }

  function replace(name: string, module: Module, weights: readonly [string, Tensor][]): void {
    const small = (key: string, x: Tensor): NarrowWeight => {
      const path = name ? `${name}.${key}` : key;
      const known = done.get(x);
      const { weight, error } = known ?? quantizeWeight(path, x, dtype);
      done.set(x, { weight, error });
      rows.push({
        name: path,
        type: nameOf(module),
        elements: x.size,
        bytes: known ? 0 : bytesOf(weight.weight) + bytesOf(weight.scale),
        error,
        dtype: weight.dtype,
        reason: "",
      });
      return weight;
    };
    const linear = (key: string, x: Tensor, bias: Tensor | null) =>
      new QuantizedLinear(small(key, x), copy(bias), weightsOnly);
    if (module instanceof Linear) fill(linear("weight", module.weight, module.bias), module, ["weight"]);
    else if (module instanceof Embedding)
      fill(new QuantizedEmbedding(small("weight", module.weight)), module, ["weight"]);
    else if (module instanceof MultiheadAttention) {
      const made = copyAs(module, QuantizedMultiheadAttention, ["inProjWeight", "inProjBias"]);
      const inProj = linear("inProjWeight", module.inProjWeight, module.inProjBias);
      Object.defineProperties(made, {
        inProj: { value: inProj, enumerable: true },
        inProjWeight: { get: () => inProj.weight },
        inProjBias: { get: () => inProj.bias },
      });
    } else {
      const keys = weights.map(([key]) => key);
      const made = copyAs(module, module.constructor, keys);
      widenOnUse(made, Object.fromEntries(weights.map(([key, x]) => [key, small(key, x)])));
    }
  }

  return makeCopy(() => {
    const all = [...model.namedModules()];
    const normalized = new Set(all.map(([, module]) => module instanceof SpectralNorm && module.layer));
    // Quantize children first, because copying a module also copies its children.
    for (const [name, module] of all.reverse()) {
      const weights = weightsOf(module);
      if (!weights.length) continue;
      const reason = obstacle(name, module, weights, skip, normalized, dtype);
      if (reason === undefined) {
        replace(name, module, weights);
        quantized.add(copies.get(module) as Module);
      } else {
        for (const [key, x] of weights)
          rows.push({
            name: name ? `${name}.${key}` : key,
            type: nameOf(module),
            elements: x.size,
            bytes: kept.has(x) ? 0 : bytesOf(x),
            error: 0,
            dtype: "float32",
            reason,
          });
        for (const [, x] of weights) kept.add(x);
      }
    }
    const made = copy(model);
    for (const x of made.parameters()) x.requiresGrad = false;
    return { model: made, report: new QuantizationReport(rows.reverse()) };
  });
}
