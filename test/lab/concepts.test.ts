/** The concept table names experiments, functions and findings that exist. */
import { readFileSync } from "node:fs";
import * as nabla from "nabla";
import * as gradients from "nabla/gradients";
import { describe, expect, test } from "vitest";
import { concepts } from "../../lab/concepts.ts";
import { type AnyExperiment, valuesOf } from "../../lab/experiment.ts";
import { experiments } from "../../lab/experiments/index.ts";
import { exercises } from "../../lab/practice/index.ts";
import { context } from "../support/digits.ts";
import { importsOf } from "../support/imports.ts";

describe.each(concepts.map((concept) => [concept.name, concept] as const))("%s", (_, concept) => {
  const experiment = experiments.find(({ name }) => name === concept.experiment) as AnyExperiment;

  test("has no empty cell", () => {
    for (const cell of Object.values(concept)) expect(cell.length).toBeGreaterThan(0);
    expect(concept.paragraph).toMatch(/^[a-z]+(-[a-z]+)*$/);
  });

  test("names an experiment of its section, and functions that the experiment uses", () => {
    expect(experiment.section).toBe(concept.section);
    const source = readFileSync(`lab/experiments/${concept.experiment}.ts`, "utf8");
    for (const path of concept.functions) {
      if (path.startsWith("Tensor.")) {
        const method = path.slice("Tensor.".length);
        expect(nabla.Tensor.prototype).toHaveProperty(method);
        expect(source).toContain(`.${method}(`);
        continue;
      }
      const [name, member] = path.split(".") as [string, string | undefined];
      const module = name in gradients ? "nabla/gradients" : "nabla";
      const exported = (module === "nabla" ? nabla : gradients) as Record<string, unknown>;
      expect(exported).toHaveProperty(path.split("."));
      expect(importsOf(source, module)).toContain(name);
      if (member) expect(source).toContain(`${path}(`);
    }
  });

  test("names an exercise", () => expect(exercises.map(({ name }) => name)).toContain(concept.exercise));

  test("names findings of a run with default parameters", async () => {
    const { findings } = await experiment.run(valuesOf(experiment.parameters), context);
    for (const start of concept.findings)
      expect(
        findings.some(({ text }) => text.startsWith(start)),
        start,
      ).toBe(true);
  });
});

test("the rows follow the article's paragraphs, under its headings", () => {
  const article = readFileSync("lab/article/article.md", "utf8");
  const places = concepts.map(({ paragraph }) => article.indexOf(`{#${paragraph}}`));
  expect(places.every((place, i) => place > (places[i - 1] ?? 0))).toBe(true);
  const headings = places.map((place) =>
    article
      .slice(0, place)
      .match(/^#+ .*$/gm)!
      .at(-1)!
      .replace(/^#+ /, ""),
  );
  expect(headings).toEqual(concepts.map(({ section }) => section));
});

test("there are 26 concepts", () => expect(concepts.length).toBe(26));

test("no two rows have the same name or paragraph", () => {
  for (const key of ["name", "paragraph"] as const)
    expect(new Set(concepts.map((concept) => concept[key])).size).toBe(concepts.length);
});

test("the text before every figure ends with what to try or look for", () => {
  const blocks = readFileSync("lab/article/article.md", "utf8").split("\n\n");
  const figures = blocks.map((block, i) => [/^@figure (\S+)/.exec(block)?.[1], blocks[i - 1]!] as const);
  const without = figures.filter(([name, before]) => name && !/^\*(Try it:|Look (for|at)) .+\*$/.test(before));
  expect(figures.filter(([name]) => name).length).toBe(experiments.length);
  expect(without.map(([name]) => name)).toEqual([]);
});
