/** If a function in the concept table has a mistake, a finding in the concept's row fails. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { concepts } from "../../lab/concepts.ts";
import { experiments } from "../../lab/experiments/index.ts";
import type { Row } from "../support/mutant.ts";
import { outcomesOf } from "../support/mutate.ts";
import type { Mutation } from "../support/mutation.ts";
import { runs } from "../support/runs.ts";
import { uniform } from "../support/settings.ts";
import { mutations, users } from "./mutations.ts";

/** The number of random settings to try if the default settings do not reveal a mistake. */
const SETTINGS = 6;

const inTable = new Set(concepts.flatMap((concept) => concept.functions));
const functions = [...new Set([...inTable, ...Object.keys(mutations)])];
/**
 * The rows of the concept table that name a function. For a function without a concept, each experiment that uses it counts as a row, and
 * any of the experiment's findings may be the one that fails.
 */
const rowsOf = (name: string): Row[] =>
  inTable.has(name)
    ? concepts.filter((concept) => concept.functions.includes(name))
    : experiments
        .filter((one) => one.functions.includes(name) || one.name === users[name])
        .map((one) => ({ name: one.name, experiment: one.name, findings: [""] }));

test("every function in the concept table has at least two mutations, each of which replaces text that occurs once", () => {
  expect(Object.keys(mutations)).toEqual(expect.arrayContaining([...inTable]));
  for (const [name, list] of Object.entries(mutations)) {
    expect(list.length, name).toBeGreaterThanOrEqual(2);
    for (const { file, from, to } of list) {
      const source = readFileSync(`src/${file}`, "utf8");
      expect(source.split(from).length - 1, `${name}: "${from}" in src/${file}`).toBe(1);
      expect(to).not.toBe(from);
    }
  }
});

test("without a mutation, all findings hold", { timeout: 300_000 }, async () => {
  const rows = [...new Set(concepts.map(({ experiment }) => experiment))].map((name) => ({
    name,
    experiment: name,
    findings: [""],
  }));
  // test/lab/sweep.test.ts runs the random settings.
  expect(await outcomesOf(undefined, { rows, count: 0 })).toEqual(rows.map(({ name }) => ({ name })));
});

/**
 * In test:deep, every mutation runs in the experiments of all rows. Otherwise, one mutation of each function runs until a row's finding
 * fails.
 */
const isDeep = runs(1) > 1;
const random = uniform(Number(process.env.NABLA_SEED ?? 1));
const cases = functions.flatMap((name) => {
  const list = mutations[name] ?? [];
  const chosen = isDeep ? list : [list[Math.floor(random() * list.length)]!];
  return chosen.map((mutation): [string, string, Mutation] => [name, `${mutation.kind} in ${mutation.to}`, mutation]);
});
/** How many mutations made a finding fail, keyed by function and row. */
const noticed = new Map<string, number>();

describe("a finding in the function's row fails", () => {
  test.concurrent.each(cases)("%s: %s", { timeout: 300_000 }, async (name, _, mutation) => {
    const rows = rowsOf(name);
    const outcomes = await outcomesOf(mutation, { rows, count: SETTINGS, untilRed: !isDeep });
    for (const outcome of outcomes)
      if (outcome.red) {
        const key = `${name}: ${outcome.name}`;
        noticed.set(key, (noticed.get(key) ?? 0) + 1);
      }
    const survived = rows.map((row) => {
      const outcome = outcomes.find((one) => one.name === row.name);
      return `${row.name}: ${outcome ? (outcome.other ?? "notices nothing") : "takes too long"}`;
    });
    expect(outcomes.some(({ red }) => red) ? [] : survived).toEqual([]);
  });
  if (isDeep)
    test("in each row, for two mutations of each of its functions", () => {
      const wanted = concepts.flatMap((concept) => concept.functions.map((name) => `${name}: ${concept.name}`));
      expect(wanted.filter((key) => !((noticed.get(key) ?? 0) >= 2))).toEqual([]);
    });
});
