// Drops compiled functions without disposing of them. Prints the bytes in use before and after that, as JSON. Run with --expose-gc.
import { setTimeout } from "node:timers/promises";
import { compile, memory, nn, optim, rand } from "nabla";

const x = rand([1000, 100]);
const model = new nn.Linear(100, 10);
const optimizer = new optim.Adam(model.parameters());
async function round() {
  for (let i = 0; i < 20; i++) {
    compile((v) => v.exp().add(1).sum())(x);
    compile((v) => optimizer.minimize(() => model.forward(v).square().mean()))(x);
  }
  optimizer.zeroGrad();
  for (let i = 0; i < 5; i++) {
    gc();
    await setTimeout(10);
  }
  return memory().bytes;
}
const before = await round();
for (let i = 0; i < 3; i++) await round();
console.log(JSON.stringify({ before, after: memory().bytes }));
