/** Models without recurrence, attention or large images: MLPs, a small CNN, and a classifier of bags of words. */
import { nn, type Tensor } from "../../src/index.ts";
import type { Cnn } from "../networks.ts";

/** Linear layers with relu between them: [batch, first size] → [batch, last size]. */
export function mlp(...sizes: readonly number[]): nn.Sequential {
  const layers = sizes.slice(1).flatMap((size, i) => [new nn.ReLU(), new nn.Linear(sizes[i]!, size)]);
  return new nn.Sequential(...layers.slice(1));
}

/** Two 3×3 convolutions, max pooling and a linear layer: [batch, size, size, 1] → logits [batch, outputs]. */
export function cnn({
  size,
  channels: [first, second],
  outputs,
}: Pick<Cnn, "size" | "channels" | "outputs">): nn.Sequential {
  return new nn.Sequential(
    new nn.Conv2d(1, first, 3, { padding: 1 }),
    new nn.ReLU(),
    new nn.Conv2d(first, second, 3, { padding: 1 }),
    new nn.ReLU(),
    new nn.MaxPool2d(2),
    new nn.Flatten(),
    new nn.Linear((size / 2) ** 2 * second, outputs),
  );
}

/** The mean embedding of a text's words, and a linear layer (Joulin et al. 2016): [batch, words] → logits [batch, outputs]. */
export class BagOfWords extends nn.Module {
  private readonly embedding: nn.Embedding;
  private readonly linear: nn.Linear;

  constructor(vocabulary: number, width: number, outputs: number) {
    super();
    this.embedding = new nn.Embedding(vocabulary, width);
    this.linear = new nn.Linear(width, outputs);
  }
  forward(words: Tensor): Tensor {
    return this.linear.forward(this.embedding.forward(words).mean(1));
  }
}
