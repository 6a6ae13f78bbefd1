/** Helpers for tests of the lab's pages: build them, open them in browsers, and check that they fit and are accessible. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import type { Browser, Page } from "puppeteer-core";
import { afterAll, afterEach, beforeAll, describe, expect } from "vitest";
import { BROWSERS, type BrowserName, launch, type Served, serve, watchErrors } from "./pages.ts";

export const SHOTS = "build/screenshots";
const axe = readFileSync("node_modules/axe-core/axe.min.js", "utf8");
export const WIDE = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 844 };
export const SMALL = { width: 320, height: 640 };

/** What the tests of a suite use: the site, the browser, and a new page. */
export interface Visit {
  readonly site: Served;
  readonly browser: Browser;
  readonly page: Page;
}

/** Starts a site, once, and opens its page in each browser. */
export interface Visiting {
  start(): Promise<Served>;
  open(visit: Visit): Promise<void>;
}

/** Runs tests in Chromium and in Firefox, each with a wide page. A test fails if errors occur on this page during the test. */
export function describeInBrowsers({ start, open }: Visiting, tests: (name: BrowserName) => void): void {
  let site: Served;
  beforeAll(async () => {
    mkdirSync(SHOTS, { recursive: true });
    site = await start();
  }, 120_000);
  afterAll(() => site?.close());
  describe.each(BROWSERS)("%s", (name) => {
    let browser: Browser;
    let errors: string[] = [];
    beforeAll(async () => {
      browser = await launch(name);
      const page = await browser.newPage();
      errors = watchErrors(page, site.address);
      await page.setViewport(WIDE);
      await open({ site, browser, page });
    }, 60_000);
    afterAll(() => browser?.close());
    afterEach(() => expect(errors.splice(0)).toEqual([]));
    tests(name);
  });
}

/** Builds the article's page and serves it. Test files run in parallel, so each builds into a folder of its own. */
export async function servePage(name: string): Promise<Served> {
  const folder = `build/lab-${name}`;
  const options = ["--outDir", `../../${folder}`, "--logLevel", "warn"]; // --outDir is relative to lab/page
  execFileSync("npx", ["vite", "build", "--config", "lab/page/vite.config.mjs", ...options], { stdio: "inherit" });
  return serve(folder);
}

/**
 * The bytes that the article's page needs before the reader does anything, with each file compressed separately.
 * @param requested the requested paths
 */
export function firstBytes(requested: readonly string[]): number {
  const files = new Map(readdirSync("build/lab-page/assets").map((file) => [file, `build/lab-page/assets/${file}`]));
  const paths = [...new Set(requested)].map(
    (path) => files.get(path.split("/").at(-1)!) ?? "build/lab-page/index.html",
  );
  return [...new Set(paths)].reduce((sum, path) => sum + gzipSync(readFileSync(path)).length, 0);
}

export const textOf = (page: Page, selector: string): Promise<string> =>
  page.$$eval(selector, (all) => all.map((element) => element.textContent).join("\n"));

/**
 * The violations that axe-core finds in a part of the page, one per line. Loads axe-core only once per page, because changing the hash
 * does not reload the page.
 */
export async function violations(page: Page, part = "html"): Promise<string[]> {
  if (!(await page.evaluate("!!window.axe"))) await page.evaluate(axe);
  return (await page.evaluate(`axe.run("${part}").then(({ violations }) =>
    violations.flatMap(({ id, nodes }) => nodes.map(({ target }) => id + ": " + target)))`)) as string[];
}

/** Sets the theme as the page's button does, because Firefox cannot emulate the system's theme. */
export const setTheme = (page: Page, theme: "light" | "dark"): Promise<void> =>
  page.evaluate((value) => void (document.documentElement.dataset.theme = value), theme);

export const overflows = (page: Page): Promise<boolean> =>
  page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);

/**
 * Checks that the page has no accessibility violations and fits the window, in both themes, on a wide screen and on a phone. Takes
 * screenshots.
 */
export async function inspect(page: Page, file: string): Promise<void> {
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
