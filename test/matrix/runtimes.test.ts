/** The installed tarball in runtimes other than Node: Deno, Bun, Workers and edge functions. */
import { expect, inject, test } from "vitest";
import {
  binaryOf,
  expectKnown,
  expectLearnt,
  expectWhole,
  lastJson,
  type Result,
  SAVED,
  saw,
  TOOLS,
  versionOf,
} from "./project.ts";

const { project: cwd, nodes } = inject("matrix");
const DETERMINISTIC = JSON.stringify({ deterministic: true });
const TWO = JSON.stringify({ deterministic: true, threads: 2 });

test.each([
  ["Deno", binaryOf("@deno", "deno"), ["run", "--no-prompt"], "deno"],
  ["Bun", binaryOf("@oven", "bin/bun"), ["run"], "bun"],
])("%s, without a permission or a flag: the known bits on one thread and on two", async (name, path, args, tool) => {
  const train = (options: string): Promise<Result> => lastJson(path, [...args, "main.mjs", options], { cwd });
  const one = await train(DETERMINISTIC);
  expectKnown(one);
  expectWhole(one);
  const two = await train(TWO);
  expectKnown(two);
  expect(two.threads, two.reason).toBe(2);
  saw(name, versionOf(tool), `${expectLearnt(await train("{}"))}, 2 threads`);
});

test.each([
  ["Deno", binaryOf("@deno", "deno"), ["run", "--no-prompt", "--allow-read", "--allow-write"]],
  ["Bun", binaryOf("@oven", "bin/bun"), ["run"]],
])("%s: saveFile keeps older saves, loadFile falls back to them", async (_, path, args) => {
  expect(await lastJson(path, [...args, "save.mjs"], { cwd })).toEqual(SAVED);
});

/** What stands in for the clouds here needs a newer Node than the oldest that nabla runs on. */
function newerNode(): string {
  const node = nodes[24]!;
  if (node.missing !== undefined) throw new Error(`Workers and edge functions are tried by Node 24: ${node.missing}`);
  return node.path;
}

/** The known bits, and one thread where two are asked for, with the reason. */
function expectAlone(one: Result, two: Result): void {
  expectKnown(one);
  expectWhole(one);
  expectKnown(two);
  expect(two.threads).toBe(1);
  expect(two.reason).toMatch(/./);
}

test.each([
  ["as it is", []],
  ["with Node's modules", ["nodejs_compat"]],
])("workerd, %s: the known bits from modules that were compiled beforehand, on one thread", async (_, flags) => {
  const args = [`${TOOLS}/hosts/workerd.mjs`, cwd, JSON.stringify(flags), DETERMINISTIC, TWO, "{}"];
  const [one, two, fast] = await lastJson<Result[]>(newerNode(), args);
  expectAlone(one!, two!);
  const what = expectLearnt(fast!, "relaxed");
  saw(
    "workerd, in miniflare",
    versionOf("workerd"),
    flags.length ? "`nodejs_compat`" : `${what}, bytes compiled beforehand`,
  );
});

test("edge functions: the known bits, where neither text nor bytes may be compiled", async () => {
  const args = [`${TOOLS}/hosts/edge.mjs`, cwd, DETERMINISTIC, TWO, "{}"];
  const [one, two, fast] = await lastJson<Result[]>(newerNode(), args);
  expectAlone(one!, two!);
  saw(
    "edge-light, in @edge-runtime/vm",
    versionOf("@edge-runtime/vm"),
    `${expectLearnt(fast!, "relaxed")}, bytes compiled beforehand`,
  );
});
