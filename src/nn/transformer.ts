/** Transformer layers (Vaswani et al. 2017) and stacks of them. Names, arguments, defaults and parameters of layers are PyTorch's. */

import type { Tensor } from "../core/tensor.ts";
import { check } from "../runtime/arguments.ts";
import { RangeError, TypeError } from "../runtime/errors.ts";
import { kindOf, requireKind } from "../runtime/kinds.ts";
import { type KeyValueCache, MultiheadAttention, type RotaryEmbedding } from "./attention.ts";
import { Dropout, Linear } from "./layers.ts";
import { Module } from "./module.ts";
import { LayerNorm } from "./norm.ts";

/** Options of the Transformer's encoder and decoder layers. */
export interface TransformerLayerOptions {
  /** Width between the two linear layers. Default 2048. */
  readonly dimFeedforward?: number;
  /** Dropout of attention weights, of each part's result and between the linear layers, in training. Default 0.1. */
  readonly dropout?: number;
  /** Between the two linear layers: "relu" (default), "gelu", or a function. */
  readonly activation?: "relu" | "gelu" | ((x: Tensor) => Tensor);
  /** ε of the layer norms. Default 1e-5. */
  readonly layerNormEps?: number;
  /** Tensors are [batch, steps, dModel] instead of [steps, batch, dModel]. Default false. */
  readonly batchFirst?: boolean;
  /** Norms before each part instead of behind it, which trains deep stacks more easily. Default false. */
  readonly normFirst?: boolean;
  /** Whether linear layers, attention and norms have biases. Default true. */
  readonly bias?: boolean;
  /** Positions for self-attention. Default: none. */
  readonly rotary?: RotaryEmbedding;
}

/** What an encoder's forward takes besides the source. */
export interface EncoderOptions {
  /** [steps, steps] or [batch·heads, steps, steps]: true where attention is not allowed, or what is added to scores. */
  readonly mask?: Tensor;
  /** [batch, steps]: which steps are padding. */
  readonly srcKeyPaddingMask?: Tensor;
  /** Each step sees itself and what is before it. Default false. */
  readonly isCausal?: boolean;
  /** Keys and values of earlier calls: see KeyValueCache. */
  readonly cache?: KeyValueCache;
}

/** What a decoder's forward takes besides the target and the memory. */
export interface DecoderOptions {
  /** Which target steps each target step may see; broadcasts to [batch·heads, steps, steps]. */
  readonly tgtMask?: Tensor;
  /** Which memory steps each target step may see; broadcasts to [batch·heads, steps, memory steps]. */
  readonly memoryMask?: Tensor;
  /** Target steps that are padding, bool [batch, steps]. */
  readonly tgtKeyPaddingMask?: Tensor;
  /** Memory steps that are padding, bool [batch, memory steps]. */
  readonly memoryKeyPaddingMask?: Tensor;
  /** Each target step sees only itself and earlier steps. Default false. */
  readonly tgtIsCausal?: boolean;
  /** Keys and values of the target's earlier steps: see KeyValueCache. */
  readonly cache?: KeyValueCache;
}

const LAYER =
  "dModel:number nhead:number {dimFeedforward:number dropout:number activation:string|function layerNormEps:number " +
  "batchFirst:boolean normFirst:boolean bias:boolean rotary:module}";
const ENCODER = "src:tensor {mask:tensor srcKeyPaddingMask:tensor isCausal:boolean cache:any}";
const DECODER =
  "tgt:tensor memory:tensor {tgtMask:tensor memoryMask:tensor tgtKeyPaddingMask:tensor memoryKeyPaddingMask:tensor " +
  "tgtIsCausal:boolean cache:any}";

/** Only those options that are there. */
function present<T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

