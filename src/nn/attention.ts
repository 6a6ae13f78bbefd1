/** Attention layers, positions, and the cache of keys and values that generation needs. */

import { currentRecorder, withGrad } from "../core/context.ts";
import { tensor, zeros } from "../core/creation.ts";
import * as ops from "../core/functions.ts";
import type { Tensor } from "../core/tensor.ts";
import { additiveMask, attend, attentionWeights, type Layout } from "../ops/sequence/attention.ts";
import { check, checkNone } from "../runtime/arguments.ts";
import {
  Error,
  RangeError,
  requireFraction,
  requireRange,
  requireWhole,
  ShapeError,
  TraceError,
} from "../runtime/errors.ts";
import { kindOf } from "../runtime/kinds.ts";
import * as init from "./init.ts";
import { Linear } from "./layers.ts";
import { Module, parameter } from "./module.ts";

/**
 * baseᵖ for p in [0, 1), within 1e-14 of it: the product of those roots √base, √√base, … that p's binary digits name. By roots and
 * products alone, which every engine rounds alike; Math.pow is no such thing, and a place far from the first tells the difference.
 */
function rootPower(base: number, p: number): number {
  let [product, root, rest] = [1, base, p];
  for (let digit = 0; digit < 52 && rest; digit++) {
    root = Math.sqrt(root);
    rest *= 2;
    if (rest < 1) continue;
    product *= root;
    rest -= 1;
  }
  return product;
}

/** What encodings of positions take. */
const PLACE = "x:tensor {offset:number dim:number}";

/**
 * Rotary positions (Su et al. 2021, eq. 34): turns each pair of numbers of x: [..., steps, dim] by an angle that grows with the
 * place, so that scores depend on how far apart query and key are. Pairs are neighbours (interleaved), or halves of the row, as in
 * Llama's published weights.
 */
export class RotaryEmbedding extends Module {
  static override readonly kind: string = "RotaryEmbedding";
  private readonly base: number;
  private readonly interleaved: boolean;

  constructor(
    /** The size of the last dim, an even number. */
    readonly dim: number,
    options: {
      /** The base of the frequencies base^(−2i/dim). Default 10000. */
      readonly base?: number;
      /** Rotate neighbours (0, 1), (2, 3), …; false rotates halves. Default true. */
      readonly interleaved?: boolean;
    } = {},
  ) {
    super();
    check("RotaryEmbedding", arguments, "dim:number {base:number interleaved:boolean}");
    const { base = 10000, interleaved = true } = options;
    requireRange("RotaryEmbedding", { dim }, (n) => Number.isInteger(n / 2) && n > 0, "an even number above 0");
    this.base = base;
    this.interleaved = interleaved;
  }

  private get half(): number {
    return this.dim / 2;
  }
  /** cos and sin of the angles of each step and pair, kept for the next call: queries and keys ask for the same. */
  private tables(steps: number, offset: number): [Float32Array, Float32Array] {
    const { half, base } = this;
    if (this.#kept?.steps === steps && this.#kept.offset === offset) return this.#kept.tables;
    const tables: [Float32Array, Float32Array] = [new Float32Array(steps * half), new Float32Array(steps * half)];
    for (let i = 0; i < half; i++) {
      const period = rootPower(base, i / half);
      for (let t = 0; t < steps; t++) {
        tables[0][t * half + i] = Math.cos((offset + t) / period);
        tables[1][t * half + i] = Math.sin((offset + t) / period);
      }
    }
    this.#kept = { steps, offset, tables };
    return tables;
  }
  #kept: { steps: number; offset: number; tables: [Float32Array, Float32Array] } | null = null;

  /**
   * Rotates the pairs of x by their step's angles. x: [..., steps, dim] → the same shape.
   * @throws ShapeError
   */
  forward(
    x: Tensor,
    options: {
      /** The position of the first step. Default 0. */
      readonly offset?: number;
      /** The dim of the steps. Default -2. */
      readonly dim?: number;
    } = {},
  ): Tensor {
    check(kindOf(this), arguments, PLACE);
    const { offset = 0, dim = -2 } = options;
    const rank = x.shape.length;
    const at = dim < 0 ? dim + rank : dim;
    if (rank < 2 || x.shape[rank - 1] !== this.dim || !(at >= 0 && at < rank - 1))
      throw new ShapeError(
        `RotaryEmbedding: x is [${x.shape.join(", ")}], but must be [..., steps, ${this.dim}], with steps at dim ${dim}.`,
      );
    const steps = x.shape[at]!;
    const { half } = this;
    const pairs = this.interleaved ? [half, 2] : [2, half];
    const axis = this.interleaved ? rank : rank - 1;
    const parts = x.reshape([...x.shape.slice(0, -1), ...pairs]);
    const [a, b] = [0, 1].map((i) => parts.narrow(axis, i, 1)) as [Tensor, Tensor];
    const wide = this.interleaved ? rank - 1 : rank;
    const shape = a.shape.map((n, i) => (i === at || i === wide ? n : 1));
    const [cos, sin] = this.tables(steps, offset).map((values) => tensor(values, shape)) as [Tensor, Tensor];
    const turned = ops.concat([a.mul(cos).sub(b.mul(sin)), a.mul(sin).add(b.mul(cos))], axis);
    return turned.reshape(x.shape);
  }
}

/**
 * Adds sin(t/10000^(2i/dim)) and cos(…) to places 2i and 2i + 1 of x: [..., steps, dim] (Vaswani et al. 2017, §3.5).
 */
export class SinusoidalEncoding extends Module {
  static override readonly kind: string = "SinusoidalEncoding";
  constructor(/** The size of the last dim of what the encoding is added to. */ readonly dim: number) {
    super();
    check("SinusoidalEncoding", arguments, "dim:number");
    requireWhole("SinusoidalEncoding", { dim });
  }

