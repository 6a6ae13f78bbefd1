/** Transformers: a small language model, one in the style of GPT-2, and an encoder in the style of BERT. */
import { arange, nn, type Tensor } from "../../src/index.ts";
import type { Transformer } from "../networks.ts";

/** Predicts the next character at each position: [batch, steps] → logits [batch · steps, outputs]. */
export class LanguageModel extends nn.Module {
  private readonly embedding: nn.Embedding;
  private readonly encoder: nn.TransformerEncoder;
  private readonly linear: nn.Linear;

  constructor({ width, heads, feedforward, layers, outputs }: Omit<Transformer, "name" | "kind" | "batch" | "steps">) {
    super();
    const options = { dimFeedforward: feedforward, dropout: 0, batchFirst: true };
    this.embedding = new nn.Embedding(outputs, width);
    this.encoder = new nn.TransformerEncoder(
      Array.from({ length: layers }, () => new nn.TransformerEncoderLayer(width, heads, options)),
    );
    this.linear = new nn.Linear(width, outputs);
  }
  forward(x: Tensor): Tensor {
    const y = this.encoder.forward(this.embedding.forward(x), { isCausal: true });
    return this.linear.forward(y).flatten(0, 1);
  }
}

/** The sizes of Gpt and Bert. The feed-forward layers are four times as wide as the model. */
export interface Sizes {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly vocabulary: number;
  readonly steps: number;
}

/** The embeddings of tokens and positions, followed by layers. */
abstract class Tokens extends nn.Module {
  private readonly tokens: nn.Embedding;
  private readonly positions: nn.Embedding;
  protected readonly encoder: nn.TransformerEncoder;

  constructor({ layers, width, heads, vocabulary, steps }: Sizes, normFirst: boolean) {
    super();
    this.tokens = new nn.Embedding(vocabulary, width);
    this.positions = new nn.Embedding(steps, width);
    const options = { dimFeedforward: 4 * width, dropout: 0, activation: "gelu", batchFirst: true, normFirst } as const;
    this.encoder = new nn.TransformerEncoder(
      Array.from({ length: layers }, () => new nn.TransformerEncoderLayer(width, heads, options)),
      normFirst ? new nn.LayerNorm(width) : null,
    );
  }
  protected embed(tokens: Tensor, cache?: nn.KeyValueCache): Tensor {
    const steps = tokens.shape[1]!;
    const positions = cache ? cache.positions(steps) : arange(steps, { dtype: "int32" });
    return this.tokens.forward(tokens).add(this.positions.forward(positions));
  }
}

/** Predicts the next token at each position (Radford et al. 2019): [batch, steps] → logits [batch · steps, vocabulary]. */
export class Gpt extends Tokens {
  private readonly linear: nn.Linear;

  constructor(sizes: Sizes) {
    super(sizes, true);
    this.linear = new nn.Linear(sizes.width, sizes.vocabulary, { bias: false });
  }
  forward(tokens: Tensor, cache?: nn.KeyValueCache): Tensor {
    const y = this.encoder.forward(this.embed(tokens, cache), { isCausal: true, ...(cache && { cache }) });
    return this.linear.forward(y).flatten(0, 1);
  }
}

/** Encodes a text in both directions (Devlin et al. 2019): [batch, steps] → [batch, steps, width]. */
export class Bert extends Tokens {
  private readonly norm: nn.LayerNorm;

  constructor(sizes: Sizes) {
    super(sizes, false);
    this.norm = new nn.LayerNorm(sizes.width);
  }
  forward(tokens: Tensor): Tensor {
    return this.encoder.forward(this.norm.forward(this.embed(tokens)));
  }
}