/** What encoder and decoder layers share: the residual parts, each with its norm and dropout. */
abstract class TransformerLayer extends Module {
  /** Attention of the sequence to itself. */
  readonly selfAttn: MultiheadAttention;
  /** The first feed-forward layer, dModel to dimFeedforward. */
  readonly linear1: Linear;
  /** The second feed-forward layer, dimFeedforward to dModel. */
  readonly linear2: Linear;
  private readonly between: Dropout;
  private readonly behind: Dropout;
  private readonly normFirst: boolean;
  private readonly activation: (x: Tensor) => Tensor;
  /** Makes a norm, or another attention, as this layer's are. */
  protected readonly makeNorm: () => LayerNorm;
  protected readonly makeAttention: () => MultiheadAttention;

  constructor(
    dModel: number,
    nhead: number,
    {
      dimFeedforward = 2048,
      dropout = 0.1,
      activation = "relu",
      layerNormEps = 1e-5,
      batchFirst = false,
      normFirst = false,
      bias = true,
      rotary,
    }: TransformerLayerOptions,
  ) {
    super();
    if (typeof activation === "string" && activation !== "relu" && activation !== "gelu")
      throw new RangeError(`${kindOf(this)}: activation is "${activation}", but must be "relu", "gelu" or a function.`);
    this.makeAttention = () => new MultiheadAttention(dModel, nhead, { dropout, batchFirst, bias });
    this.makeNorm = () => new LayerNorm(dModel, { eps: layerNormEps, bias });
    this.selfAttn = rotary
      ? new MultiheadAttention(dModel, nhead, { dropout, batchFirst, bias, rotary })
      : this.makeAttention();
    this.linear1 = new Linear(dModel, dimFeedforward, { bias });
    this.linear2 = new Linear(dimFeedforward, dModel, { bias });
    this.between = new Dropout(dropout);
    this.behind = new Dropout(dropout);
    this.normFirst = normFirst;
    this.activation =
      typeof activation === "function" ? activation : (x) => (activation === "relu" ? x.relu() : x.gelu());
  }

  /** x + part(norm(x)), or norm(x + part(x)). */
  protected residual(x: Tensor, norm: LayerNorm, part: (x: Tensor) => Tensor): Tensor {
    return this.normFirst
      ? x.add(this.behind.forward(part(norm.forward(x))))
      : norm.forward(x.add(this.behind.forward(part(x))));
  }
  protected feedForward(x: Tensor): Tensor {
    return this.linear2.forward(this.between.forward(this.activation(this.linear1.forward(x))));
  }
}

/**
 * Self-attention, then two linear layers, each with a residual, dropout and a norm. src: [steps, batch, dModel] (batchFirst:
 * [batch, steps, …]) → the same shape. With isCausal it is the layer of a decoder-only language model.
 *
 * ```ts
 * const layer = new nn.TransformerEncoderLayer(16, 4, { dimFeedforward: 32, batchFirst: true });
 * layer.forward(randn([2, 5, 16]), { isCausal: true });   // [2, 5, 16]
 * ```
 */
export class TransformerEncoderLayer extends TransformerLayer {
  static override readonly kind: string = "TransformerEncoderLayer";
  /** The norm around self-attention. */
  readonly norm1: LayerNorm;
  /** The norm around the feed-forward layers. */
  readonly norm2: LayerNorm;

  constructor(dModel: number, nhead: number, options: TransformerLayerOptions = {}) {
    check("TransformerEncoderLayer", arguments, LAYER);
    super(dModel, nhead, options);
    this.norm1 = this.makeNorm();
    this.norm2 = this.makeNorm();
  }
  /**
   * Self-attention and feed-forward layers. src: [steps, batch, dModel] (batchFirst: [batch, steps, dModel]) → the
   * same shape.
   * @throws ShapeError
   */
  forward(src: Tensor, options: EncoderOptions = {}): Tensor {
    check(kindOf(this), arguments, ENCODER);
    const { mask, srcKeyPaddingMask, isCausal, cache } = options;
    const masks = present({ attnMask: mask, keyPaddingMask: srcKeyPaddingMask, isCausal, cache });
    const x = this.residual(src, this.norm1, (y) => this.selfAttn.forward(y, y, y, masks)[0]);
    return this.residual(x, this.norm2, (y) => this.feedForward(y));
  }
}

