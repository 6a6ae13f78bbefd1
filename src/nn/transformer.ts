/** Transformer layers (Vaswani et al. 2017) and stacks of them. Names, arguments, defaults and parameters are PyTorch's. */

import type { Tensor } from "../core/tensor.ts";
import { check } from "../runtime/arguments.ts";
import { RangeError, TypeError } from "../runtime/errors.ts";
import { kindOf, requireKind } from "../runtime/kinds.ts";
import { withoutUndefined } from "../runtime/options.ts";
import { MultiheadAttention, type MultiheadOptions } from "./attention.ts";
import type { KeyValueCache } from "./cache.ts";
import { Dropout, Linear } from "./layers.ts";
import { Module } from "./module.ts";
import { LayerNorm } from "./norm.ts";
import type { RotaryEmbedding } from "./positional.ts";

/** Options for the Transformer's encoder and decoder layers. */
export interface TransformerLayerOptions {
  /** The number of features between the two linear layers. Default 2048. */
  readonly dimFeedforward?: number;
  /**
   * The probability, between 0 and 1, of dropping attention weights, block outputs and feed-forward activations in
   * training. Default 0.1.
   */
  readonly dropout?: number;
  /** The activation between the two linear layers: "relu", "gelu" or a function. Default "relu". */
  readonly activation?: "relu" | "gelu" | ((x: Tensor) => Tensor);
  /** The number added to the variance in each LayerNorm. Default 1e-5. */
  readonly layerNormEps?: number;
  /** Whether tensors are [batch, steps, dModel] instead of [steps, batch, dModel]. Default false. */
  readonly batchFirst?: boolean;
  /** Whether to normalize before each block instead of after it, which makes deep stacks easier to train. Default false. */
  readonly normFirst?: boolean;
  /** Whether linear layers, attention and norms have biases. Default true. */
  readonly bias?: boolean;
  /** The rotary embedding for self-attention; its dim must be the width of a head. Default: none. */
  readonly rotary?: RotaryEmbedding;
}

/**
 * Options for an encoder's `forward`. As in PyTorch, bool masks are true where attention is *not* allowed; float32 masks are
 * added to scores.
 */
export interface EncoderOptions {
  /** Attention mask: [steps, steps] or [batch·heads, steps, steps]. Default: none. */
  readonly mask?: Tensor;
  /** A mask of the steps that are padding: [batch, steps]. Default: none. */
  readonly srcKeyPaddingMask?: Tensor;
  /** Whether each step attends only to itself and earlier steps. Default false. */
  readonly isCausal?: boolean;
  /** Keys and values from earlier calls; see KeyValueCache. Default: none. */
  readonly cache?: KeyValueCache;
}

/** Options for a decoder's `forward`. Masks are as in EncoderOptions. */
export interface DecoderOptions {
  /** A mask for self-attention: [steps, steps] or [batch·heads, steps, steps]. Default: none. */
  readonly tgtMask?: Tensor;
  /** A mask for attention to `memory`: [steps, keys] or [batch·heads, steps, keys]. Default: none. */
  readonly memoryMask?: Tensor;
  /** A mask of the target's steps that are padding: [batch, steps]. Default: none. */
  readonly tgtKeyPaddingMask?: Tensor;
  /** A mask of the steps of `memory` that are padding: [batch, keys]. Default: none. */
  readonly memoryKeyPaddingMask?: Tensor;
  /** Whether each step of the target attends only to itself and earlier steps. Default false. */
  readonly tgtIsCausal?: boolean;
  /** Keys and values of the target's earlier steps; see KeyValueCache. Default: none. */
  readonly cache?: KeyValueCache;
}

const LAYER =
  "dModel:number nhead:number {dimFeedforward:number dropout:number activation:string|function layerNormEps:number " +
  "batchFirst:boolean normFirst:boolean bias:boolean rotary:module}";
const ENCODER = "src:tensor {mask:tensor srcKeyPaddingMask:tensor isCausal:boolean cache:cache}";
const DECODER =
  "tgt:tensor memory:tensor {tgtMask:tensor memoryMask:tensor tgtKeyPaddingMask:tensor memoryKeyPaddingMask:tensor " +
  "tgtIsCausal:boolean cache:cache}";

const makeNorm = (dModel: number, { layerNormEps: eps = 1e-5, bias = true }: TransformerLayerOptions) =>
  new LayerNorm(dModel, { eps, bias });
const makeAttention = (
  dModel: number,
  nhead: number,
  { dropout = 0.1, batchFirst = false, bias = true }: TransformerLayerOptions,
  rotary?: Pick<TransformerLayerOptions, "rotary">,
) => new MultiheadAttention(dModel, nhead, { dropout, batchFirst, bias, ...rotary });

