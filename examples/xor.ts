// Trains a 2-8-1 network on XOR in eager mode, in about a second.
import { losses, manualSeed, nn, optim, tensor } from "nabla";

manualSeed(7);
const x = tensor([
  [0, 0],
  [0, 1],
  [1, 0],
  [1, 1],
]);
const y = tensor([[0], [1], [1], [0]]);

const model = new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 1));
const optimizer = new optim.Adam(model.parameters(), { lr: 0.02 });
for (let step = 0; step <= 2000; step++) {
  // The closure is a scope: tensors that it creates are freed when it ends.
  const loss = optimizer.minimize(() => losses.bceWithLogits(model.forward(x), y));
  if (step % 500 === 0) console.log(`step ${step}: loss ${loss.item().toFixed(4)}`);
  loss.dispose();
}
model.forward(x).sigmoid().round().toArray(); // [[0], [1], [1], [0]]