/**
 * Self-attention, attention to an encoder's output, then two linear layers. tgt: [steps, batch, dModel], memory: [keys, batch,
 * dModel] → as tgt.
 */
export class TransformerDecoderLayer extends TransformerLayer {
  static override readonly kind: string = "TransformerDecoderLayer";
  /** Attention from the target to the memory. */
  readonly multiheadAttn: MultiheadAttention;
  /** The norm around the target's self-attention. */
  readonly norm1: LayerNorm;
  /** The norm around attention to the memory. */
  readonly norm2: LayerNorm;
  /** The norm around the decoder's feed-forward layers. */
  readonly norm3: LayerNorm;

  constructor(dModel: number, nhead: number, options: TransformerLayerOptions = {}) {
    check("TransformerDecoderLayer", arguments, LAYER);
    super(dModel, nhead, options);
    this.multiheadAttn = this.makeAttention();
    this.norm1 = this.makeNorm();
    this.norm2 = this.makeNorm();
    this.norm3 = this.makeNorm();
  }
  /**
   * Self-attention, attention to the memory, feed-forward layers. tgt: [steps, batch, dModel], memory: [memory
   * steps, batch, dModel] → tgt's shape.
   * @throws ShapeError
   */
  forward(tgt: Tensor, memory: Tensor, options: DecoderOptions = {}): Tensor {
    check(kindOf(this), arguments, DECODER);
    const { tgtMask, memoryMask, tgtKeyPaddingMask, memoryKeyPaddingMask, tgtIsCausal, cache } = options;
    const own = present({ attnMask: tgtMask, keyPaddingMask: tgtKeyPaddingMask, isCausal: tgtIsCausal, cache });
    const cross = present({ attnMask: memoryMask, keyPaddingMask: memoryKeyPaddingMask });
    const x = this.residual(tgt, this.norm1, (y) => this.selfAttn.forward(y, y, y, own)[0]);
    const z = this.residual(x, this.norm2, (y) => this.multiheadAttn.forward(y, memory, memory, cross)[0]);
    return this.residual(z, this.norm3, (y) => this.feedForward(y));
  }
}

/** PyTorch makes a stack of copies of one layer, which start alike; here each is its own. */
function requireLayers(name: string, layers: unknown): void {
  if (!Array.isArray(layers) || !layers.length)
    throw new TypeError(`${name}: give a list of layers: Array.from({ length: n }, () => new nn.${name}Layer(…)).`);
  for (const layer of layers) requireKind(name, "a layer", "module", layer);
}

/** Encoder layers one behind the other, and a norm at the end where one is given (normFirst needs it). */
export class TransformerEncoder extends Module {
  static override readonly kind: string = "TransformerEncoder";
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
  /**
   * Passes src through the layers and the norm. src: [steps, batch, dModel] → the same shape.
   * @throws ShapeError
   */
  forward(src: Tensor, options: EncoderOptions = {}): Tensor {
    check(kindOf(this), arguments, ENCODER);
    const x = this.layers.reduce((y, layer) => layer.forward(y, options), src);
    return this.norm ? this.norm.forward(x) : x;
  }
}

/** Decoder layers one behind the other, and a norm at the end where one is given. */
export class TransformerDecoder extends Module {
  static override readonly kind: string = "TransformerDecoder";
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
  /**
   * Passes tgt through the layers and the norm; each layer attends to the memory. tgt: [steps, batch, dModel] → the
   * same shape.
   * @throws ShapeError
   */
  forward(tgt: Tensor, memory: Tensor, options: DecoderOptions = {}): Tensor {
    check(kindOf(this), arguments, DECODER);
    const x = this.layers.reduce((y, layer) => layer.forward(y, memory, options), tgt);
    return this.norm ? this.norm.forward(x) : x;
  }
}
