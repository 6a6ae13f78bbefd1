// Trains with a small init({ memoryLimit }) after ballast tensors have filled the memory, so that allocations fail at every stage of a
// step. Retries each step with a little more free memory until it succeeds. Prints, as JSON, how many attempts failed, how many of those
// changed any state, and the final losses and state.
import { createHash } from "node:crypto";
import { compile, init, losses, manualSeed, memory, nn, optim, randn, tensor, tidy, zeros } from "nabla";

const [kind, build, filled] = process.argv.slice(2);
await init({ memoryLimit: 3 << 20, build });
manualSeed(5);
const model = new nn.Sequential(
  new nn.Linear(64, 64),
  new nn.BatchNorm1d(64),
  new nn.ReLU(),
  new nn.Dropout(0.5),
  new nn.Linear(64, 2),
);
const optimizer = new optim.Adam(model.parameters(), { lr: 0.01, amsgrad: true });
const [x, labels] = [randn([32, 64]), tensor(new Int32Array(32).map((_, i) => i % 2))];
const minimize = (a, b) => optimizer.minimize(() => losses.crossEntropy(model.forward(a), b));
// Take an eager step first. An eager step creates the optimizer's state only if the step succeeds, but recording a
// compiled step creates the state immediately.
if (kind === "compiled") minimize(x, labels).dispose();
const step = kind === "compiled" ? compile(minimize) : minimize;

const BLOCK = 2048; // float32 elements
const ballast = [];
function fill() {
  for (;;)
    try {
      ballast.push(zeros([BLOCK]));
    } catch (error) {
      if (error.name === "OutOfMemoryError") return;
      throw error;
    }
}

const values = (tensors) => tensors.map((t) => Array.from(t.data));
const hash = (value) => createHash("sha256").update(JSON.stringify(value)).digest("hex");
const state = () =>
  hash({
    parameters: values(Object.values(model.stateDict())),
    optimizer: optimizer.stateDict().state.map((own) => values(Object.values(own))),
  });

let [failures, changes] = [0, 0];
const seen = [];
/** Takes one step. Each time memory runs out, frees one ballast tensor and retries the step. */
function train() {
  for (;;) {
    const before = state();
    try {
      const loss = step(x, labels);
      seen.push(loss.item());
      if (kind !== "compiled") loss.dispose();
      return;
    } catch (error) {
      if (error.name !== "OutOfMemoryError" || !ballast.length) throw error;
      failures++;
      if (state() !== before) changes++;
      ballast.pop().dispose();
    }
  }
}
// Outside a scope, tensors would move to JavaScript's memory instead of filling linear memory.
tidy(() => {
  for (let i = 0; i < 3; i++) {
    if (filled === "filled") fill();
    train();
  }
});
for (const block of ballast) block.dispose();
console.log(JSON.stringify({ failures, changes, tensors: memory().tensors, end: { losses: seen, state: state() } }));
