/** Tables with sparse gradients, for the tests of embeddings and optimizers. */
import { manualSeed, nn, optim, type Tensor, tensor } from "nabla";
import { SparseGradient } from "../../src/core/gradient.ts";
import { seeded } from "./oracle.ts";

export const ints = (list: readonly number[]): Tensor => tensor(Int32Array.from(list));
export const isSparse = (p: Tensor): boolean => p.gradient instanceof SparseGradient;

export type Make = (params: Tensor[]) => optim.Optimizer;
/** The optimizers that update only the rows of a sparse gradient. */
export const rowwise: Record<"SparseAdam" | "SGD" | "Adagrad", Make> = {
  SparseAdam: (ps) => new optim.SparseAdam(ps, { lr: 0.05 }),
  SGD: (ps) => new optim.SGD(ps, { lr: 0.1 }),
  Adagrad: (ps) => new optim.Adagrad(ps, { lr: 0.05, lrDecay: 0.01, initialAccumulatorValue: 0.1 }),
};

/** The number of rows of the tables. */
export const N = 300;
/** Batches of indices with repeats. Some rows are in no batch. */
export function batches(count: number, size: number): number[][] {
  const random = seeded(5);
  return Array.from({ length: count }, () => Array.from({ length: size }, () => Math.floor(random() ** 3 * (N - 20))));
}
/** An embedding that an optimizer can train: calling parameters() prevents the warning that none does. */
export function table(width: number, options: nn.EmbeddingOptions = { sparse: true }): nn.Embedding {
  manualSeed(2);
  const layer = new nn.Embedding(N, width, options);
  layer.parameters();
  return layer;
}
/** A loss whose gradient with respect to the rows is different at each position. */
export const lossOf = (rows: Tensor): Tensor => rows.mul(rows.sin()).add(rows.square().cumsum(0).mul(0.01)).sum();
