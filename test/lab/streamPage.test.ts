/**
 * The lab's page draws training runs in progress, pauses and resumes them, and ends with the same result as the command, in Chromium and
 * Firefox.
 */
import type { Page } from "puppeteer-core";
import { expect, test } from "vitest";
import { type Result, valuesOf } from "../../lab/experiment.ts";
import { experiments } from "../../lab/experiments/index.ts";
import type { Answer, Request } from "../../lab/page/worker.ts";
import { context } from "../support/digits.ts";
import { ended, idOf } from "../support/figures.ts";
import { describeInBrowsers, servePage, textOf } from "../support/labPage.ts";

/** A message that the page sent to its worker or received from it. */
type Message = { readonly sent?: Request; readonly got?: Answer };
declare global {
  interface Window {
    messages: Message[];
  }
}

let page: Page;
let address: string;
const visiting = {
  start: () => servePage("stream"),
  async open(visit: { readonly page: Page; readonly site: { readonly address: string } }) {
    page = visit.page;
    address = visit.site.address;
    await page.evaluateOnNewDocument(() => {
      window.messages = [];
      window.Worker = class extends Worker {
        constructor(...given: ConstructorParameters<typeof Worker>) {
          super(...given);
          this.addEventListener("message", ({ data }) => void window.messages.push({ got: data }));
        }
        override postMessage(message: Request): void {
          window.messages.push({ sent: message });
          super.postMessage(message);
        }
      };
    });
  },
};

/** Opens a figure with the given parameters in a new visit to the page, so that the list of messages starts empty. */
async function openFigure(name: string, hash: string): Promise<void> {
  await page.goto("about:blank");
  await page.goto(`${address}#figure-${name}?${hash}`);
}
const messagesOf = (name: string): Promise<Message[]> =>
  page.evaluate(
    (own) =>
      window.messages.filter(({ sent, got }) => sent?.name === own || (got && "name" in got && got.name === own)),
    name,
  );
const gotIn = (messages: readonly Message[]): Exclude<Answer, { kind: "ready" }>[] =>
  messages.flatMap(({ got }) => (got && got.kind !== "ready" ? [got] : []));
const resultIn = (messages: readonly Message[]): Result => {
  const answer = gotIn(messages).at(-1)!;
  expect(answer.kind).toBe("result");
  return (answer as Extract<Answer, { kind: "result" }>).result;
};
const isTraining = (name: string): Promise<unknown> =>
  page.waitForSelector(`${idOf(name)} .body[data-training]`, { timeout: 60_000 });
const click = (name: string, button: string): Promise<void> =>
  page.$$eval(
    `${idOf(name)} .player button`,
    (all, text) => all.find(({ textContent }) => textContent === text)!.click(),
    button,
  );
/** Pauses a training run as soon as it has started. */
async function pause(name: string): Promise<void> {
  await page.waitForFunction(
    (id) => {
      const button = document.querySelector<HTMLButtonElement>(`${id} .player button`);
      if (button?.textContent !== "Pause") return false;
      button.click();
      return true;
    },
    { timeout: 60_000 },
    idOf(name),
  );
  await paused(name);
}
const noteOf = (name: string): Promise<string> => textOf(page, `${idOf(name)} .note`);
const paused = (name: string): Promise<unknown> =>
  page.waitForFunction((id) => document.querySelector(`${id} .note`)?.textContent.startsWith("Paused"), {}, idOf(name));

