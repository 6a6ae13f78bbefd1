/** The lab's page as people meet it: built, served as files, and driven in Chromium and Firefox. Screenshots: build/screenshots. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import type { Browser, Page } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { experiments } from "../../lab/experiments/index.ts";
import { BROWSERS, launch, type Served, serve, watchErrors } from "../support/pages.ts";

const SHOTS = "build/screenshots";
const axe = readFileSync("node_modules/axe-core/axe.min.js", "utf8");
const WIDE = { width: 1200, height: 900 };
const PHONE = { width: 320, height: 640 };
let site: Served;

beforeAll(async () => {
  mkdirSync(SHOTS, { recursive: true });
  execFileSync("npx", ["vite", "build", "--config", "lab/page/vite.config.mjs", "--logLevel", "warn"], {
    stdio: "inherit",
  });
  site = await serve("dist/lab-page");
}, 120_000);
afterAll(() => site?.close());

/** Waits for the end of the run that the page shows, and says whether it failed. */
const ended = (page: Page): Promise<unknown> =>
  page.waitForSelector('.status[data-state="done"], .status[data-state="failed"]', { timeout: 90_000 });

const textOf = (page: Page, selector: string): Promise<string> =>
  page.$$eval(selector, (all) => all.map((element) => element.textContent).join("\n"));

/** All that a run's result looks like. */
const looks = (page: Page): Promise<string> => page.$eval(".results", (results) => results.innerHTML);

/** Turns the first parameter as a reader does by keyboard or menu: to its least value, or, where it is there, to its largest. */
const turnFirst = (page: Page): Promise<void> =>
  page.evaluate(() => {
    const field = document.querySelector<HTMLInputElement | HTMLSelectElement>(".controls input, .controls select")!;
    const before = field.value;
    if (field instanceof HTMLSelectElement) field.selectedIndex = field.selectedIndex ? 0 : 1;
    else field.value = Number(field.value) > Number(field.min) ? field.min : field.max;
    if (field.value === before) throw new Error("the first parameter cannot be turned");
    field.dispatchEvent(new Event(field instanceof HTMLSelectElement ? "change" : "input", { bubbles: true }));
  });

/** What axe-core finds wrong, a line each. It is loaded once: the page stays while its hash changes. */
async function violations(page: Page): Promise<string[]> {
  if (!(await page.evaluate("!!window.axe"))) await page.evaluate(axe);
  return (await page.evaluate(`axe.run().then(({ violations }) =>
    violations.flatMap(({ id, nodes }) => nodes.map(({ target }) => id + ": " + target)))`)) as string[];
}

const setTheme = (page: Page, value: "light" | "dark"): Promise<void> =>
  page.emulateMediaFeatures([{ name: "prefers-color-scheme", value }]);

const overflows = (page: Page): Promise<boolean> =>
  page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);

/** In both themes axe-core finds nothing, and on a phone nothing is wider than the screen. Takes a picture of each. */
async function inspect(page: Page, file: string): Promise<void> {
  for (const theme of ["light", "dark"] as const) {
    await setTheme(page, theme);
    expect(await violations(page), theme).toEqual([]);
    await page.screenshot({ path: `${SHOTS}/${file}-${theme}.png`, fullPage: true });
  }
  await setTheme(page, "light");
  await page.setViewport(PHONE);
  expect(await overflows(page)).toBe(false);
  await page.screenshot({ path: `${SHOTS}/${file}-phone.png`, fullPage: true });
  await page.setViewport(WIDE);
}

