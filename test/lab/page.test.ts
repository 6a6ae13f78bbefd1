/** The lab's page: built, served as static files, and tested in Chromium and Firefox. Screenshots: build/screenshots. */
import { readFileSync } from "node:fs";
import type { Browser, Page } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { showNumber, valuesOf } from "../../lab/experiment.ts";
import { experiments } from "../../lab/experiments/index.ts";
import { exercises } from "../../lab/practice/index.ts";
import { typeset } from "../../lab/scale.ts";
import { context } from "../support/digits.ts";
import { alertsOf, changeParameter, cutOff, ended, flaws, idOf, reach, shownIn } from "../support/figures.ts";
import {
  describeInBrowsers,
  firstBytes,
  inspect,
  overflows,
  PHONE,
  servePage,
  textOf,
  type Visit,
  WIDE,
} from "../support/labPage.ts";
import type { Served } from "../support/pages.ts";

let site: Served;
let browser: Browser;
let page: Page;
const visiting = {
  start: () => servePage("page"),
  async open(visit: Visit) {
    ({ site, browser, page } = visit);
    site.asked.length = 0;
    await page.goto(site.address, { waitUntil: "networkidle0" });
  },
};

let found: Promise<string[]> | undefined;
/** The experiments whose plots have handles. Skips experiments that train for seconds, because their plots have no handles. */
const namesWithHandles = (): Promise<string[]> => {
  found ??= Promise.all(
    experiments
      .filter(({ long }) => !long)
      .map(async ({ name, parameters, run }) => {
        const { plots } = await run(valuesOf(parameters), context);
        return plots.some(({ handles }) => handles?.length) ? [name] : [];
      }),
  ).then((names) => names.flat());
  return found;
};

