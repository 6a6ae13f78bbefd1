/** The installed tarball in runtimes other than Node: Deno, Bun, Workers and edge functions. */
import { expect, inject, test } from "vitest";
import {
  binaryOf,
  expectConsistent,
  expectKnown,
  expectLearned,
  lastJson,
  type Result,
  recordResult,
  SAVED,
  TOOLS,
  versionOf,
} from "./project.ts";

const { project: cwd, nodes } = inject("matrix");
const DETERMINISTIC = JSON.stringify({ deterministic: true });
const TWO = JSON.stringify({ deterministic: true, threads: 2 });

test.each([
  ["Deno", binaryOf("@deno", "deno"), ["run", "--no-prompt"], "deno"],
  ["Bun", binaryOf("@oven", "bin/bun"), ["run"], "bun"],
])(
  "%s, without permissions or flags, trains to the known bits on one thread and on two",
  async (name, path, args, tool) => {
    const train = (options: string): Promise<Result> => lastJson(path, [...args, "main.mjs", options], { cwd });
    const one = await train(DETERMINISTIC);
    expectKnown(one);
    expectConsistent(one);
    const two = await train(TWO);
    expectKnown(two);
    expect(two.threads, two.reason).toBe(2);
    recordResult(name, versionOf(tool), `${expectLearned(await train("{}"))}, 2 threads`);
  },
);

test.each([
  ["Deno", binaryOf("@deno", "deno"), ["run", "--no-prompt", "--allow-read", "--allow-write"]],
  ["Bun", binaryOf("@oven", "bin/bun"), ["run"]],
])("%s: saveFile keeps older saves, and loadFile falls back to them", async (_, path, args) => {
  expect(await lastJson(path, [...args, "save.mjs"], { cwd })).toEqual(SAVED);
});

/** The path to a Node executable that is new enough for miniflare and @edge-runtime/vm, which need a newer version than nabla does. */
function newerNode(): string {
  const node = nodes[24]!;
  if (node.missing !== undefined)
    throw new Error(`The tests of Workers and edge functions need Node 24: ${node.missing}`);
  return node.path;
}

/** Expects the known bits in both runs, and that the second run, which asked for two threads, ran on one thread and gave a reason. */
function expectOneThread(one: Result, two: Result): void {
  expectKnown(one);
  expectConsistent(one);
  expectKnown(two);
  expect(two.threads).toBe(1);
  expect(two.reason).toMatch(/./);
}

test.each([
  ["without flags", []],
  ["with nodejs_compat", ["nodejs_compat"]],
])("workerd, %s, trains to the known bits on one thread with precompiled modules", async (_, flags) => {
  const args = [`${TOOLS}/hosts/workerd.mjs`, cwd, JSON.stringify(flags), DETERMINISTIC, TWO, "{}"];
  const [one, two, fast] = await lastJson<Result[]>(newerNode(), args);
  expectOneThread(one!, two!);
  const what = expectLearned(fast!, "relaxed");
  recordResult(
    "workerd, in miniflare",
    versionOf("workerd"),
    flags.length ? "`nodejs_compat`" : `${what}, precompiled`,
  );
});

test("edge functions train to the known bits, although neither text nor bytes may be compiled", async () => {
  const args = [`${TOOLS}/hosts/edge.mjs`, cwd, DETERMINISTIC, TWO, "{}"];
  const [one, two, fast] = await lastJson<Result[]>(newerNode(), args);
  expectOneThread(one!, two!);
  recordResult(
    "edge-light, in @edge-runtime/vm",
    versionOf("@edge-runtime/vm"),
    `${expectLearned(fast!, "relaxed")}, precompiled`,
  );
});
