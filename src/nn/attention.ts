/** Multi-head attention. */

import { zeros } from "../core/creation.ts";
import * as ops from "../core/functions.ts";
import type { Tensor } from "../core/tensor.ts";
import { additiveMask, attend, attentionWeights, separate } from "../ops/sequence/attention.ts";
import { type Layout, places } from "../ops/sequence/heads.ts";
import { check } from "../runtime/arguments.ts";
import { Error, RangeError, requireFraction, requireWhole, ShapeError } from "../runtime/errors.ts";
import { kindOf } from "../runtime/kinds.ts";
import type { KeyValueCache } from "./cache.ts";
import * as init from "./init.ts";
import { Linear } from "./layers.ts";
import { Module, parameter } from "./module.ts";
import type { RotaryEmbedding } from "./positional.ts";

/** Options for MultiheadAttention. */
export interface MultiheadAttentionOptions {
  /** The probability, between 0 and 1, of dropping an attention weight in training. Default 0. */
  readonly dropout?: number;
  /** Whether the projections have biases. Default true. */
  readonly bias?: boolean;
  /** Whether tensors are [batch, steps, embedDim] instead of [steps, batch, embedDim]. Default false. */
  readonly batchFirst?: boolean;
  /** The rotary embedding for queries and keys; its dim must be the width of a head. Default: none. */
  readonly rotary?: RotaryEmbedding;
}

/**
 * The masks and the cache for one call. As in PyTorch, bool masks are true where attention is *not* allowed; float32
 * masks are added to scores.
 */
export interface MultiheadOptions {
  /** A mask [batch, keys] that marks the keys that are padding. With a cache, `keys` is its capacity. Default: none. */
  readonly keyPaddingMask?: Tensor;
  /** The attention mask, [queries, keys] or [batch·heads, queries, keys]. With a cache, `keys` is its capacity. Default: none. */
  readonly attnMask?: Tensor;
  /**
   * Whether a query attends only to its own and earlier positions. With a cache, positions are counted from the first cached
   * step. Default false.
   */
  readonly isCausal?: boolean;
  /**
   * Whether to also return the weights, averaged over heads. This stores the weights of all heads in memory. Default false
   * (PyTorch: true).
   */
  readonly needWeights?: boolean;
  /**
   * Keys and values from earlier calls; this call adds its own. Use a cache only for self-attention, without gradients and without
   * dropout. Default: none.
   */
  readonly cache?: KeyValueCache;
}

const MULTIHEAD =
  "query:tensor key?:tensor value?:tensor " +
  "{keyPaddingMask:tensor attnMask:tensor isCausal:boolean needWeights:boolean cache:cache}";

/** Converts a mask of forbidden positions to one that is added to scores. */
const forbid = (mask: Tensor): Tensor => additiveMask(mask.dtype === "bool" ? mask.logicalNot() : mask) as Tensor;

/**
 * Multi-head attention (Vaswani et al. 2017, §3.2.2). Parameters: inProjWeight [3·embedDim, embedDim] (query, key, value),
 * inProjBias [3·embedDim], and the layer outProj.
 *
 * ```ts
 * const [y] = new nn.MultiheadAttention(16, 4, { batchFirst: true }).forward(randn([2, 5, 16]));   // [2, 5, 16]
 * ```
 * @throws RangeError if embedDim is not a multiple of numHeads, dropout is not between 0 and 1, or the rotary embedding
 * does not have the heads' width
 */
export class MultiheadAttention extends Module {
  static override readonly kind: string = "MultiheadAttention";
  /** The weights of query, key and value, [3·embedDim, embedDim]. */
  readonly inProjWeight: Tensor;
  /** The biases of query, key and value, [3·embedDim]; null without bias. */
  readonly inProjBias: Tensor | null;
  /** The layer that combines the heads' outputs. */
  readonly outProj: Linear;
  /** Rotates queries and keys by their positions; null for no rotation. */
  readonly rotary: RotaryEmbedding | null;
  private readonly dropout: number;
  private readonly batchFirst: boolean;

