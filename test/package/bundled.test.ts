/** Bundles one program with and without minification: both print the same, so nothing depends on a name that minifiers change. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rolldown } from "rolldown";
import { expect, test } from "vitest";

/** Prints everything that the names of classes, functions and fields could affect. */
const PROGRAM = `
import { compile, losses, manualSeed, memory, nn, optim, ones, randn, summary, tensor } from "nabla";
import { fromPyTorch, loadState, readSafetensors, saveState, toPyTorch, writeSafetensors } from "nabla/formats";
import { diagnose, objective } from "nabla/gradients";

const printed = {};
const failure = (f) => {
  try { f(); return "did not throw"; }
  catch (error) { return [error.name, error.message, String(error), Object.prototype.toString.call(error)]; }
};
const make = () => new nn.Sequential(
  new nn.Conv2d(1, 2, 3), new nn.BatchNorm2d(2), new nn.ReLU(), new nn.Flatten(), new nn.Linear(8, 4), new nn.LayerNorm(4), new nn.Dropout(0), new nn.Linear(4, 2));
class Recurrent extends nn.Module {
  static kind = "Recurrent";
  constructor() { super(); this.lstm = new nn.LSTM(2, 3); this.head = new nn.Linear(3, 2); this.again = this.head; }
  forward(x) { return this.head.forward(this.lstm.forward(x)[0]); }
}
manualSeed(3);
const model = make();
const recurrent = new Recurrent();
const [x, labels] = [randn([4, 4, 4, 1]), tensor([0, 1, 1, 0], { dtype: "int32" })];
const optimizer = new optim.AdamW(model.parameters(), { lr: 0.01 });
const scheduler = new optim.OneCycleLR(optimizer, 0.1, { totalSteps: 10 });
const step = compile((a, b) => optimizer.minimize(() => losses.crossEntropy(model.forward(a), b)));
printed.losses = [1, 2, 3].map(() => { scheduler.step(); return step(x, labels).item(); });
printed.strings = [String(model), String(recurrent), String(x), String(step.explain([x, labels]))];
printed.names = [Object.keys(model.stateDict()), Object.keys(recurrent.stateDict()), [...recurrent.namedModules()].map(([name]) => name)];
printed.summary = String(summary(model, [1, 4, 4, 1]));
const verdict = diagnose(make(), () => losses.crossEntropy(model.forward(x), labels));
printed.diagnose = JSON.stringify(verdict);
printed.dead = String(diagnose(model, () => losses.crossEntropy(model.forward(x), labels)));
const state = saveState({ model, optimizer, scheduler });
const other = make();
const otherOptimizer = new optim.AdamW(other.parameters(), { lr: 0.5 });
loadState(state, { model: other, optimizer: otherOptimizer, scheduler: new optim.OneCycleLR(otherOptimizer, 0.1, { totalSteps: 10 }) });
printed.state = [state.length, [...new Uint8Array(state)].reduce((hash, byte) => (Math.imul(hash, 31) + byte) | 0, 7)];
printed.loaded = Object.values(other.stateDict()).map((t) => t.toArray());
printed.torch = Object.entries(toPyTorch(model)).map(([name, t]) => [name, t.shape]);
fromPyTorch(other, readSafetensors(writeSafetensors(toPyTorch(model))));
printed.fromTorch = Object.values(other.stateDict()).map((t) => t.toArray());
const sgd = new optim.SGD(other.parameters(), { lr: 1 });
printed.errors = [
  () => ones([2, 3]).matmul(ones([2, 3])),
  () => new optim.Adam(model),
  () => new optim.SGD(model.parameters()),
  () => new optim.Adam(model.parameters(), { learningRate: 1 }),
  () => new nn.Linear(2, 3, false),
  () => new nn.Sequential(nn.ReLU),
  () => new nn.Sequential(new nn.LSTM(2, 3), new nn.ReLU()).forward(ones([1, 2, 2])),
  () => model.forward([1]),
  () => other.loadStateDict({}),
  () => loadState(state, { model: other, optimizer: sgd }),
  () => loadState(state, { optimizer: new optim.Lion(other.parameters()) }),
  () => readSafetensors(new Uint8Array(3)),
  () => compile((v) => v.item())(ones([1])),
  () => compile((v) => v.log(), { finite: true })(tensor([-1])),
  () => losses.crossEntropy(ones([1, 2]), tensor([7], { dtype: "int32" })),
  () => { const t = ones([1]); t.dispose(); t.add(1); },
  () => tensor([1], { dtype: "int32", requiresGrad: true }),
  () => objective(1),
].map((f) => failure(f));
console.log(JSON.stringify(printed));
`;

async function run(minify: boolean): Promise<{ printed: Record<string, unknown>; size: number }> {
  const folder = mkdtempSync(join(tmpdir(), "nabla-bundle-"));
  try {
    const bundle = await rolldown({
      input: "program",
      // "node" would bundle dist/node, whose local names are already short.
      platform: "neutral",
      external: /^node:/,
      plugins: [
        {
          name: "program",
          resolveId: (id) => (id === "program" ? join(process.cwd(), "test/package/program.mjs") : null),
          load: (id) => (id.endsWith("test/package/program.mjs") ? PROGRAM : null),
        },
      ],
      resolve: { conditionNames: ["default"] },
    });
    const { output } = await bundle.generate({ format: "esm", minify });
    await bundle.close();
    for (const part of output)
      writeFileSync(
        join(folder, part.fileName.replace(/\.js$/, ".mjs")),
        part.type === "chunk" ? part.code.replaceAll(/(["'])(\.\/[\w.-]+)\.js\1/g, "$1$2.mjs$1") : part.source,
      );
    const entry = output.find((part) => part.type === "chunk" && part.isEntry)!;
    const stdout = execFileSync(process.execPath, [join(folder, entry.fileName.replace(/\.js$/, ".mjs"))], {
      encoding: "utf8",
    });
    return {
      printed: JSON.parse(stdout) as Record<string, unknown>,
      size: output.reduce((sum, part) => sum + (part.type === "chunk" ? part.code.length : 0), 0),
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("a minified bundle prints the same as an unminified one", async () => {
  const [readable, minified] = [await run(false), await run(true)];
  expect(minified.size).toBeLessThan(0.8 * readable.size);
  expect(minified.printed).toEqual(readable.printed);
  const { errors, names, state } = readable.printed as { errors: unknown[]; names: string[][]; state: number[] };
  expect(errors.flatMap((error, i) => (error === "did not throw" ? [i] : []))).toEqual([]);
  expect(names[0]).toContain("0.weight");
  expect(state[0]).toBeGreaterThan(1000);
});
