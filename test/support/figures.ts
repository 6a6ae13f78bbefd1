/** Helpers for tests of figures on the lab's page: scroll to a figure, wait for its result, and read what it shows. */
import type { Page } from "puppeteer-core";
import { textOf } from "./labPage.ts";

export const idOf = (name: string): string => `#figure-${name}`;

/** Scrolls to a figure and waits until it shows a result or an error. */
export async function reach(page: Page, name: string): Promise<void> {
  await page.$eval(idOf(name), (figure) => figure.scrollIntoView({ behavior: "instant" }));
  await ended(page, name);
}
export const ended = (page: Page, name: string): Promise<unknown> =>
  page.waitForFunction(
    (id) => {
      const body = document.querySelector(`${id} .body`)!;
      return !body.hasAttribute("aria-busy") || body.querySelector("[role=alert]:not(:empty)");
    },
    { timeout: 90_000 },
    idOf(name),
  );

export const alertsOf = async (page: Page, name: string): Promise<string> =>
  (await textOf(page, `${idOf(name)} [role=alert]`)).trim();

/** What a figure shows, as text, without ids that differ between drawings. */
export const shownIn = (page: Page, name: string): Promise<string> =>
  page.$eval(idOf(name), (figure) => {
    const marks = [...figure.querySelectorAll(".canvas svg, .canvas img")].map((mark) => mark.outerHTML);
    const words = [...figure.querySelectorAll(".findings summary")].map(({ textContent }) => textContent);
    return [...words, ...marks].join("\n").replaceAll(/ ?(id|clip-path)="[^"]*"/g, "");
  });

/** Uses the keyboard to change the first slider or, if there is none, the first menu. */
export async function changeParameter(page: Page, name: string): Promise<void> {
  const sliders = await page.$$(`${idOf(name)} .controls input[type=range]`);
  const selector = `${idOf(name)} .controls ${sliders.length ? "input[type=range]" : "select"}`;
  const value = (): Promise<string> => page.$eval(selector, (field) => (field as HTMLInputElement).value);
  const before = await value();
  await page.focus(selector);
  for (const key of ["Home", "ArrowRight", "ArrowDown", "ArrowUp", "End"] as const) {
    await page.keyboard.press(key);
    if ((await value()) !== before) return;
  }
  throw new Error("the first parameter does not change");
}

/** Describes what the views of a figure lack: visible marks for a series with points, or two numbers on an axis. */
export async function flaws(page: Page, name: string): Promise<string[]> {
  const found: string[] = [];
  const views = await page.$$eval(`${idOf(name)} .tabs button`, (all) => all.length);
  for (let i = 0; i < Math.max(1, views); i++) {
    if (views) await page.$$eval(`${idOf(name)} .tabs button`, (all, index) => all[index]!.click(), i);
    found.push(
      ...(await page.evaluate(async (id) => {
        // Wait two frames: a view of a different height, such as one that can be played, is redrawn when its size is known.
        for (let frames = 0; frames < 2; frames++) await new Promise((resolve) => requestAnimationFrame(resolve));
        return [...document.querySelectorAll(`${id} .canvas svg[data-drawn]`)].flatMap((svg) => {
          const frame = svg.getBoundingClientRect();
          const isSeen = (mark: Element): boolean => {
            const box = mark.getBoundingClientRect();
            const inside = box.right >= frame.left && box.left <= frame.right && box.bottom >= frame.top;
            return box.width + box.height > 0 && inside && box.top <= frame.bottom;
          };
          const undrawn = svg
            .getAttribute("data-drawn")!
            .split(" ")
            .filter((series) => series && ![...svg.querySelectorAll(`[data-series="${series}"]`)].some(isSeen));
          // Plot groups the labels of an axis in an element with this description, which drawPlot removes.
          const labels = [...svg.querySelectorAll("g[text-anchor] text, g[transform] text")].filter(({ textContent }) =>
            /^[−\d]/.test(textContent),
          );
          const title = svg.getAttribute("aria-label")!;
          return [
            ...undrawn.map((series) => `${title}: series ${series} is not visible`),
            ...(labels.length < 4 ? [`${title}: only ${labels.length} numbers on its axes`] : []),
            ...(svg.textContent.includes("These axes cannot show") ? [`${title}: no points`] : []),
          ];
        });
      }, idOf(name))),
    );
  }
  if (views) await page.$$eval(`${idOf(name)} .tabs button`, (all) => all[0]!.click());
  return found;
}

/** The tables that are wider than the space for them and the labels outside the figure's frame, in all views of a figure. */
export async function cutOff(page: Page, name: string): Promise<(string | null)[]> {
  const found: (string | null)[] = [];
  const tabs = `${idOf(name)} .tabs button`;
  const views = await page.$$eval(tabs, (all) => all.length);
  const show = (view: number): Promise<void> =>
    page.$$eval(tabs, (all, index) => (all[index] as HTMLElement).click(), view);
  for (let view = 0; view < Math.max(1, views); view++) {
    if (views) await show(view);
    const wide = await page.$$eval(`${idOf(name)} .scroll`, (all) =>
      all.filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.getAttribute("aria-label")),
    );
    // Wait until the view is redrawn, which happens when its size is known. Measure in the same script, so that no label is replaced in
    // between.
    const labels = await page.evaluate(async (id) => {
      for (let frames = 0; frames < 2; frames++) await new Promise((resolve) => requestAnimationFrame(resolve));
      const { left, right } = document.querySelector(`${id} .frame`)!.getBoundingClientRect();
      return [...document.querySelectorAll(`${id} .canvas svg text`)]
        .filter((text) => {
          const box = text.getBoundingClientRect();
          return box.left < left - 1 || box.right > right + 1;
        })
        .map(({ textContent }) => textContent);
    }, idOf(name));
    found.push(...wide, ...labels);
  }
  if (views) await show(0);
  return found;
}
