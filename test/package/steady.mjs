// Trains the XOR net with a compiled step and prints what 100,000 steps leave in memory, as JSON. Run with --expose-gc.
import { compile, losses, memory, nn, optim, tensor } from "nabla";

const model = new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 1), new nn.Sigmoid());
const optimizer = new optim.Adam(model.parameters());
const step = compile((x, y) => optimizer.minimize(() => losses.mse(model.forward(x), y)));
const [x, y] = [tensor([[0, 0], [0, 1], [1, 0], [1, 1]]), tensor([[0], [1], [1], [0]])]; // biome-ignore format: a table

const run = (steps) => {
  for (let i = 0; i < steps; i++) step(x, y);
};
// Until V8 has compiled everything for good.
run(500_000);
gc();
const before = { heap: process.memoryUsage().heapUsed, ...memory() };
run(100_000);
const made = process.memoryUsage().heapUsed - before.heap;
gc();
const kept = process.memoryUsage().heapUsed - before.heap;
const after = memory();
const linear = after.bytes - before.bytes + after.tensors - before.tensors + after.capacity - before.capacity;
console.log(JSON.stringify({ made, kept, linear }));
