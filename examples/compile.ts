// Runs a whole training step as one call into WebAssembly. The step allocates nothing, and its results are bit-identical to those without
// `compile`.
import { compile, losses, manualSeed, nn, optim, randn, type Tensor } from "nabla";

manualSeed(7);
const model = new nn.Sequential(new nn.Linear(784, 128), new nn.ReLU(), new nn.Linear(128, 10));
const optimizer = new optim.Adam(model.parameters(), { lr: 1e-3 });

const step = compile((x: Tensor, labels: Tensor) => {
  const loss = losses.crossEntropy(model.forward(x), labels);
  optimizer.minimize(loss); // = zeroGrad, backward, step
  return loss;
});

// Synthetic data: the label is the index of the largest of the first ten inputs.
const batches = Array.from({ length: 100 }, () => {
  const x = randn([32, 784]);
  return [x, x.slice(null, [0, 10]).argMax(1)] as const;
});
for (const [x, labels] of batches) console.log(step(x, labels).item());
step(...batches[0]!).shape; // []