  /**
   * Adds the sines and cosines of each step's position. x: [..., steps, dim] → the same shape.
   * @throws ShapeError
   */
  forward(
    x: Tensor,
    options: {
      /** The position of the first encoded step. Default 0. */
      readonly offset?: number;
      /** The dim along which positions count; 0 for [steps, batch, dim]. Default -2. */
      readonly dim?: number;
    } = {},
  ): Tensor {
    check(kindOf(this), arguments, PLACE);
    const { offset = 0, dim = -2 } = options;
    const rank = x.shape.length;
    const at = dim < 0 ? dim + rank : dim;
    const width = this.dim;
    if (x.shape[rank - 1] !== width || !(at >= 0 && at < rank - 1))
      throw new ShapeError(
        `SinusoidalEncoding: x is [${x.shape.join(", ")}], but must be [..., steps, ${width}], with steps at dim ${dim}.`,
      );
    const steps = x.shape[at]!;
    const values = new Float32Array(steps * width);
    for (let i = 0; i < width; i++) {
      const period = rootPower(10000, (i - (i % 2)) / width);
      for (let t = 0; t < steps; t++)
        values[t * width + i] = i % 2 ? Math.cos((offset + t) / period) : Math.sin((offset + t) / period);
    }
    return x.add(tensor(values, [steps, ...x.shape.slice(at + 1, -1).map(() => 1), width]));
  }
}

/**
 * What attention layers have seen so far, so that generation passes each step once: give the same cache to every call, and call
 * `clear()` before another text.
 */
export class KeyValueCache {
  private readonly seen = new Map<Module, { k: Tensor; v: Tensor }>();

