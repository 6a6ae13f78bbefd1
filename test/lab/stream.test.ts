/** Experiments that train step by step: what is drawn during training, what is kept, and what a later run reuses. */
import { manualSeed, memory, rand } from "nabla";
import { describe, expect, test } from "vitest";
import {
  type AnyExperiment,
  type Context,
  type Drawing,
  type Result,
  type Training,
  valuesOf,
} from "../../lab/experiment.ts";
import { experiments } from "../../lab/experiments/index.ts";
import { stream } from "../../lab/stream.ts";
import { context } from "../support/digits.ts";

const integer = { kind: "number", label: "", min: 0, max: 99, integer: true } as const;

/** An experiment that counts its steps. Changing `seed` starts another training run; changing `shown` does not. */
function counting(steps = 5) {
  const calls: string[] = [];
  const experiment = stream({
    name: "counting",
    title: "",
    section: "",
    claim: "",
    formula: "",
    functions: [],
    parameters: { seed: { ...integer, default: 1 }, shown: { ...integer, default: 2 } },
    dependsOn: ["seed"],
    init({ seed }) {
      calls.push(`init ${seed}`);
      return { seed, taken: 0 };
    },
    step(state) {
      calls.push("step");
      return ++state.taken / steps;
    },
    draw: ({ taken }, { shown }) => ({ plots: [], tables: [{ title: "", columns: [], rows: [[taken, shown]] }] }),
    measure: ({ seed }) => ({
      findings: [{ text: "", measured: seed, expected: { equals: seed, within: 0 }, theory: "" }],
    }),
    dispose: ({ seed }) => calls.push(`dispose ${seed}`),
  });
  const run = (given: Record<string, number>, own: Partial<Context> = {}) =>
    Promise.resolve(experiment.run(valuesOf(experiment.parameters, given), { ...context, ...own }));
  const newCalls = (): string[] => calls.splice(0);
  return { run, newCalls };
}
const STEPS = Array<string>(5).fill("step");

/** A progress callback that rejects after `steps` steps and so ends the run, as the page's worker does when a newer request arrives. */
const endAfter = (steps: number): Context["progress"] => {
  let left = steps;
  return async () => {
    if (left-- <= 0) throw new Error("ended");
  };
};

describe("stream", () => {
  test("draws after every step, and adds findings only at the end", async () => {
    const { run } = counting();
    const drawn: [number, Drawing][] = [];
    const result = await run(
      {},
      { progress: async (fraction, _, draw) => void (draw && drawn.push([fraction, draw()])) },
    );
    expect(drawn.map(([fraction]) => fraction)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    expect(drawn.map(([, { tables }]) => tables![0]!.rows[0])).toEqual([0, 1, 2, 3, 4, 5].map((step) => [step, 2]));
    for (const [, drawing] of drawn) expect(drawing).not.toHaveProperty("findings");
    expect(result).toEqual({ ...drawn.at(-1)![1], findings: result.findings });
    expect(result.findings).toHaveLength(1);
  });

  test("if no training runs are kept, trains in every run and disposes the state", async () => {
    const { run, newCalls } = counting();
    await run({});
    expect(newCalls()).toEqual(["init 1", ...STEPS, "dispose 1"]);
    await expect(run({}, { progress: endAfter(2) })).rejects.toThrow("ended");
    expect(newCalls()).toEqual(["init 1", "step", "step", "dispose 1"]);
  });

  test("does not train again for a parameter that only changes what is drawn", async () => {
    const { run, newCalls } = counting();
    const trainings = new Map<string, Training>();
    await run({}, { trainings });
    expect(newCalls()).toEqual(["init 1", ...STEPS]);
    expect((await run({ shown: 7 }, { trainings })).tables![0]!.rows).toEqual([[5, 7]]);
    expect(newCalls()).toEqual([]);
    await run({ seed: 3 }, { trainings });
    expect(newCalls()).toEqual(["init 3", ...STEPS]);
  });

  test("continues a training run that ended early, starting at the step where it stopped", async () => {
    const { run, newCalls } = counting();
    const trainings = new Map<string, Training>();
    await expect(run({}, { trainings, progress: endAfter(2) })).rejects.toThrow("ended");
    await run({ seed: 3 }, { trainings });
    newCalls();
    expect((await run({ shown: 7 }, { trainings })).tables![0]!.rows).toEqual([[5, 7]]);
    expect(newCalls()).toEqual(["step", "step", "step"]);
  });

  test("keeps four training runs, and disposes the least recently used one", async () => {
    const { run, newCalls } = counting(1);
    const trainings = new Map<string, Training>();
    for (const seed of [1, 2, 3, 4, 1, 5]) await run({ seed }, { trainings });
    expect(newCalls().filter((call) => call.startsWith("dispose"))).toEqual(["dispose 2"]);
    expect(trainings.size).toBe(4);
  });

  test("forgets a training run whose step throws", async () => {
    let isBroken = true;
    const experiment = stream({
      ...{ name: "", title: "", section: "", claim: "", formula: "", functions: [], parameters: {} },
      init: () => ({ isBroken }),
      step(state) {
        if (state.isBroken) throw new Error("broken");
        return 1;
      },
      measure: () => ({ findings: [] }),
    });
    const trainings = new Map<string, Training>();
    const run = async (): Promise<Result> => experiment.run({}, { ...context, trainings });
    await expect(run()).rejects.toThrow("broken");
    isBroken = false;
    expect(await run()).toEqual({ plots: [], findings: [] });
  });
});

/** The result without measured times, which differ between two runs. */
const withoutTimes = ({ plots, tables, ...rest }: Result, { name }: AnyExperiment): object =>
  name === "fisher-training" ? { ...rest, plots: plots.slice(0, 1) } : { plots, tables, ...rest };

/** The default parameters, but with only 5 steps, or the smallest number that the experiment allows if that is larger. */
const shortest = ({ parameters }: AnyExperiment): Record<string, string | number> =>
  valuesOf(
    parameters,
    Object.fromEntries(
      Object.entries(parameters).flatMap(([key, parameter]) =>
        parameter.kind === "number" && ["steps", "epochs", "length", "depth"].includes(key)
          ? [[key, Math.max(parameter.min, 5)]]
          : [],
      ),
    ),
  );

const streams = experiments.filter(({ isStream }) => isStream);
describe.each(streams.map((experiment) => [experiment.name, experiment] as const))("%s", (_, experiment) => {
  test("a training run that is paused while other code draws random numbers ends like an uninterrupted one, and leaves no tensors behind", {
    timeout: 120_000,
  }, async () => {
    const values = shortest(experiment);
    const trainings = new Map<string, Training>();
    const run = (own: Partial<Context>) => Promise.resolve(experiment.run(values, { ...context, ...own }));
    for (const steps of [1, 0, 3]) {
      await expect(run({ trainings, progress: endAfter(steps) })).rejects.toThrow("ended");
      manualSeed(steps);
      rand([5]);
    }
    const drawings: Drawing[] = [];
    const paused = await run({
      trainings,
      progress: async (fraction, _, draw) => {
        // Drawing must not change the state.
        if (draw && (fraction === 0 || drawings.length < 3)) drawings.push(draw());
      },
    });
    expect(drawings.length).toBeGreaterThan(1);
    for (const { plots, pictures = [] } of drawings) expect(plots.length + pictures.length).toBeGreaterThan(0);
    const before = memory().tensors;
    const straight = await run({});
    expect(memory().tensors).toBe(before);
    expect(withoutTimes(paused, experiment)).toEqual(withoutTimes(straight, experiment));
  });
});
