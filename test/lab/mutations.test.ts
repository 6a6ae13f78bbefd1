/** A mistake in a function of the concept table turns a finding of the concept's experiment red. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { concepts } from "../../lab/concepts.ts";
import { experiments } from "../../lab/experiments/index.ts";
import { outcomesOf } from "../support/mutate.ts";
import { runs } from "../support/runs.ts";
import { uniform } from "../support/settings.ts";
import { type Mutation, mutations } from "./mutations.ts";

/** The number of random settings to try if the defaults do not notice a mistake. */
const SETTINGS = 6;

const inTable = new Set(concepts.flatMap((concept) => concept.functions));
const functions = [...new Set([...inTable, ...Object.keys(mutations)])];
/** The experiments of the concepts that name a function; for a function of no concept, those that use it. */
const experimentsOf = (name: string): string[] =>
  inTable.has(name)
    ? [...new Set(concepts.filter((concept) => concept.functions.includes(name)).map(({ experiment }) => experiment))]
    : experiments.filter((one) => one.functions.includes(name)).map((one) => one.name);

test("every function of the concept table has at least two mutations, each of a text that occurs once", () => {
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
  const names = [...new Set(concepts.map(({ experiment }) => experiment))];
  // test/lab/sweep.test.ts runs the random settings.
  expect(await outcomesOf(undefined, { names, count: 0 })).toEqual(names.map((name) => ({ name })));
});

/** In test:deep, all mutations run in all experiments. Otherwise, one of each function runs until an experiment notices. */
const isDeep = runs(1) > 1;
const random = uniform(Number(process.env.NABLA_SEED ?? 1));
const cases = functions.flatMap((name) => {
  const list = mutations[name] ?? [];
  const chosen = isDeep ? list : [list[Math.floor(random() * list.length)]!];
  return chosen.map((mutation): [string, string, Mutation] => [name, `${mutation.kind} in ${mutation.to}`, mutation]);
});
/** The number of mutations that an experiment noticed, by function and experiment. */
const noticed = new Map<string, number>();

describe("a finding turns red", () => {
  test.concurrent.each(cases)("%s: %s", { timeout: 300_000 }, async (name, _, mutation) => {
    const names = experimentsOf(name);
    const outcomes = await outcomesOf(mutation, { names, count: SETTINGS, untilRed: !isDeep });
    for (const outcome of outcomes)
      if (outcome.red) {
        const key = `${name} in ${outcome.name}`;
        noticed.set(key, (noticed.get(key) ?? 0) + 1);
      }
    const survived = names.map((experiment) => {
      const other = outcomes.find((outcome) => outcome.name === experiment);
      return `${experiment} ${other ? (other.other ?? "notices nothing") : "takes too long"}`;
    });
    expect(outcomes.some(({ red }) => red) ? [] : survived).toEqual([]);
  });
  if (isDeep)
    test("in each concept's experiment, for two mutations of each of its functions", () => {
      const wanted = concepts.flatMap(({ functions: own, experiment }) =>
        own.map((name) => `${name} in ${experiment}`),
      );
      expect(wanted.filter((key) => !((noticed.get(key) ?? 0) >= 2))).toEqual([]);
    });
});
