/** A model and inputs that the penalty and attack tests share. */
import { manualSeed, nn } from "nabla";

export function network(outputs: number, seed = 3): nn.Sequential {
  manualSeed(seed);
  return new nn.Sequential(new nn.Linear(4, 7), new nn.Tanh(), new nn.Linear(7, outputs));
}

export const X = [
  [0.5, -1, 2, 0.25],
  [1, 0.75, -0.5, -2],
  [0, 1, 1, -1],
];