/** Base class of the encoder and decoder layers, which consist of residual blocks, each with a norm and dropout. */
abstract class TransformerLayer extends Module {
  /** Self-attention: the sequence attends to itself. */
  readonly selfAttn: MultiheadAttention;
  /** The first feed-forward layer, dModel to dimFeedforward. */
  readonly linear1: Linear;
  /** The second feed-forward layer, dimFeedforward to dModel. */
  readonly linear2: Linear;
  /** The dropout between the two linear layers. */
  private readonly dropout: Dropout;
  /** The dropout applied to each block's output. */
  private readonly blockDropout: Dropout;
  private readonly normFirst: boolean;
  private readonly activation: "relu" | "gelu" | ((x: Tensor) => Tensor);

  constructor(dModel: number, nhead: number, options: TransformerLayerOptions) {
    super();
    const {
      dimFeedforward = 2048,
      dropout = 0.1,
      activation = "relu",
      normFirst = false,
      bias = true,
      rotary,
    } = options;
    if (typeof activation === "string" && activation !== "relu" && activation !== "gelu")
      throw new RangeError(`${kindOf(this)}: activation must be "relu", "gelu" or a function, got "${activation}".`);
    this.selfAttn = makeAttention(dModel, nhead, options, rotary && { rotary });
    this.linear1 = new Linear(dModel, dimFeedforward, { bias });
    this.linear2 = new Linear(dimFeedforward, dModel, { bias });
    this.dropout = new Dropout(dropout);
    this.blockDropout = new Dropout(dropout);
    this.normFirst = normFirst;
    this.activation = activation;
  }

  /** x + block(norm(x)) with normFirst, else norm(x + block(x)). */
  protected residual(x: Tensor, norm: LayerNorm, block: (x: Tensor) => Tensor): Tensor {
    return this.normFirst
      ? x.add(this.blockDropout.forward(block(norm.forward(x))))
      : norm.forward(x.add(this.blockDropout.forward(block(x))));
  }
  protected feedForward(x: Tensor): Tensor {
    const y = this.linear1.forward(x);
    const { activation } = this;
    return this.linear2.forward(
      this.dropout.forward(typeof activation === "function" ? activation(y) : y[activation]()),
    );
  }
}

/**
 * Transformer encoder layer: a self-attention block, then a feed-forward block of two linear layers. Each block has a
 * residual connection, dropout and a norm. With `isCausal`, you can use the layer in decoder-only language models.
 *
 * ```ts
 * const layer = new nn.TransformerEncoderLayer(16, 4, { dimFeedforward: 32, batchFirst: true });
 * layer.forward(randn([2, 5, 16]), { isCausal: true });   // [2, 5, 16]
 * ```
 * @throws RangeError for invalid sizes or options
 */
export class TransformerEncoderLayer extends TransformerLayer {
  static override readonly kind: string = "TransformerEncoderLayer";
  /** The norm of the self-attention block. */
  readonly norm1: LayerNorm;
  /** The norm of the feed-forward block. */
  readonly norm2: LayerNorm;

  /** @param dModel the width of each step @param nhead the number of attention heads, a divisor of dModel */
  constructor(dModel: number, nhead: number, options: TransformerLayerOptions = {}) {
    check("TransformerEncoderLayer", arguments, LAYER);
    super(dModel, nhead, options);
    this.norm1 = makeNorm(dModel, options);
    this.norm2 = makeNorm(dModel, options);
  }
  /** src: [steps, batch, dModel] (batchFirst: [batch, steps, dModel]) → the same shape. @throws ShapeError */
  forward(src: Tensor, options: EncoderOptions = {}): Tensor {
    check(kindOf(this), arguments, ENCODER);
    const { mask, srcKeyPaddingMask, isCausal, cache } = options;
    const masks = withoutUndefined<MultiheadOptions>({
      attnMask: mask,
      keyPaddingMask: srcKeyPaddingMask,
      isCausal,
      cache,
    });
    const x = this.residual(src, this.norm1, (y) => this.selfAttn.forward(y, y, y, masks)[0]);
    return this.residual(x, this.norm2, (y) => this.feedForward(y));
  }
}

/**
 * Transformer decoder layer: a self-attention block, a block that attends to an encoder's output, then a feed-forward
 * block of two linear layers. Each block has a residual connection, dropout and a norm.
 * @throws RangeError for invalid sizes or options
 */
export class TransformerDecoderLayer extends TransformerLayer {
  static override readonly kind: string = "TransformerDecoderLayer";
  /** Attention from the target to the memory. */
  readonly multiheadAttn: MultiheadAttention;
  /** The norm of the target's self-attention block. */
  readonly norm1: LayerNorm;
  /** The norm of the block that attends to the memory. */
  readonly norm2: LayerNorm;
  /** The norm of the decoder's feed-forward block. */
  readonly norm3: LayerNorm;