  /** @param embedDim the width of queries and outputs @param numHeads the number of heads, each embedDim/numHeads wide */
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
        `MultiheadAttention: embedDim must be a multiple of numHeads (${numHeads}), got ${embedDim}.`,
      );
    requireFraction("MultiheadAttention", { dropout });
    if (rotary && rotary.dim !== embedDim / numHeads)
      throw new RangeError(
        `MultiheadAttention: rotary.dim must be the head size ${embedDim / numHeads}, got ${rotary.dim}.`,
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
   * query: [steps, batch, embedDim] (batchFirst: [batch, steps, embedDim]; unbatched: [steps, embedDim]), key and value:
   * [keys, batch, embedDim]. The key is by default the query, and the value is by default the key. Returns the output, which has the
   * query's shape, and the weights: [batch, queries, keys], or null unless `needWeights` is set.
   * @throws ShapeError; Error if a cache is combined with other keys, needWeights or dropout
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
          `MultiheadAttention: the ${name} must be ${batchFirst ? "[batch, steps" : "[steps, batch"}, ${embedDim}], or without the batch, got [${x.shape.join(", ")}].`,
        );
    const layout: Layout = batchFirst ? "bthd" : "tbhd";
    const { cache, isCausal = false, needWeights = false } = options;
    const dropout = this.training ? this.dropout : 0;
    const isSelf = key === query && value === query;
    const [batch, queries] = batchFirst ? [query.shape[0]!, query.shape[1]!] : [query.shape[1]!, query.shape[0]!];
    if (cache) this.requireCacheable(isSelf, needWeights, dropout);
    if (cache && cache.batch !== batch)
      throw new ShapeError(
        `MultiheadAttention: the cache has batch size ${cache.batch}, but the query has ${batch}. Make a cache for ${batch} sequences.`,
      );
    const mask = this.mask(options, batch, queries, cache?.capacity ?? key.shape[this.stepsDim]!);
    const heads = isSelf ? [this.projectAll(query, cache)] : this.project(query, key, value);
    const attributes = {
      layout,
      scale: 1 / Math.sqrt(embedDim / numHeads),
      causal: isCausal ? 0 : null,
      ...(isSelf && { packed: true }),
    };
    const y = cache
      ? cache.attend(this, heads[0]!, mask, attributes)
      : (attend(heads, mask, attributes, dropout) as Tensor);
    return [this.outProj.forward(y.reshape(query.shape)), needWeights ? this.weights(heads, mask, attributes) : null];
  }

  /** @throws Error if the layer can't use a cache in this call */
  private requireCacheable(isSelf: boolean, needWeights: boolean, dropout: number): void {
    const problem = !isSelf
      ? "a cache is for self-attention. Pass the same tensor as query, key and value"
      : needWeights
        ? "a cache and needWeights can't be combined. Leave out needWeights"
        : dropout
          ? "a cache can't be combined with dropout. Call eval()"
          : "";
    if (problem) throw new Error(`MultiheadAttention: ${problem}.`);
  }

  /** The attention weights, averaged over heads: [batch, queries, keys]. */
  private weights(
    heads: readonly Tensor[],
    mask: Tensor | undefined,
    attributes: Parameters<typeof attend>[2],
  ): Tensor {
    const [q, k] = separate(heads, attributes) as [Tensor, Tensor, Tensor];
    const order = places(attributes.layout);
    return (attentionWeights(q.permute(order), k.permute(order), mask, attributes) as Tensor).mean(1);
  }

  private heads(x: Tensor, count: number): Tensor {
    return x.reshape([...x.shape.slice(0, 2), count, this.embedDim / this.numHeads]);
  }
  private get stepsDim(): number {
    return this.batchFirst ? 1 : 0;
  }

  /** Computes query, key and value of x in one product, packed along the heads dim. */
  private projectAll(x: Tensor, cache: KeyValueCache | undefined): Tensor {
    const { numHeads, rotary, stepsDim: dim } = this;
    const all = this.heads(this.inProject(x, 0, 3 * this.embedDim), 3 * numHeads);
    if (!rotary) return all;
    const [qk, v] = all.split([2 * numHeads, numHeads], 2) as [Tensor, Tensor];
    return ops.concat([rotary.rotate(qk, cache ? cache.positionOf(this) : 0, dim), v], 2);
  }

  /** Projects query, key and value, each with one third of inProjWeight. */
  private project(query: Tensor, key: Tensor, value: Tensor): Tensor[] {
    const { embedDim, numHeads, rotary, stepsDim: dim } = this;
    return [query, key, value].map((x, i) => {
      const part = this.heads(this.inProject(x, i * embedDim, embedDim), numHeads);
      return rotary && i < 2 ? rotary.rotate(part, 0, dim) : part;
    });
  }

  /** Projects x with some rows of inProjWeight. @internal */
  protected inProject(x: Tensor, first: number, count: number): Tensor {
    const [weight, bias] = [this.inProjWeight, this.inProjBias].map((p) =>
      count === p?.shape[0] ? p : p?.narrow(0, first, count),
    );
    return ops.linear(x, weight!, bias);
  }

  /** Combines all masks into one that is added to scores: [batch or 1, heads or 1, queries or 1, keys]. */
  private mask({ keyPaddingMask, attnMask }: MultiheadOptions, batch: number, queries: number, keys: number) {
    const show = (x: Tensor): string => `[${x.shape.join(", ")}]`;
    if (keyPaddingMask && (keyPaddingMask.shape[0] !== batch || keyPaddingMask.shape[1] !== keys))
      throw new ShapeError(
        `MultiheadAttention: keyPaddingMask must be [${batch}, ${keys}] ([batch, keys]), got ${show(keyPaddingMask)}.`,
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
        `MultiheadAttention: attnMask must be [${queries}, ${keys}] or [${batch * this.numHeads}, ${queries}, ${keys}], got ${show(attnMask)}.`,
      );
    const own = forbid(attnMask).reshape(first === 1 ? [1, 1, ...rest] : [batch, this.numHeads, ...rest]);
    return padding ? own.add(padding) : own;
  }

  protected override describe(): string {
    return `${this.embedDim}, ${this.numHeads}`;
  }
}