describeInBrowsers(visiting, (name) => {
  test("before the first interaction, the page loads at most 120 KB", () => {
    expect(firstBytes(site.asked)).toBeLessThan(120_000);
    expect(site.asked.join()).not.toMatch(/worker|digits|figure/);
  });

  test("the first screen shows the race of optimizers, which needs no script", async () => {
    const html = readFileSync("build/lab-page/index.html", "utf8");
    expect(html.indexOf('<figure class="teaser">')).toBeLessThan(html.indexOf('<p id="introduction"'));
    for (const size of [PHONE, WIDE]) {
      await page.setViewport(size);
      const shown = await page.$$eval(".teaser svg", (all) =>
        all
          .map((svg) => svg.getBoundingClientRect())
          .filter(({ width }) => width)
          .map(({ right, bottom }) => [right, bottom]),
      );
      expect(shown.length).toBe(1);
      expect(shown[0]![0]).toBeLessThan(size.width);
      expect(shown[0]![1]).toBeLessThan(0.75 * size.height);
    }
  });

  test("the article has a figure for every experiment, and a table of contents that links to every heading", async () => {
    const figures = await page.$$eval("[data-experiment]", (all) =>
      all.map((one) => (one as HTMLElement).dataset.experiment),
    );
    expect([...figures].sort()).toEqual(experiments.map((experiment) => experiment.name).sort());
    const links = await page.$$eval("#contents a", (all) => all.map((a) => a.getAttribute("href")!.slice(1)));
    const headings = await page.$$eval("main h2, main h3, main h4", (all) => all.map(({ id }) => id));
    expect(links).toEqual(headings);
    const ids = await page.$$eval("[id]", (all) => all.map(({ id }) => id));
    expect(ids.length).toBe(new Set(ids).size);
    // Links to exercises have no target yet, because the list of exercises loads later.
    const elsewhere = await page.$$eval("main a[href^='#']", (all) =>
      all.map((a) => a.getAttribute("href")!.slice(1)).filter((id) => !document.getElementById(id)),
    );
    expect(elsewhere.sort()).toEqual(exercises.map((exercise) => `practice-${exercise.name}`).sort());
  });

  test.each(experiments.map((experiment) => [experiment.name, experiment] as const))(
    "%s: runs, draws, fits on a screen, and updates if its first parameter changes",
    async (_, experiment) => {
      await reach(page, experiment.name);
      const id = idOf(experiment.name);
      expect(await alertsOf(page, experiment.name)).toBe("");
      await page.click(`${id} .findings summary`);
      await page.waitForSelector(`${id} .findings li`);
      const says = await textOf(page, `${id} .findings summary`);
      const count = await page.$$eval(`${id} .findings li`, (all) => all.length);
      expect(says).toBe(`✓ ${count} of ${count} checks agree with theory`);
      await page.click(`${id} .findings summary`);
      expect(await flaws(page, experiment.name)).toEqual([]);
      for (const size of [WIDE, PHONE]) {
        await page.setViewport(size);
        const [height, bar] = await page.$eval(id, (figure) => [
          figure.scrollHeight,
          document.querySelector<HTMLElement>(".top")!.offsetHeight,
        ]);
        expect(height! + bar!, `${size.width} × ${size.height}`).toBeLessThanOrEqual(size.height);
        const outside = await page.$$eval(`${id} *`, (all) => {
          const frame = all[0]!.closest("figure")!.getBoundingClientRect();
          return all
            .filter(
              (one) => !one.closest("svg, .findings, .frame") && one.getBoundingClientRect().bottom > frame.bottom + 1,
            )
            .map((one) => `${one.tagName} ${one.className}`);
        });
        expect(outside, `${size.width} × ${size.height}`).toEqual([]);
      }
      await page.setViewport(WIDE);
      if (Object.keys(experiment.parameters).length) {
        await reach(page, experiment.name);
        const before = await shownIn(page, experiment.name);
        await changeParameter(page, experiment.name);
        await page.waitForFunction(() => /^#figure-[\w-]+\?\w+=/.test(location.hash));
        await ended(page, experiment.name);
        expect(await alertsOf(page, experiment.name)).toBe("");
        expect(await shownIn(page, experiment.name)).not.toBe(before);
      }
    },
  );

  test("every handle sets its parameters when it is dragged or moved with the arrow keys, and ends on its point", {
    timeout: 300_000,
  }, async () => {
    const dragged = new Set<string>();
    for (const experiment of await namesWithHandles()) {
      const id = idOf(experiment);
      await reach(page, experiment);
      const views = await page.$$eval(`${id} .tabs button`, (all) => all.length);
      const values = (): Promise<string> =>
        page.$$eval(`${id} .controls input`, (all) => all.map(({ value }) => value).join());
      for (let view = 0; view < Math.max(1, views); view++) {
        if (views) await page.$$eval(`${id} .tabs button`, (all, index) => all[index]!.click(), view);
        for (const handle of await page.$$(`${id} .handle`)) {
          dragged.add(experiment);
          await page.click(`${id} [type=reset]`);
          await ended(page, experiment);
          const before = await values();
          const middle = async (): Promise<[number, number]> => {
            const box = (await handle.boundingBox())!;
            return [box.x + box.width / 2, box.y + box.height / 2];
          };
          const [x, y] = await middle();
          await page.mouse.move(x, y);
          await page.mouse.down();
          await page.mouse.move(x - 30, y + 20, { steps: 6 });
          await page.mouse.move(x - 20, y - 30, { steps: 6 });
          await ended(page, experiment);
          await page.mouse.up();
          expect(await values(), experiment).not.toBe(before);
          const atRest = await values();
          // After the drag, the handle must be on its point even if the pointer was released elsewhere, so a redraw must not move it.
          const left = await handle.evaluate((button) => (button as HTMLElement).style.translate);
          await page.setViewport({ ...WIDE, width: WIDE.width - 2 });
          await page.setViewport(WIDE);
          await page.waitForFunction(
            (button, was) => (button as HTMLElement).style.translate === was,
            {},
            handle,
            left,
          );
          await handle.focus();
          for (const key of ["ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown"] as const) {
            await page.keyboard.press(key);
            await ended(page, experiment);
          }
          expect(await values(), experiment).not.toBe(atRest);
        }
      }
      if (views) await page.$$eval(`${id} .tabs button`, (all) => all[0]!.click());
      expect(await alertsOf(page, experiment)).toBe("");
    }
    expect(dragged).toEqual(new Set(await namesWithHandles()));
    expect(dragged.size).toBeGreaterThan(5);
  });

  test("a figure plays, pauses and steps", async () => {
    const id = idOf("backpropagation");
    await reach(page, "backpropagation");
    const hidden = (): Promise<number> =>
      page.$$eval(
        `${id} [data-order]`,
        (all) => all.filter((one) => getComputedStyle(one).visibility === "hidden").length,
      );
    expect(await hidden()).toBe(0);
    await page.click(`${id} .player button:first-child`);
    await page.waitForFunction(
      (slider) => Number(document.querySelector<HTMLInputElement>(slider)!.value) > 2,
      {},
      `${id} .player input`,
    );
    await page.click(`${id} .player button:first-child`);
    const paused = await hidden();
    expect(paused).toBeGreaterThan(0);
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(await hidden()).toBe(paused);
    await page.click(`${id} .player button:nth-child(2)`);
    await page.click(`${id} .player button:nth-child(2)`);
    expect(await hidden()).toBeLessThan(paused);
  });

  test("a slider that changes nothing in a view is disabled there, and says so", async () => {
    const id = idOf("landscape");
    await reach(page, "landscape");
    const disabled = (): Promise<string[]> =>
      page.$$eval(`${id} .controls input:disabled`, (all) => all.map((input) => (input as HTMLInputElement).name));
    expect(await disabled()).toEqual(["a", "b"]);
    const word = await page.$eval(`${id} .idle label`, (label) => getComputedStyle(label, "::after").content);
    expect(word).toContain("no effect here");
    await page.$$eval(`${id} .tabs button`, (all) => all[1]!.click());
    expect(await disabled()).toEqual([]);
    await page.$$eval(`${id} .tabs button`, (all) => all[0]!.click());
    expect(await disabled()).toEqual(["a", "b"]);
  });

  test("no tab's title is cut off on a phone", async () => {
    await page.setViewport(PHONE);
    for (const name of ["landscape", "logistic-pull"]) {
      await reach(page, name);
      const cut = await page.$$eval(`${idOf(name)} .tabs button`, (all) =>
        all
          .filter((tab) => tab.scrollWidth > tab.clientWidth + 1 || tab.getBoundingClientRect().right > innerWidth)
          .map(({ textContent }) => textContent),
      );
      expect(cut).toEqual([]);
    }
    await page.setViewport(WIDE);
  });

  test("no table or label in a figure is cut off on a phone", async () => {
    await page.setViewport(PHONE);
    for (const { name } of experiments) {
      await reach(page, name);
      expect(await cutOff(page, name), name).toEqual([]);
    }
    await page.setViewport(WIDE);
  });

  test("hovering over a symbol explains it, and the same symbol can have different meanings in different sections", async () => {
    const meaning = async (selector: string, symbol: string): Promise<string> => {
      const handle = await page.evaluateHandle(
        (place, wanted) =>
          [...document.querySelectorAll(`${place} mi`)].find(
            ({ textContent }) => textContent.normalize("NFKC") === wanted,
          ),
        selector,
        symbol,
      );
      const element = handle.asElement() as import("puppeteer-core").ElementHandle<Element>;
      await element.evaluate((one) => one.scrollIntoView({ block: "center", behavior: "instant" }));
      await element.hover();
      await page.waitForSelector("#meaning:not([hidden])");
      return textOf(page, "#meaning");
    };
    expect(await meaning("#partial-derivative", "θ")).toBe("θ the parameters of the model, a vector");
    expect(await meaning("#limit-on-a-computer", "h")).toBe("h a small step");
    expect(await meaning("#exploding-gradients", "h")).toBe("h the hidden state of the recurrent network");
    await page.keyboard.press("Escape");
    expect(await page.$("#meaning:not([hidden])")).toBeNull();
  });

  test("nothing overflows on a phone", async () => {
    await page.setViewport(PHONE);
    await page.evaluate(() => scrollTo(0, 0));
    expect(await overflows(page)).toBe(false);
    const wide = await page.$$eval(".formula math", (all) =>
      all.filter((math) => math.getBoundingClientRect().right > innerWidth).map((math) => math.textContent),
    );
    expect(wide).toEqual([]);
    await page.setViewport(WIDE);
  });

  if (name === "chrome")
    test("with all figures loaded, axe finds no violations and nothing overflows", { timeout: 300_000 }, () =>
      inspect(page, "page"),
    );

  describe("the URL", () => {
    const sliders = experiments.find(({ parameters }) =>
      Object.values(parameters).some(({ kind }) => kind === "number"),
    )!;
    const [key, parameter] = Object.entries(sliders.parameters).find(([, { kind }]) => kind === "number")!;
    const least = parameter.kind === "number" ? parameter.min : 0;
    const shown = (): Promise<string | null> =>
      page.$eval(`#${sliders.name}-${key}`, (input) => input.parentElement!.querySelector(".value")!.textContent);
    const asks = async (hash: string): Promise<void> => {
      await page.goto("about:blank");
      await page.goto(`${site.address}#${hash}`);
    };

    test("contains changed parameters in a link and after a reload, and loses them after a reset", async () => {
      await asks(`figure-${sliders.name}?${key}=${least}`);
      await page.waitForSelector(`${idOf(sliders.name)} .controls`);
      await ended(page, sliders.name);
      expect(await shown()).toBe(typeset(showNumber(least)));
      await page.reload();
      await page.waitForSelector(`${idOf(sliders.name)} .controls`);
      expect(await shown()).toBe(typeset(showNumber(least)));
      await page.click(`${idOf(sliders.name)} .controls [type="reset"]`);
      await page.waitForFunction((hash) => location.hash === hash, {}, idOf(sliders.name));
    });

    test("with an invalid value leads to an error message", async () => {
      await asks(`figure-${sliders.name}?${key}=much`);
      await page.waitForSelector(`${idOf(sliders.name)} [role=alert]:not(:empty)`);
      expect(await alertsOf(page, sliders.name)).toMatch(new RegExp(`${key} must be a .*, got "much"`));
    });

    test("leads to a paragraph, to an experiment by its name, and to a message for anything else", async () => {
      const top = (selector: string): Promise<number> =>
        page.$eval(selector, (element) => element.getBoundingClientRect().top);
      await asks("slow-saddles");
      expect(Math.abs((await top("#slow-saddles")) - 64)).toBeLessThan(20);
      await asks("gradient-flow");
      expect(Math.abs((await top("#gradient-flow")) - 64)).toBeLessThan(20);
      const [rate] = Object.keys(experiments.find((one) => one.name === "gradient-flow")!.parameters);
      await asks(`gradient-flow?${rate}=1`);
      expect(Math.abs((await top("#figure-gradient-flow")) - 64)).toBeLessThan(20);
      await asks("practice-write-gradcheck");
      await page.waitForFunction(() => document.querySelector(".practice h3")?.textContent === "Write gradcheck");
      await asks("ravine");
      expect(await top("#figure-ravine")).toBeLessThan(100);
      for (const hash of ["%E0%A4%A", "no-such"]) {
        await asks(hash);
        expect(await textOf(page, "#missing")).toBe(`This page has no part “${hash}”.`);
      }
    });

    test("without a hash offers to continue where the reader stopped", async () => {
      await asks("slow-saddles");
      await page.evaluate(() => scrollBy({ top: 300, behavior: "instant" }));
      await page.waitForFunction(() => localStorage.getItem("nabla-lab-position") === "slow-saddles");
      await asks("");
      expect(await textOf(page, "#resume")).toBe("Continue with “The Geometry of Non-Convex Landscapes”");
      await page.click("#resume");
      await page.waitForFunction(() => location.hash === "#slow-saddles");
      await page.evaluate(() => localStorage.clear());
    });
  });

  describe("files that cannot be loaded", () => {
    let other: Page;
    beforeAll(async () => {
      other = await browser.newPage();
      await other.setViewport(WIDE);
    });
    afterAll(() => other.close()); // the suite's page does not draw while it is in the background
    const failure = async (experiment: string, missing: RegExp): Promise<string> => {
      site.missing = missing;
      await other.goto("about:blank");
      await other.goto(`${site.address}#figure-${experiment}`);
      await other.waitForSelector(`${idOf(experiment)} [role=alert]:not(:empty)`, { timeout: 60_000 });
      const text = await alertsOf(other, experiment);
      site.missing = undefined;
      await other.$$eval(`${idOf(experiment)} button`, (all) =>
        all.find(({ textContent }) => textContent === "Try again")!.click(),
      );
      await other.waitForSelector(`${idOf(experiment)} .canvas :is(svg, img)`, { timeout: 90_000 });
      return text;
    };

    test("if the digits are missing, the figure shows an error, and a retry succeeds", async () => {
      expect(await failure("saliency", /digits[^/]*\.gz$/)).toMatch(/The digits could not be loaded: 404/);
    });

    test("if the worker is missing, the figure shows an error, and a retry succeeds", async () => {
      expect(await failure("ravine", /worker[^/]*\.js$/)).toMatch(/The computation could not start/);
    });
  });

  test("the theme follows the system until the user chooses one, which is remembered", async () => {
    const paper = (): Promise<string> => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await paper();
    if (name === "chrome") {
      await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "dark" }]);
      expect(await paper()).not.toBe(light);
      await page.emulateMediaFeatures([]);
    }
    await page.click("#theme");
    expect(await paper()).not.toBe(light);
    await page.reload();
    expect(await paper()).not.toBe(light);
    await page.click("#theme");
    expect(await paper()).toBe(light);
    await page.evaluate(() => localStorage.clear());
  });
});