/** Draws lines on the pad, in fractions of its side, by the mouse. */
async function draw(page: Page, strokes: readonly (readonly (readonly [number, number])[])[]): Promise<void> {
  const box = (await (await page.$(".pad"))!.boundingBox())!;
  const place = ([x, y]: readonly [number, number]): [number, number] => [
    box.x + x * box.width,
    box.y + y * box.height,
  ];
  for (const [start, ...rest] of strokes) {
    await page.mouse.move(...place(start!));
    await page.mouse.down();
    for (const point of rest) await page.mouse.move(...place(point), { steps: 4 });
    await page.mouse.up();
  }
}
const circle = Array.from({ length: 17 }, (_, i): [number, number] => {
  const angle = (2 * Math.PI * i) / 16 - Math.PI / 2;
  return [0.5 + 0.2 * Math.cos(angle), 0.5 + 0.32 * Math.sin(angle)];
});
const DRAWINGS = {
  0: [circle],
  1: [
    [
      [0.52, 0.18],
      [0.48, 0.82],
    ],
  ],
  7: [
    [
      [0.26, 0.22],
      [0.72, 0.22],
      [0.46, 0.84],
    ],
  ],
} as const;

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

  test("the first page links to every experiment", async () => {
    const links = await page.$$eval("main a", (all) => all.map((a) => a.getAttribute("href")));
    expect(links).toEqual(["#playground", ...experiments.map((experiment) => `#${experiment.name}`)]);
    if (name === "chrome") await inspect(page, "home");
    expect(errors.splice(0)).toEqual([]);
  });

  test.each(experiments.map((experiment) => [experiment.name, experiment] as const))(
    "%s: runs, draws, and answers to its first parameter",
    async (_, experiment) => {
      await page.evaluate((hash) => void (location.hash = hash), experiment.name);
      await page.waitForFunction((title) => document.querySelector("h1")?.textContent === title, {}, experiment.title);
      await ended(page);
      expect(await textOf(page, '.status[data-state="failed"]')).toBe("");
      expect(await page.$$eval(".formula .katex", (all) => all.length)).toBe(1);
      expect(await page.$$eval(".katex-error", (all) => all.length)).toBe(0);
      const shapes = await page.$$eval(".plot-figure svg", (all) =>
        all.map((svg) => svg.querySelectorAll('path[d^="M"], circle, rect').length),
      );
      expect(shapes.length).toBeGreaterThan(0);
      for (const count of shapes) expect(count).toBeGreaterThan(0);
      expect(await textOf(page, ".plots")).not.toContain("No point that these axes can show");
      expect(await page.$$eval(".findings li", (all) => all.length)).toBeGreaterThan(0);
      if (name === "chrome") await inspect(page, experiment.name);
      if (Object.keys(experiment.parameters).length) {
        const before = await looks(page);
        await turnFirst(page);
        await page.waitForSelector('.status[data-state="running"]', { timeout: 5000 }).catch(() => {});
        await ended(page);
        expect(await textOf(page, '.status[data-state="failed"]')).toBe("");
        await page.waitForFunction((html) => document.querySelector(".results")!.innerHTML !== html, {}, before);
      }
      expect(errors.splice(0)).toEqual([]);
    },
  );

  test("playground: it learns 97 % of the test digits, and reads a drawn 0, 1 and 7", async () => {
    await page.evaluate(() => void (location.hash = "playground"));
    await page.waitForSelector(".training .plot-figure svg");
    await ended(page);
    const said = await textOf(page, ".status");
    expect(Number(/reads ([\d.]+) %/.exec(said)?.[1]), said).toBeGreaterThanOrEqual(97);
    expect(await page.$$eval(".training svg", (all) => all.length)).toBe(3);
    for (const [digit, strokes] of Object.entries(DRAWINGS)) {
      await page.evaluate(() =>
        [...document.querySelectorAll("button")].find(({ textContent }) => textContent === "Clear")!.click(),
      );
      expect(await textOf(page, ".answers h2")).toBe("It reads nothing yet");
      await draw(page, strokes);
      await page.waitForFunction(
        (wanted) => document.querySelector(".answers h2")!.textContent === wanted,
        { timeout: 10_000 },
        `It reads ${digit}`,
      );
    }
    expect(await page.$$eval(".seen img", (all) => all.length)).toBe(2);
    if (name === "chrome") await inspect(page, "playground");
    expect(errors.splice(0)).toEqual([]);
  });

  test("playground: an example by keyboard alone", async () => {
    await page.focus('button[data-digit="3"]');
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector(".answers h2")!.textContent === "It reads 3");
    expect(errors.splice(0)).toEqual([]);
  });

  test("the theme follows the system until the reader chooses, and the choice is remembered", async () => {
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
