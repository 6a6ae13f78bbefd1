/** The lab's page: built, served as static files, and tested in Chromium and Firefox. Screenshots: build/screenshots. */
import type { Browser, Page } from "puppeteer-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { showNumber } from "../../lab/experiment.ts";
import { experiments } from "../../lab/experiments/index.ts";
import { ended, inspect, servePage, textOf, WIDE } from "../support/labPage.ts";
import { BROWSERS, launch, type Served, watchErrors } from "../support/pages.ts";

let site: Served;

beforeAll(async () => void (site = await servePage("page")), 120_000);
afterAll(() => site?.close());

/** The findings and plots of a run's result as text, without ids that differ between drawings. */
const resultsOf = (page: Page): Promise<string> =>
  page.$eval(".results", (results) => {
    const marks = [...results.querySelectorAll(".plots [data-series]")].map((mark) => mark.innerHTML);
    const pictures = [...results.querySelectorAll("img")].map(({ src }) => src);
    const words = [...results.querySelectorAll(".findings, .tables")].map(({ textContent }) => textContent);
    return [...words, ...pictures, ...marks].join("\n").replaceAll(/ ?(id|clip-path)="[^"]*"/g, "");
  });

/** Changes the first slider or, if there is none, the first menu with the keyboard. */
async function changeParameter(page: Page): Promise<void> {
  const ranges = await page.$$(".controls input[type=range]");
  const selector = ranges.length ? ".controls input[type=range]" : ".controls select";
  const value = (): Promise<string> => page.$eval(selector, (field) => (field as HTMLInputElement).value);
  const before = await value();
  await page.focus(selector);
  for (const key of ["Home", "ArrowRight", "ArrowDown", "ArrowUp", "End"] as const) {
    await page.keyboard.press(key);
    if ((await value()) !== before) return;
  }
  throw new Error("the first parameter does not change");
}

/** The series that have points, but no visible mark in their plot. */
const undrawn = (page: Page): Promise<string[]> =>
  page.$$eval(".plot-figure svg", (all) =>
    all.flatMap((svg) => {
      const frame = svg.getBoundingClientRect();
      const seen = (mark: Element): boolean => {
        const box = mark.getBoundingClientRect();
        const inside = box.right >= frame.left && box.left <= frame.right && box.bottom >= frame.top;
        return box.width + box.height > 0 && inside && box.top <= frame.bottom;
      };
      return svg
        .getAttribute("data-drawn")!
        .split(" ")
        .filter((i) => i && ![...svg.querySelectorAll(`[data-series="${i}"]`)].some(seen))
        .map((i) => `${svg.getAttribute("aria-label")}: series ${i}`);
    }),
  );

