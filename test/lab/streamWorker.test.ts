/**
 * The page's worker: its answers while an experiment trains, and how soon it ends, pauses and resumes a training run.
 */
import { afterEach, beforeAll, expect, test, vi } from "vitest";
import type { Answer, Request } from "../../lab/page/worker.ts";
import { stream } from "../../lab/stream.ts";

const STEPS = 50;
let steps = 0;
/** Called in every step. */
let during: () => void = () => {};

vi.mock("../../lab/page/digits.ts", () => ({ loadDigits: () => Promise.reject(new Error("no digits")) }));
vi.mock("../../lab/experiments/index.ts", () => ({ experiments: [counting()] }));

/**
 * An experiment that counts its steps, each of which takes 3 ms. Changing `seed` starts another training run; changing `shown` does not.
 */
function counting() {
  const parameter = { kind: "number", label: "", min: 0, max: 9, default: 1, integer: true } as const;
  return stream({
    ...{ name: "counting", title: "", section: "", claim: "", formula: "", functions: [] },
    parameters: { seed: parameter, shown: parameter },
    dependsOn: ["seed"],
    init: () => ({ taken: 0 }),
    step(state) {
      steps++;
      for (const start = performance.now(); performance.now() - start < 3; );
      during();
      return ++state.taken / STEPS;
    },
    draw: ({ taken }, { shown }) => ({ plots: [], tables: [{ title: "", columns: [], rows: [[taken, shown]] }] }),
    measure: () => ({ findings: [] }),
  });
}

const answers: Answer[] = [];
let receive: (event: { readonly data: Request }) => void;
let ids = 0;
beforeAll(async () => {
  vi.stubGlobal("postMessage", (answer: Answer) => answers.push(answer));
  vi.stubGlobal("addEventListener", (_: string, listener: typeof receive) => (receive = listener));
  await import("../../lab/page/worker.ts");
});
afterEach(() => {
  steps = 0;
  during = () => {};
  answers.length = 0;
});

function request(values: { seed: number; shown: number }, limit?: number): number {
  const id = ++ids;
  receive({ data: { kind: "run", name: "counting", id, values, ...(limit !== undefined && { steps: limit }) } });
  return id;
}
const of = (id: number): Answer[] => answers.filter((answer) => answer.kind !== "ready" && answer.id === id);
/** Waits for the answer that ends a request. */
const last = (id: number) =>
  vi.waitFor(
    () => {
      const answer = of(id).at(-1);
      if (answer?.kind === "result" || answer?.kind === "error") return answer;
      if (answer?.kind === "drawing" && answer.isPaused) return answer;
      throw new Error("no answer");
    },
    { timeout: 10_000, interval: 5 },
  );

test("drawings arrive in order, without findings, and the result comes last", async () => {
  const id = request({ seed: 1, shown: 1 });
  expect((await last(id)).kind).toBe("result");
  const all = of(id);
  const drawings = all.flatMap((answer) => (answer.kind === "drawing" ? [answer] : []));
  expect(drawings.length).toBeGreaterThan(0);
  const fractions = drawings.map(({ fraction }) => fraction);
  expect(fractions).toEqual([...new Set(fractions)].sort((a, b) => a - b));
  expect(drawings.map(({ drawing }) => drawing.tables![0]!.rows[0]![0])).toEqual(
    fractions.map((f) => Math.round(f * STEPS)),
  );
  for (const { drawing } of drawings) expect(drawing).not.toHaveProperty("findings");
  expect(steps).toBe(STEPS);
});

test("a newer request ends a training run within one step, and so does a cancel message", async () => {
  let second = 0;
  during = () => {
    if (steps === 7) second = request({ seed: 3, shown: 1 });
    if (steps === 7 + 4) receive({ data: { kind: "cancel", name: "counting" } });
  };
  const first = request({ seed: 2, shown: 1 });
  await vi.waitFor(() => expect(steps).toBe(11));
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(steps).toBe(11);
  for (const id of [first, second]) expect(of(id).some(({ kind }) => kind === "result")).toBe(false);
  // Both training runs continue where they stopped.
  for (const [seed, taken] of [
    [2, 7],
    [3, 4],
  ] as const) {
    steps = 0;
    during = () => {};
    await last(request({ seed, shown: 1 }));
    expect(steps).toBe(STEPS - taken);
  }
});

test("a training run pauses after the requested number of steps, and stays paused while parameters change", async () => {
  const paused = async (values: { seed: number; shown: number }, limit: number): Promise<unknown> => {
    const answer = await last(request(values, limit));
    return answer.kind === "drawing" && [answer.drawing.tables![0]!.rows[0], answer.fraction];
  };
  expect(await paused({ seed: 4, shown: 1 }, 3)).toEqual([[3, 1], 3 / STEPS]);
  expect(await paused({ seed: 4, shown: 1 }, 1)).toEqual([[4, 1], 4 / STEPS]);
  expect(await paused({ seed: 4, shown: 7 }, 0)).toEqual([[4, 7], 4 / STEPS]);
  expect(steps).toBe(4);
  expect(await paused({ seed: 5, shown: 7 }, 0)).toEqual([[0, 7], 0]);
  expect(steps).toBe(4);
});

test("changing a parameter that affects only the drawing does not restart training", async () => {
  await last(request({ seed: 6, shown: 1 }));
  expect(steps).toBe(STEPS);
  const id = request({ seed: 6, shown: 8 });
  const answer = await last(id);
  expect(answer.kind === "result" && answer.result.tables![0]!.rows).toEqual([[STEPS, 8]]);
  expect(of(id)).toHaveLength(1);
  expect(steps).toBe(STEPS);
});
