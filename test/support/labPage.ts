/** Helpers for tests of the lab's page: build it, wait for it, and check that it fits and is accessible. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import type { Page } from "puppeteer-core";
import { expect } from "vitest";
import { type Served, serve } from "./pages.ts";

export const SHOTS = "build/screenshots";
const axe = readFileSync("node_modules/axe-core/axe.min.js", "utf8");
export const WIDE = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 844 };

/** Builds the page and serves it. Test files run in parallel, so each builds into a folder of its own. */
export async function servePage(name: string): Promise<Served> {
  mkdirSync(SHOTS, { recursive: true });
  const folder = `build/lab-${name}`;
  const options = ["--outDir", `../../${folder}`, "--logLevel", "warn"]; // relative to the page's folder
  execFileSync("npx", ["vite", "build", "--config", "lab/page/vite.config.mjs", ...options], { stdio: "inherit" });
  return serve(folder);
}

export const textOf = (page: Page, selector: string): Promise<string> =>
  page.$$eval(selector, (all) => all.map((element) => element.textContent).join("\n"));

/** The violations that axe-core finds in a part of the page, one per line. It is loaded once, because the page stays when its hash changes. */
export async function violations(page: Page, part = "html"): Promise<string[]> {
  if (!(await page.evaluate("!!window.axe"))) await page.evaluate(axe);
  return (await page.evaluate(`axe.run("${part}").then(({ violations }) =>
    violations.flatMap(({ id, nodes }) => nodes.map(({ target }) => id + ": " + target)))`)) as string[];
}

const setTheme = (page: Page, value: "light" | "dark"): Promise<void> =>
  page.emulateMediaFeatures([{ name: "prefers-color-scheme", value }]);

export const overflows = (page: Page): Promise<boolean> =>
  page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);

/**
 * Checks that the page has no violations and fits the window, in both themes, on a wide screen and on a phone. Takes
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