  constructor() {
    checkNone("KeyValueCache", arguments);
  }
  /** Steps seen. */
  get length(): number {
    return this.lengthOf([...this.seen.keys()][0]);
  }
  /** Steps that one layer has seen. @internal */
  lengthOf(layer: Module | undefined): number {
    return (layer && this.seen.get(layer)?.k.shape[1]) ?? 0;
  }
  /** The batch one layer has seen. @internal */
  batchOf(layer: Module): number | undefined {
    return this.seen.get(layer)?.k.shape[0];
  }
  /** Appends k and v, [batch, steps, heads, width], and returns all there are. @internal */
  append(layer: Module, k: Tensor, v: Tensor): { k: Tensor; v: Tensor } {
    check("KeyValueCache.append", arguments, "layer:module k:tensor v:tensor");
    if (currentRecorder())
      throw new TraceError(
        "KeyValueCache: a cache grows at each call, but compile's function is recorded once. Generate without compile.",
      );
    const before = this.seen.get(layer);
    const all = withGrad(false, () =>
      before
        ? { k: ops.concat([before.k, k], 1).keep(), v: ops.concat([before.v, v], 1).keep() }
        : { k: k.clone().keep(), v: v.clone().keep() },
    );
    before?.k.dispose();
    before?.v.dispose();
    this.seen.set(layer, all);
    return all;
  }
  /** Forgets everything, and frees it. */
  clear(): void {
    for (const { k, v } of this.seen.values()) {
      k.dispose();
      v.dispose();
    }
    this.seen.clear();
  }
}

/** Options of MultiheadAttention. */
export interface MultiheadAttentionOptions {
  /** Part of the weights dropped in training. Default 0. */
  readonly dropout?: number;
  /** Whether there are biases. Default true. */
  readonly bias?: boolean;
  /** Tensors are [batch, steps, embedDim] instead of [steps, batch, embedDim]. Default false. */
  readonly batchFirst?: boolean;
  /** Positions that queries and keys are turned by, of a head's width. Default: none. */
  readonly rotary?: RotaryEmbedding;
}

/** What a call may see. As in PyTorch, bool masks are true where attention is *not* allowed; float32 masks are added. */
export interface MultiheadOptions {
  /** [batch, keys]: which keys are padding. */
  readonly keyPaddingMask?: Tensor;
  /** [queries, keys], or [batch·heads, queries, keys]. */
  readonly attnMask?: Tensor;
  /** Queries see no key behind their own place. With a cache, places count from the first step cached. Default false. */
  readonly isCausal?: boolean;
  /** Whether weights, averaged over heads, are returned too; they are then stored whole. Default false (PyTorch: true). */
  readonly needWeights?: boolean;
  /** Keys and values of earlier calls, to which this call's are added. For self-attention, and without gradients. */
  readonly cache?: KeyValueCache;
}

const MULTIHEAD =
  "query:tensor key?:tensor value?:tensor " +
  "{keyPaddingMask:tensor attnMask:tensor isCausal:boolean needWeights:boolean cache:any}";

/** A mask of forbidden places as what is added to scores. */
const forbid = (mask: Tensor): Tensor => additiveMask(mask.dtype === "bool" ? mask.logicalNot() : mask) as Tensor;

/**
 * Attention by several heads (Vaswani et al. 2017, §3.2.2): query: [steps, batch, embedDim] (batchFirst: [batch, steps, …]; without
 * a batch: [steps, …]), key and value: [keys, batch, embedDim] → [output, weights or null], output like query. Key and value are the
 * query where they are left out. Parameters: inProjWeight [3·embedDim, embedDim] (query, key, value), inProjBias, outProj.
 *
 * ```ts
 * const [y] = new nn.MultiheadAttention(16, 4, { batchFirst: true }).forward(randn([2, 5, 16]));   // [2, 5, 16]
 * ```
 */
export class MultiheadAttention extends Module {
  static override readonly kind: string = "MultiheadAttention";
  /** The weights of query, key and value, [3·embedDim, embedDim]. */
  readonly inProjWeight: Tensor;
  /** The biases of query, key and value, [3·embedDim]; null without bias. */
  readonly inProjBias: Tensor | null;
  /** The layer that mixes the heads' results. */
  readonly outProj: Linear;
  /** The rotation of queries and keys by their position; null for none. */
  readonly rotary: RotaryEmbedding | null;
  private readonly dropout: number;
  private readonly batchFirst: boolean;

  constructor(
    /** The width of queries and results. */
    readonly embedDim: number,
    /** The number of heads, a divisor of embedDim. */
    readonly numHeads: number,
    options: MultiheadAttentionOptions = {},
  ) {
    super();
    check(
      "MultiheadAttention",
      arguments,
      "embedDim:number numHeads:number {dropout:number bias:boolean batchFirst:boolean rotary:module}",
    );
    const { dropout = 0, bias = true, batchFirst = false, rotary } = options;
    requireWhole("MultiheadAttention", { embedDim, numHeads });
    if (embedDim % numHeads)
      throw new RangeError(
        `MultiheadAttention: embedDim must be a multiple of numHeads, got ${embedDim} and ${numHeads}.`,
      );
    requireFraction("MultiheadAttention", { dropout });
    if (rotary && rotary.dim !== embedDim / numHeads)
      throw new RangeError(
        `MultiheadAttention: the rotary positions are for a width of ${rotary.dim}, but heads have ${embedDim / numHeads}.`,
      );
    this.inProjWeight = parameter(init.xavierUniform(zeros([3 * embedDim, embedDim])), this);
    this.inProjBias = bias ? parameter(zeros([3 * embedDim]), this) : null;
    this.outProj = new Linear(embedDim, embedDim, { bias });
    if (this.outProj.bias) init.zeros(this.outProj.bias);
    this.rotary = rotary ?? null;
    this.dropout = dropout;
    this.batchFirst = batchFirst;
  }

