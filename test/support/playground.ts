/** Helpers for playground tests: draw, press buttons, train, and wait. */
import type { Page } from "puppeteer-core";
import { textOf } from "./labPage.ts";

/** Draws lines on the pad with the mouse. Coordinates are fractions of the pad's width and height. */
export async function draw(page: Page, strokes: readonly (readonly (readonly [number, number])[])[]): Promise<void> {
  const box = (await (await page.$(".pg-pad"))!.boundingBox())!;
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
export const DRAWINGS = {
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
/** Opens the page at the playground, and waits until the network has read the first digit. */
export async function openPlayground(page: Page, address: string): Promise<void> {
  await page.goto("about:blank");
  await page.goto(`${address}#playground`);
  await page.waitForSelector(".pg-histograms [data-layer]");
  await page.waitForFunction(() => document.querySelector(".pg-after")!.textContent !== "–");
}
/** Waits until the function returns true in the page. */
export const until = (page: Page, condition: () => boolean): Promise<unknown> =>
  page.waitForFunction(condition, { timeout: 60_000 });
export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export const press = (page: Page, text: string): Promise<void> =>
  page.$$eval(
    ".playground button",
    (all, wanted) => {
      const button = all.find(({ textContent }) => textContent === wanted);
      if (!button) throw new Error(`there is no button "${wanted}"`);
      button.click();
    },
    text,
  );
/** The number of the last mini-batch. */
export const stepOf = async (page: Page): Promise<number> =>
  Number(/step ([\d,]+)/.exec(await textOf(page, ".pg-words"))![1]!.replaceAll(",", ""));
/** Presses Step, and waits until the page shows mini-batch number `step`. */
export async function stepTo(page: Page, step: number): Promise<void> {
  await press(page, "Step");
  await page.waitForFunction(
    (text) => document.querySelector(".pg-words span")?.textContent === text,
    { timeout: 10_000 },
    `step ${step.toLocaleString("en")}`,
  );
}
/** Trains until the test accuracy reaches `accuracy` percent, and pauses. */
export async function train(page: Page, accuracy: number): Promise<void> {
  await press(page, "Train");
  await page.waitForFunction(
    (least) => Number(/test accuracy ([\d.]+)/.exec(document.querySelector(".pg-words")!.textContent!)?.[1]) >= least,
    { timeout: 90_000 },
    accuracy,
  );
  await press(page, "Pause");
  await settled(page);
}
/** Waits until pending messages have arrived and the plot, which is drawn later, is up to date. */
export async function settled(page: Page): Promise<void> {
  for (let before = ""; ; ) {
    await pause(400);
    const now = await page.$eval(".playground", (element) => element.innerHTML);
    if (now === before) return;
    before = now;
  }
}
export const setSlider = (page: Page, id: string, value: number): Promise<void> =>
  page.$eval(
    id,
    (input, to) => {
      (input as HTMLInputElement).value = String(to);
      input.dispatchEvent(new Event("input", { bubbles: true }));
    },
    value,
  );