describeInBrowsers(visiting, () => {
  // A small learning rate and a small norm keep rounding differences between machines small. A short sequence saves time.
  const QUIET = { lr: 0.03, norm: 0.8, length: 40 };
  const hash = "lr=0.03&norm=0.8&length=40";
  let whole: Result;

  test("clipping: drawings arrive in order without a verdict, and end with the command's result", async () => {
    await openFigure("clipping", hash);
    await isTraining("clipping");
    await ended(page, "clipping");
    const messages = await messagesOf("clipping");
    const { id } = gotIn(messages).at(-1)!;
    const fractions = gotIn(messages).flatMap((got) => (got.kind === "drawing" && got.id === id ? [got.fraction] : []));
    expect(fractions.length).toBeGreaterThan(0);
    expect(fractions).toEqual([...new Set(fractions)].sort((a, b) => a - b));
    whole = resultIn(messages);
    expect(await textOf(page, `${idOf("clipping")} .findings:not([hidden]) summary`)).toMatch(/agree with theory/);

    const experiment = experiments.find(({ name }) => name === "clipping")!;
    const command = await experiment.run(valuesOf(experiment.parameters, QUIET), context);
    expect(whole.findings.map(({ text }) => text)).toEqual(command.findings.map(({ text }) => text));
    for (const [i, { title, series }] of command.plots.entries()) {
      expect(whole.plots[i]!.title).toBe(title);
      for (const [k, { name, points }] of series.entries()) {
        const own = whole.plots[i]!.series[k]!;
        expect([own.name, own.points.length]).toEqual([name, points.length]);
        for (const [at, [x, y]] of own.points.entries()) {
          expect(x).toBe(points[at]![0]);
          expect(Math.abs(y / points[at]![1] - 1), `${title}, ${name}, step ${x}`).toBeLessThan(1e-3);
        }
      }
    }
  });

  test("clipping: a training run pauses, takes single steps, continues, and ends with the same numbers", async () => {
    await openFigure("clipping", hash);
    await pause("clipping");
    expect(await page.$(`${idOf("clipping")} .findings:not([hidden])`)).toBeNull();
    const length = async (): Promise<number> => {
      const [answer] = gotIn(await messagesOf("clipping")).slice(-1);
      expect(answer).toMatchObject({ kind: "drawing", isPaused: true });
      return (answer as Extract<Answer, { kind: "drawing" }>).drawing.plots[0]!.series[1]!.points.length;
    };
    const before = await length();
    const { length: count } = await messagesOf("clipping");
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await messagesOf("clipping")).toHaveLength(count);
    for (const taken of [1, 2]) {
      await click("clipping", "Step");
      await page.waitForFunction(
        (wanted) => window.messages.filter(({ got }) => got?.kind === "drawing" && got.isPaused).length > wanted,
        {},
        taken,
      );
      expect(await length()).toBe(before + taken);
    }
    await click("clipping", "Train");
    await page.waitForFunction(() => window.messages.at(-1)!.got?.kind === "result", { timeout: 60_000 });
    expect(resultIn(await messagesOf("clipping"))).toEqual(whole);
  });

  test("clipping: new values end a training run, whose later drawings are not shown", async () => {
    await openFigure("clipping", hash);
    await isTraining("clipping");
    await page.focus("#clipping-seed");
    await page.keyboard.press("ArrowRight");
    await ended(page, "clipping");
    const messages = await messagesOf("clipping");
    const { id } = gotIn(messages).at(-1)!;
    const sent = messages.findIndex((message) => message.sent?.kind === "run" && message.sent.id === id);
    const late = gotIn(messages.slice(sent)).filter((got) => got.id !== id);
    // The worker checks for messages every 25 ms, and some answers may already have been sent.
    expect(late.length).toBeLessThanOrEqual(3);
    expect(late.some(({ kind }) => kind === "result")).toBe(false);
    expect(resultIn(messages)).not.toEqual(whole);
  });

  test("fisher-training: a new target does not restart training, and moves the target of a paused training run", async () => {
    await openFigure("fisher-training", "steps=20&batch=100");
    await pause("fisher-training");
    const [note, drawings] = [await noteOf("fisher-training"), (await messagesOf("fisher-training")).length];
    await page.focus("#fisher-training-target");
    await page.keyboard.press("ArrowRight");
    await page.waitForFunction((count) => window.messages.length > count + 1, {}, drawings);
    await paused("fisher-training");
    expect(await noteOf("fisher-training")).toBe(note);
    await click("fisher-training", "Train");
    await page.waitForFunction(() => window.messages.at(-1)!.got?.kind === "result", { timeout: 90_000 });
    const before = await messagesOf("fisher-training");
    await page.focus("#fisher-training-target");
    await page.keyboard.press("End");
    await page.waitForFunction(
      (count) => window.messages.length > count && window.messages.at(-1)!.got?.kind === "result",
      {},
      before.length + 1,
    );
    const after = (await messagesOf("fisher-training")).slice(before.length);
    expect(gotIn(after).filter(({ kind }) => kind === "drawing")).toEqual([]);
    expect(resultIn(after).tables![0]!.title).toMatch(/ loss of 0\.5$/);
  });
});
