/** In Node, `import "nabla"` parses layers, optimizers, losses and compile only when a program uses them; tools/lazyCore.mjs explains how. */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, expect, test } from "vitest";

// The space and the sign tell a path from the URL of the same folder.
const folder = mkdtempSync(join(tmpdir(), "nabla lazy+"));
for (const part of ["package.json", "dist/node"]) cpSync(part, join(folder, "whole", part), { recursive: true });
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs an ES module inside a copy of the package, and returns what it prints as JSON. */
function run<T>(program: string): T {
  const file = join(folder, "whole", "program.mjs");
  writeFileSync(file, program);
  return JSON.parse(execFileSync(process.execPath, [file], { encoding: "utf8" })) as T;
}

/** A program that evaluates expressions in turn, and prints after each whether core.cjs is loaded. */
const loads = (imports: string, ...expressions: string[]): string => `
import { createRequire } from "node:module";
${imports}
const isLoaded = () => Object.keys(createRequire(import.meta.url).cache).some((file) => file.endsWith("core.cjs"));
const seen = [isLoaded()];
${expressions.map((expression) => `${expression}; seen.push(isLoaded());`).join("\n")}
console.log(JSON.stringify(seen));`;

test.each([
  ["an op and its gradient", "tensor([1], { requiresGrad: true }).square().sum().backward()", false],
  ["a fused linear layer's op", "linear(ones([1, 2]), ones([3, 2]))", false],
  ["the names of the layers", "Object.keys(nn)", false],
  ["a layer", "nn.Linear", true],
  ["a nested namespace", "nn.init", true],
  ["a loss", "losses.mse(ones([2]), ones([2]))", true],
  ["an optimizer", "optim.Adam", true],
  ["grad", "grad((x) => x.sum())(ones([2]))", true],
])("importing nabla does not load the core; %s: %s → %s", (_, expression, expected) => {
  const names = "grad, linear, losses, nn, ones, optim, tensor";
  expect(run(loads(`import { ${names} } from "nabla";`, expression))).toEqual([false, expected]);
});

test.each(["nabla/formats", "nabla/gradients"])("%s loads the core at once, and shares it with nabla", (name) => {
  const program = loads(`import { nn, optim } from "nabla"; import * as other from "${name}";`);
  expect(run(program)).toEqual([true]);
});

test("saveState and nn use the same classes", () => {
  const states = run<number[]>(`
    import { nn } from "nabla";
    import { loadState, saveState } from "nabla/formats";
    const [one, two] = [new nn.Linear(2, 3), new nn.Linear(2, 3)];
    loadState(saveState({ model: one }), { model: two });
    console.log(JSON.stringify([one, two].map((model) => model.weight.sum().item())));`);
  expect(states[0]).toBe(states[1]);
});

test("both entries export the same names, and their namespaces have the same members", async () => {
  type Library = Record<string, object>;
  const [eager, lazy] = (await Promise.all(
    ["index.js", "index-require.js"].map((name) => import(pathToFileURL(`dist/node/${name}`).href)),
  )) as [Library, Library];
  expect(Object.keys(lazy)).toEqual(Object.keys(eager));
  for (const name of ["nn", "optim", "losses"]) {
    expect(Object.keys(eager[name]!).length).toBeGreaterThan(5);
    expect(Object.keys(lazy[name]!)).toEqual(Object.keys(eager[name]!));
    expect(String(lazy[name])).toBe(String(eager[name]));
    for (const [member, value] of Object.entries(lazy[name]!)) expect(value, `${name}.${member}`).toBeDefined();
  }
});

test("a listing of recorded ops names the user's line, although frames of core.cjs show a path instead of a URL", () => {
  const listing = run<string>(`
    import { compile, ones } from "nabla";
    const step = compile((x) => x.exp().sum());
    step(ones([4, 4]));
    console.log(JSON.stringify(String(step.explain())));`);
  expect(listing).toContain("program.mjs:3");
  expect(listing).not.toContain("core.cjs");
});

test("if a deployment leaves core.cjs out, ops work, and using a layer says how to fix it", () => {
  cpSync(join(folder, "whole"), join(folder, "part"), { recursive: true });
  rmSync(join(folder, "part/dist/node/core.cjs"));
  const file = join(folder, "part", "program.mjs");
  writeFileSync(file, 'import { nn, ones } from "nabla"; console.log(ones([2]).sum().item()); nn.Linear;');
  const { stdout, stderr } = spawnSync(process.execPath, [file], { encoding: "utf8" });
  expect(stdout).toBe("2\n");
  expect(stderr).toMatch(/Error: nabla: core\.cjs is missing\. Add the condition "module" to your bundler/);
});