describe.each(BROWSERS)("%s", (name) => {
  let browser: Browser;
  let page: Page;
  let errors: string[];
  beforeAll(async () => {
    browser = await launch(name);
    page = await browser.newPage();
    errors = watchErrors(page, site.address);
    await page.setViewport(WIDE);
    await page.goto(site.address);
  }, 60_000);
  afterAll(() => browser?.close());

  test("the start page links to every experiment", async () => {
    const links = await page.$$eval("main a", (all) => all.map((a) => a.getAttribute("href")));
    expect(links).toEqual(["#playground", ...experiments.map((experiment) => `#${experiment.name}`)]);
    if (name === "chrome") await inspect(page, "home");
    expect(errors.splice(0)).toEqual([]);
  });

  test.each(experiments.map((experiment) => [experiment.name, experiment] as const))(
    "%s runs, draws plots, and updates if its first parameter changes",
    async (_, experiment) => {
      await page.evaluate((hash) => void (location.hash = hash), experiment.name);
      await page.waitForFunction((title) => document.querySelector("h1")?.textContent === title, {}, experiment.title);
      await ended(page);
      expect(await textOf(page, '.status[data-state="failed"]')).toBe("");
      expect(await page.$$eval(".formula .katex", (all) => all.length)).toBe(1);
      expect(await page.$$eval(".katex-error", (all) => all.length)).toBe(0);
      expect(await page.$$eval(".plot-figure svg[data-drawn]", (all) => all.length)).toBeGreaterThan(0);
      expect(await undrawn(page)).toEqual([]);
      expect(await textOf(page, ".plots")).not.toContain("These axes cannot show any of the points");
      expect(await page.$$eval(".findings li", (all) => all.length)).toBeGreaterThan(0);
      if (name === "chrome") await inspect(page, experiment.name);
      if (Object.keys(experiment.parameters).length) {
        const before = await resultsOf(page);
        await changeParameter(page);
        await ended(page);
        expect(await textOf(page, '.status[data-state="failed"]')).toBe("");
        expect(await resultsOf(page)).not.toBe(before);
        expect(await page.evaluate(() => location.hash)).toMatch(/^#[\w-]+\?\w+=/);
      }
      expect(errors.splice(0)).toEqual([]);
    },
  );

  describe("the URL", () => {
    const sliders = experiments.find(({ parameters }) =>
      Object.values(parameters).some(({ kind }) => kind === "number"),
    )!;
    const [key, parameter] = Object.entries(sliders.parameters).find(([, { kind }]) => kind === "number")!;
    const least = parameter.kind === "number" ? parameter.min : 0;
    const shown = (): Promise<string | null> =>
      page.$eval(`#${key}`, (input) => input.parentElement!.querySelector(".value")!.textContent);
    const asks = async (hash: string): Promise<void> => {
      await page.goto("about:blank");
      await page.goto(`${site.address}#${hash}`);
    };

    test("contains changed parameters in a link, after a reload, and after going back", async () => {
      await asks(`${sliders.name}?${key}=${least}`);
      await ended(page);
      expect(await shown()).toBe(showNumber(least));
      await page.reload();
      await ended(page);
      expect(await shown()).toBe(showNumber(least));
      await page.evaluate(() => void (location.hash = "home"));
      await page.waitForSelector(".home-view");
      await page.goBack();
      await ended(page);
      expect(await shown()).toBe(showNumber(least));
      await page.click('.controls [type="reset"]');
      await ended(page);
      expect(await page.evaluate(() => location.hash)).toBe(`#${sliders.name}`);
      expect(errors.splice(0)).toEqual([]);
    });

    test("with an invalid value leads to an error message", async () => {
      await asks(`${sliders.name}?${key}=much`);
      await ended(page);
      expect(await textOf(page, ".alert")).toMatch(new RegExp(`${key} must be a .*, got "much"`));
      expect(errors.splice(0)).toEqual([]);
    });

    test.each(["main", "%E0%A4%A", "no-such"])("#%s shows the start page", async (hash) => {
      await asks(hash);
      await page.waitForSelector(".home-view");
      expect(await textOf(page, ".alert")).toBe(hash === "main" ? "" : `There is no experiment “${hash}”.`);
      expect(errors.splice(0)).toEqual([]);
    });
  });

  describe("files that cannot be loaded", () => {
    let other: Page;
    const failure = async (hash: string): Promise<string> => {
      await other.goto(`${site.address}#${hash}`);
      await other.waitForSelector('.status[data-state="failed"]');
      return textOf(other, '.status [role="alert"]');
    };
    beforeAll(async () => void (other = await browser.newPage()));
    afterAll(() => other.close()); // a page in the background does not draw
    afterEach(() => void (site.missing = undefined));

    test("for missing digits, the page shows an error, and a retry succeeds", async () => {
      site.missing = /digits[^/]*\.gz$/;
      expect(await failure("saliency")).toMatch(/The digits could not be loaded: 404/);
      expect(await other.$eval(".results", (results) => results.getAttribute("aria-busy"))).toBe("true");
      site.missing = undefined;
      await other.click(".status button");
      await other.waitForSelector('.status[data-state="done"]', { timeout: 90_000 });
      expect(await other.$$eval(".results[aria-busy]", (all) => all.length)).toBe(0);
    });

    test("for a missing worker, the page shows an error", async () => {
      site.missing = /worker[^/]*\.js$/;
      expect(await failure("ravine")).toBe("The run failed: The worker could not start.");
    });
  });

  test("a run can be stopped and started again", async () => {
    await page.evaluate(() => void (location.hash = "saliency"));
    await page.waitForSelector('.status[data-state="running"]');
    await page.$eval(".status button", (button) => button.click());
    expect(await textOf(page, '.status[data-state="done"] [role="status"]')).toBe("Stopped");
    expect(await page.$eval(".results", (results) => results.getAttribute("aria-busy"))).toBe("true");
    await page.click(".status button");
    await ended(page);
    expect(await page.$$eval(".results[aria-busy]", (all) => all.length)).toBe(0);
    expect(errors.splice(0)).toEqual([]);
  });

  test("the theme follows the system until the user chooses one, which is remembered", async () => {
    const paper = (): Promise<string> => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await paper();
    await page.click("#theme");
    expect(await paper()).not.toBe(light);
    await page.reload();
    expect(await paper()).not.toBe(light);
    await page.click("#theme");
    expect(await paper()).toBe(light);
    await page.evaluate(() => localStorage.clear());
  });
});
