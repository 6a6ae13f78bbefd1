/** Models and inputs that the explanation tests share. */
import { manualSeed, nn, type Tensor, tensor } from "nabla";

/** A linear model with known weights: its scores are x·W + b, [batch, 4] → [batch, 3]. */
const W = [
  [1, -2, 0.5],
  [-0.25, 3, 1],
  [2, 0, -1],
  [0.75, -1, 4],
];
export const linear = (x: Tensor) => x.matmul(tensor(W)).add(tensor([0.5, -1, 0.25]));
export const X = [
  [1, 2, -1, 0.5],
  [0.5, -1, 2, 1],
];
export const column = (c: number): number[] => W.map((row) => row[c]!);

export function network(): nn.Sequential {
  manualSeed(4);
  return new nn.Sequential(
    new nn.Linear(6, 12),
    new nn.Tanh(),
    new nn.Linear(12, 8),
    new nn.Softplus(),
    new nn.Linear(8, 3),
  );
}
export function convolutional(): nn.Sequential {
  manualSeed(5);
  return new nn.Sequential(
    new nn.Conv2d(2, 4, 3, { padding: "same" }),
    new nn.Tanh(),
    new nn.MaxPool2d(2),
    new nn.Conv2d(4, 3, 3, { padding: "same" }),
    new nn.ReLU(),
    new nn.Flatten(),
    new nn.Linear(3 * 3 * 3, 3),
  );
}
