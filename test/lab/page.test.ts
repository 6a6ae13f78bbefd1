/** The lab's page: built, served as static files, and tested in Chromium and Firefox. Screenshots: build/screenshots. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import type { Browser, Page } from "puppeteer-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { showNumber } from "../../lab/experiment.ts";
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

/** Waits until the run that the page shows has ended. */
const ended = (page: Page): Promise<unknown> =>
  page.waitForSelector('.status[data-state="done"], .status[data-state="failed"]', { timeout: 90_000 });

const textOf = (page: Page, selector: string): Promise<string> =>
  page.$$eval(selector, (all) => all.map((element) => element.textContent).join("\n"));

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

/** The violations that axe-core finds, one per line. It is loaded once, because the page stays when its hash changes. */
async function violations(page: Page): Promise<string[]> {
  if (!(await page.evaluate("!!window.axe"))) await page.evaluate(axe);
  return (await page.evaluate(`axe.run().then(({ violations }) =>
    violations.flatMap(({ id, nodes }) => nodes.map(({ target }) => id + ": " + target)))`)) as string[];
}

const setTheme = (page: Page, value: "light" | "dark"): Promise<void> =>
  page.emulateMediaFeatures([{ name: "prefers-color-scheme", value }]);

const overflows = (page: Page): Promise<boolean> =>
  page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);

/**
 * Checks that the page has no violations and fits the window, in both themes, on a wide screen and on a phone. Takes
 * screenshots.
 */
async function inspect(page: Page, file: string): Promise<void> {
  for (const [size, viewport] of Object.entries({ wide: WIDE, phone: PHONE })) {
    await page.setViewport(viewport);
    for (const theme of ["light", "dark"] as const) {
      await setTheme(page, theme);
      expect(await violations(page), `${size}, ${theme}`).toEqual([]);
      expect(await overflows(page), size).toBe(false);
      await page.screenshot({ path: `${SHOTS}/${file}-${size}-${theme}.png`, fullPage: true });
    }
  }
  await setTheme(page, "light");
  await page.setViewport(WIDE);
}

/** Draws lines on the pad with the mouse. Coordinates are fractions of its side. */
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

  test("the playground learns to read 97% of the test digits, and recognizes a drawn 0, 1 and 7", async () => {
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

  test("the playground's examples work with the keyboard", async () => {
    await page.focus('button[data-digit="3"]');
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector(".answers h2")!.textContent === "It reads 3");
    expect(errors.splice(0)).toEqual([]);
  });

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
