/** The playground, tested in Chromium and Firefox. Screenshots: build/screenshots. */
import type { Browser, Page } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ended, inspect, servePage, textOf, WIDE } from "../support/labPage.ts";
import { BROWSERS, launch, type Served, watchErrors } from "../support/pages.ts";

let site: Served;
beforeAll(async () => void (site = await servePage("playground")), 120_000);
afterAll(() => site?.close());

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
});