  /** @param dModel the width of each step @param nhead the number of attention heads, a divisor of dModel */
  constructor(dModel: number, nhead: number, options: TransformerLayerOptions = {}) {
    check("TransformerDecoderLayer", arguments, LAYER);
    super(dModel, nhead, options);
    this.multiheadAttn = makeAttention(dModel, nhead, options);
    this.norm1 = makeNorm(dModel, options);
    this.norm2 = makeNorm(dModel, options);
    this.norm3 = makeNorm(dModel, options);
  }
  /**
   * tgt: [steps, batch, dModel], memory: [keys, batch, dModel] (batchFirst: batch comes first) → tgt's shape. `memory`
   * is the encoder's output.
   * @throws ShapeError
   */
  forward(tgt: Tensor, memory: Tensor, options: DecoderOptions = {}): Tensor {
    check(kindOf(this), arguments, DECODER);
    const { tgtMask, memoryMask, tgtKeyPaddingMask, memoryKeyPaddingMask, tgtIsCausal, cache } = options;
    const own = withoutUndefined<MultiheadOptions>({
      attnMask: tgtMask,
      keyPaddingMask: tgtKeyPaddingMask,
      isCausal: tgtIsCausal,
      cache,
    });
    const cross = withoutUndefined<MultiheadOptions>({ attnMask: memoryMask, keyPaddingMask: memoryKeyPaddingMask });
    const x = this.residual(tgt, this.norm1, (y) => this.selfAttn.forward(y, y, y, own)[0]);
    const z = this.residual(x, this.norm2, (y) => this.multiheadAttn.forward(y, memory, memory, cross)[0]);
    return this.residual(z, this.norm3, (y) => this.feedForward(y));
  }
}

/**
 * Checks that layers is a list of modules. PyTorch instead takes one layer and copies it, so all of its layers start with
 * equal weights.
 * @throws TypeError if layers is not a list of modules
 */
function requireLayers(name: string, layers: unknown): void {
  if (!Array.isArray(layers) || !layers.length)
    throw new TypeError(`${name}: pass a list of layers: Array.from({ length: n }, () => new nn.${name}Layer(…)).`);
  for (const layer of layers) requireKind(name, "a layer", "module", layer);
}

/** A stack of encoder layers, with an optional norm at the end. @throws TypeError if layers is not a list of modules */
export class TransformerEncoder extends Module {
  static override readonly kind: string = "TransformerEncoder";
  /** @param norm a layer applied to the last layer's output, which layers with normFirst leave unnormalized; default null */
  constructor(
    /** The encoder layers, in the order in which they run. */
    readonly layers: readonly TransformerEncoderLayer[],
    /** The norm after the last encoder layer; null for none. */
    readonly norm: LayerNorm | null = null,
  ) {
    super();
    check("TransformerEncoder", arguments, "layers:any norm?:module|null");
    requireLayers("TransformerEncoder", layers);
  }
  /** src: [steps, batch, dModel] (batchFirst: [batch, steps, dModel]) → the same shape. @throws ShapeError */
  forward(src: Tensor, options: EncoderOptions = {}): Tensor {
    check(kindOf(this), arguments, ENCODER);
    const x = this.layers.reduce((y, layer) => layer.forward(y, options), src);
    return this.norm ? this.norm.forward(x) : x;
  }
}

/** A stack of decoder layers, with an optional norm at the end. @throws TypeError if layers is not a list of modules */
export class TransformerDecoder extends Module {
  static override readonly kind: string = "TransformerDecoder";
  /** @param norm a layer applied to the last layer's output, which layers with normFirst leave unnormalized; default null */
  constructor(
    /** The decoder layers, in the order in which they run. */
    readonly layers: readonly TransformerDecoderLayer[],
    /** The norm after the last decoder layer; null for none. */
    readonly norm: LayerNorm | null = null,
  ) {
    super();
    check("TransformerDecoder", arguments, "layers:any norm?:module|null");
    requireLayers("TransformerDecoder", layers);
  }
  /** tgt: [steps, batch, dModel], memory: [keys, batch, dModel] (batchFirst: batch comes first) → tgt's shape. @throws ShapeError */
  forward(tgt: Tensor, memory: Tensor, options: DecoderOptions = {}): Tensor {
    check(kindOf(this), arguments, DECODER);
    const x = this.layers.reduce((y, layer) => layer.forward(y, memory, options), tgt);
    return this.norm ? this.norm.forward(x) : x;
  }
}
