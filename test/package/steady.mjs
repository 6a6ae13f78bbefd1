// Trains the XOR net with a compiled step and prints what 100,000 steps make and leave in memory, as JSON. Run with --expose-gc.
import { compile, losses, memory, nn, optim, tensor } from "nabla";

const model = new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 1), new nn.Sigmoid());
const optimizer = new optim.Adam(model.parameters());
const step = compile((x, y) => optimizer.minimize(() => losses.mse(model.forward(x), y)));
const [x, y] = [tensor([[0, 0], [0, 1], [1, 0], [1, 1]]), tensor([[0], [1], [1], [0]])]; // biome-ignore format: a table

const run = (steps) => {
  for (let i = 0; i < steps; i++) step(x, y);
};
// Until V8 has compiled everything.
run(500_000);
gc();
const before = { heap: process.memoryUsage().heapUsed, ...memory() };
// What V8 still compiles adds to some rounds: what a step makes is in all of them.
let made = Number.POSITIVE_INFINITY;
for (let round = 0; round < 3; round++) {
  const start = process.memoryUsage().heapUsed;
  run(100_000);
  made = Math.min(made, process.memoryUsage().heapUsed - start);
  gc();
}
const kept = process.memoryUsage().heapUsed - before.heap;
const after = memory();
const linear = after.bytes - before.bytes + after.tensors - before.tensors + after.capacity - before.capacity;
console.log(JSON.stringify({ made, kept, linear }));
