// Trains the XOR net with a compiled step. Prints the bytes that 100,000 steps allocate and keep, as JSON. Run with --expose-gc.
import { compile, losses, memory, nn, optim, tensor } from "nabla";

const model = new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 1), new nn.Sigmoid());
const optimizer = new optim.Adam(model.parameters());
const step = compile((x, y) => optimizer.minimize(() => losses.mse(model.forward(x), y)));
const [x, y] = [tensor([[0, 0], [0, 1], [1, 0], [1, 1]]), tensor([[0], [1], [1], [0]])]; // biome-ignore format: a table

const run = (steps) => {
  for (let i = 0; i < steps; i++) step(x, y);
};
// Let V8 compile everything before the measurement.
run(500_000);
gc();
const before = { heap: process.memoryUsage().heapUsed, ...memory() };
// V8 may still compile during a round, which allocates memory too. Use the minimum over the rounds, which counts only what the steps
// allocate.
let allocated = Number.POSITIVE_INFINITY;
for (let round = 0; round < 3; round++) {
  const start = process.memoryUsage().heapUsed;
  run(100_000);
  allocated = Math.min(allocated, process.memoryUsage().heapUsed - start);
  gc();
}
const kept = process.memoryUsage().heapUsed - before.heap;
const after = memory();
const linear = after.bytes - before.bytes + after.tensors - before.tensors + after.capacity - before.capacity;
console.log(JSON.stringify({ allocated, kept, linear }));
