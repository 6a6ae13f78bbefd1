// Runs one training loop without returning to the event loop. Prints the memory in use after a tenth of the steps and at the end, and the
// number of wrong results, as JSON. Run with --expose-gc.
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

/** The model's output for x, computed in float64 without nabla: tanh(x·W₁ᵀ + b₁)·W₂ᵀ + b₂, row by row. */
function expectedLogits() {
  const [w1, b1, w2, b2] = model.parameters().map((p) => p.toArray());
  const layer = (row, w, b) => w.map((column, j) => column.reduce((sum, v, i) => sum + v * row[i], b[j]));
  return x.toArray().map((row) => layer(layer(row, w1, b1).map(Math.tanh), w2, b2));
}

const loops = {
  disposed: () => optimizer.minimize(() => losses.crossEntropy(model.forward(x), labels)).dispose(),
  dropped: () => void optimizer.minimize(() => losses.mse(model.forward(x).sum(1, { keepdim: true }), y)),
  pytorch(i) {
    const expected = i % 100 === 1 ? expectedLogits() : undefined;
    optimizer.zeroGrad();
    const logits = model.forward(x);
    const before = logits.data;
    const loss = losses.crossEntropy(logits, labels);
    loss.backward();
    optimizer.step();
    const after = logits.data;
    if (!before.every((v, i) => v === after[i])) wrong++;
    if (!expected) return;
    if (!expected.flat().every((v, i) => Math.abs(v - after[i]) < 1e-5)) wrong++;
    const correct = expected.filter(([a, b], row) => Number(b > a) === labels.data[row]).length;
    if (logits.argMax(1).eq(labels).sum().item() !== correct) wrong++;
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

function memoryInUse() {
  for (let i = 0; i < 3; i++) gc();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  const { bytes, capacity } = memory();
  return { heapUsed, arrayBuffers, bytes, capacity, total: heapUsed + arrayBuffers + capacity };
}

let early;
for (let i = 1; i <= steps; i++) {
  loops[kind](i);
  if (10 * i === steps) early = memoryInUse();
}
console.log(JSON.stringify({ early, late: memoryInUse(), wrong }));
