// Runs one training loop without ever returning to the event loop, and prints what is held after a tenth of its steps and after all, as
// JSON. Run with --expose-gc.
import { compile, losses, manualSeed, memory, nn, optim, randn, tensor } from "nabla";

const [kind, steps] = [process.argv[2], Number(process.argv[3])];
manualSeed(7);
const x = tensor([[0, 0], [0, 1], [1, 0], [1, 1]]); // biome-ignore format: a table
const y = tensor([[0], [1], [1], [0]]);
const labels = tensor([0, 1, 1, 0], { dtype: "int32" });
const model = new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 2));
const optimizer = new optim.Adam(model.parameters(), { lr: 1e-3 });
const regression = new nn.Linear(3, 1);
const regressionOptimizer = new optim.Adam(regression.parameters());
const step = compile((a, b) => regressionOptimizer.minimize(() => losses.mse(regression.forward(a), b)));
let wrong = 0;

const loops = {
  disposed: () => optimizer.minimize(() => losses.crossEntropy(model.forward(x), labels)).dispose(),
  dropped: () => void optimizer.minimize(() => losses.mse(model.forward(x).sum(1, { keepdim: true }), y)),
  pytorch() {
    optimizer.zeroGrad();
    const logits = model.forward(x);
    const before = logits.data;
    const loss = losses.crossEntropy(logits, labels);
    loss.backward();
    optimizer.step();
    const after = logits.data;
    if (!before.every((v, i) => v === after[i]) || logits.argMax(1).eq(labels).sum().item() > 4) wrong++;
  },
  compiled: () => step(randn([8, 3]), randn([8, 1])),
  inference: () => model.forward(x).softmax().argMax(1),
  failing() {
    try {
      optimizer.minimize(() => model.forward(x).exp().matmul(x));
      wrong++;
    } catch {}
  },
};

function held() {
  for (let i = 0; i < 3; i++) gc();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  const { bytes, capacity } = memory();
  return { heapUsed, arrayBuffers, bytes, capacity };
}

let early;
for (let i = 1; i <= steps; i++) {
  loops[kind]();
  if (10 * i === steps) early = held();
}
console.log(JSON.stringify({ early, late: held(), wrong }));