  /**
   * Attends from each query to the keys. query: [queries, batch, embedDim] (batchFirst: [batch, queries, …]), key,
   * value: [keys, batch, embedDim], by default the query → [output, weights]: output has the query's shape; weights
   * is null unless needWeights.
   * @throws ShapeError, DTypeError
   */
  forward(
    query: Tensor,
    key: Tensor = query,
    value: Tensor = key,
    options: MultiheadOptions = {},
  ): [output: Tensor, weights: Tensor | null] {
    check(kindOf(this), arguments, MULTIHEAD);
    const { embedDim, numHeads, batchFirst } = this;
    if (query.shape.length === 2) {
      const at = batchFirst ? 0 : 1;
      const { keyPaddingMask, ...rest } = options;
      const masks = keyPaddingMask
        ? { ...rest, keyPaddingMask: keyPaddingMask.shape.length === 1 ? keyPaddingMask.unsqueeze(0) : keyPaddingMask }
        : rest;
      const inner = query.unsqueeze(at);
      const outer = (x: Tensor): Tensor => (x === query ? inner : x.unsqueeze(at));
      const [y, weights] = this.forward(inner, outer(key), outer(value), masks);
      return [y.squeeze(at), weights?.squeeze(0) ?? null];
    }
    for (const [name, x] of Object.entries({ query, key, value }))
      if (x.shape.length !== 3 || x.shape[2] !== embedDim)
        throw new ShapeError(
          `MultiheadAttention: the ${name} is [${x.shape.join(", ")}], but must be ${batchFirst ? "[batch, steps" : "[steps, batch"}, ${embedDim}], or without the batch.`,
        );
    const layout: Layout = batchFirst ? "bthd" : "tbhd";
    const heads = (x: Tensor): Tensor => x.reshape([...x.shape.slice(0, 2), numHeads, embedDim / numHeads]);
    let [q, k, v] = this.project(query, key, value).map(heads) as [Tensor, Tensor, Tensor];
    const { cache, isCausal = false, needWeights = false } = options;
    const offset = cache?.lengthOf(this) ?? 0;
    if (this.rotary) {
      const dim = batchFirst ? 1 : 0;
      [q, k] = [q, k].map((x) => this.rotary!.forward(x, { offset, dim })) as [Tensor, Tensor];
    }
    const [batch, queries] = batchFirst ? [query.shape[0]!, query.shape[1]!] : [query.shape[1]!, query.shape[0]!];
    // All is checked before the cache grows.
    if (cache && !batchFirst) throw new Error("MultiheadAttention: a cache needs a layer with { batchFirst: true }.");
    if (offset && cache!.batchOf(this) !== batch)
      throw new ShapeError(
        `MultiheadAttention: the cache holds a batch of ${cache!.batchOf(this)}, but the query one of ${batch}. Call cache.clear() before another text.`,
      );
    const mask = this.mask(options, batch, queries, offset + k.shape[batchFirst ? 1 : 0]!);
    if (cache) ({ k, v } = cache.append(this, k, v));
    const attributes = {
      layout,
      scale: 1 / Math.sqrt(embedDim / numHeads),
      causal: isCausal ? offset : null,
    };
    const y = attend(q, k, v, mask, attributes, this.training ? this.dropout : 0) as Tensor;
    const order = batchFirst ? [0, 2, 1, 3] : [1, 2, 0, 3];
    const weights = needWeights
      ? (attentionWeights(q.permute(order), k.permute(order), mask, attributes) as Tensor).mean(1)
      : null;
    return [this.outProj.forward(y.reshape(query.shape)), weights];
  }

  /** Query, key and value, each by its part of the weight. */
  private project(query: Tensor, key: Tensor, value: Tensor): Tensor[] {
    const { embedDim, inProjWeight, inProjBias } = this;
    const part = (x: Tensor, i: number): Tensor =>
      ops.linear(x, inProjWeight.narrow(0, i * embedDim, embedDim), inProjBias?.narrow(0, i * embedDim, embedDim));
    return [part(query, 0), part(key, 1), part(value, 2)];
  }

  /** All masks as one to be added, [batch or 1, heads or 1, queries or 1, keys]. */
  private mask({ keyPaddingMask, attnMask }: MultiheadOptions, batch: number, queries: number, keys: number) {
    const show = (x: Tensor): string => `[${x.shape.join(", ")}]`;
    if (keyPaddingMask && (keyPaddingMask.shape[0] !== batch || keyPaddingMask.shape[1] !== keys))
      throw new ShapeError(
        `MultiheadAttention: keyPaddingMask is ${show(keyPaddingMask)}, but must be [${batch}, ${keys}]: [batch, keys].`,
      );
    const padding = keyPaddingMask && forbid(keyPaddingMask).reshape([batch, 1, 1, keys]);
    if (!attnMask) return padding;
    const [first, ...rest] = attnMask.shape.length === 2 ? [1, ...attnMask.shape] : attnMask.shape;
    if (
      rest.length !== 2 ||
      rest[0] !== queries ||
      rest[1] !== keys ||
      (first !== 1 && first !== batch * this.numHeads)
    )
      throw new ShapeError(
        `MultiheadAttention: attnMask is ${show(attnMask)}, but must be [${queries}, ${keys}] or [${batch * this.numHeads}, ${queries}, ${keys}].`,
      );
    const own = forbid(attnMask).reshape(first === 1 ? [1, 1, ...rest] : [batch, this.numHeads, ...rest]);
    return padding ? own.add(padding) : own;
  }

  protected override describe(): string {
    return `${this.embedDim}, ${this.numHeads}`;
  }
}
