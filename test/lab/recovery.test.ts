/** The page recovers if its workers fail or files arrive late, in Chromium and Firefox. */
import type { Browser, Page } from "puppeteer-core";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { alertsOf, changeParameter, ended, idOf, reach, shownIn } from "../support/figures.ts";
import { describeInBrowsers, servePage, textOf, type Visit, WIDE } from "../support/labPage.ts";
import type { Served } from "../support/pages.ts";
import { DRAWINGS, draw, openPlayground, pause, press, settled, stepOf, stepTo } from "../support/playground.ts";

let site: Served;
let browser: Browser;
/** A new page for each test, because each failure is also reported as a page error. */
let page: Page;
const visiting = {
  start: () => servePage("recovery"),
  async open(visit: Visit) {
    ({ site, browser } = visit);
  },
};

/** The ways in which all workers of the page fail, and the page's message for each. */
const FAILURES = [
  [
    "throws",
    "setTimeout(() => { throw new Error('out of memory'); })",
    /^The computation stopped: Error: out of memory/,
  ],
  ["ends", "setTimeout(() => self.close())", /^The browser ended the computation, perhaps to save memory\./],
] as const;
/** Lets the test run code in all workers of a page, which otherwise only Chromium's protocol allows. */
function openWorkers(): void {
  globalThis.Worker = class extends Worker {
    constructor(url: string | URL, options?: WorkerOptions) {
      const listen = "new BroadcastChannel('test').onmessage = ({ data }) => new Function(data)();";
      const code = `import ${JSON.stringify(new URL(url, document.baseURI).href)};\n${listen}`;
      super(URL.createObjectURL(new Blob([code], { type: "text/javascript" })), options);
    }
  };
}
const failAll = (code: string): Promise<void> =>
  page.evaluate((text) => new BroadcastChannel("test").postMessage(text), code);
const failure = async (): Promise<string> => {
  await page.waitForSelector(".pg-failure:not(:empty)");
  return textOf(page, ".pg-failure");
};
const picture = (): Promise<string> => page.$eval(".pg-pad", (canvas) => (canvas as HTMLCanvasElement).toDataURL());

describeInBrowsers(visiting, () => {
  beforeEach(async () => {
    page = await browser.newPage();
    await page.setViewport(WIDE);
  });
  afterEach(async () => {
    Object.assign(site, { missing: undefined, slow: undefined });
    await page.close();
  });

  test.each(FAILURES)(
    "if the playground's worker %s, the playground says so, keeps the drawing and the settings, and continues",
    async (_, code, says) => {
      await page.evaluateOnNewDocument(openWorkers);
      await openPlayground(page, site.address);
      await page.select("#playground-activation", "tanh");
      await draw(page, DRAWINGS[7]);
      await stepTo(page, 1);
      await settled(page);
      const drawn = await picture();
      await failAll(code);
      const text = await failure();
      expect(text).toMatch(says);
      expect(text).toContain("Your drawing and settings are kept.");
      expect(await textOf(page, ".pg-train")).toBe("Train");
      await stepTo(page, 1);
      await settled(page);
      expect(await textOf(page, ".pg-failure")).toBe("");
      expect(await picture()).toBe(drawn);
      expect(await page.$eval("#playground-activation", (menu) => (menu as HTMLSelectElement).value)).toBe("tanh");
      expect(await textOf(page, ".pg-answer h3")).toMatch(/^It reads \d$/);
      await failAll(code);
      await failure();
      await press(page, "Clear");
      await draw(page, DRAWINGS[1]);
      await page.waitForFunction(() => /^It reads \d$/.test(document.querySelector(".pg-answer h3")!.textContent!));
      expect(await stepOf(page)).toBe(0);
      expect(page.workers().length).toBeGreaterThan(0);
    },
  );

  test.each(FAILURES)("if the figures' worker %s, the next run starts another one", async (_, code) => {
    await page.evaluateOnNewDocument(openWorkers);
    await page.goto(`${site.address}#figure-ravine`);
    await reach(page, "ravine");
    const before = await shownIn(page, "ravine");
    await failAll(code);
    await pause(500); // The figure is idle, so it does not report that its worker failed.
    await changeParameter(page, "ravine");
    await page.waitForFunction(() => location.hash.includes("?"));
    await ended(page, "ravine");
    expect(await alertsOf(page, "ravine")).toBe("");
    expect(await shownIn(page, "ravine")).not.toBe(before);
    expect(await page.$$eval(`${idOf("ravine")} .canvas :is(svg, img)`, (all) => all.length)).toBeGreaterThan(0);
  });

  test("if its worker or the digits cannot be loaded, the playground says so, and the next action retries", async () => {
    site.missing = /worker[^/]*\.js$/;
    await page.goto(`${site.address}#playground`);
    expect(await failure()).toMatch(/^The computation could not start\. Check your connection\./);
    site.missing = /digits[^/]*\.gz$/;
    await press(page, "Train");
    await page.waitForFunction(() =>
      /^The digits could not be loaded/.test(document.querySelector(".pg-failure")!.textContent!),
    );
    site.missing = undefined;
    await press(page, "Restart");
    await page.waitForSelector(".pg-histograms [data-layer]");
    expect(await textOf(page, ".pg-failure")).toBe("");
    await page.waitForFunction(() => /^It reads \d$/.test(document.querySelector(".pg-answer h3")!.textContent!));
  });

  describe("while the digits load", () => {
    let load = (): void => {};
    beforeEach(async () => {
      site.slow = { paths: /digits[^/]*\.gz$/, until: new Promise<void>((resolve) => void (load = resolve)) };
      await page.goto(`${site.address}#playground`);
      await page.waitForSelector(".pg-examples button");
    });
    const choose = (digit: number): Promise<void> => page.click(`.pg-examples [data-digit="${digit}"]`);
    const read = (): Promise<unknown> =>
      page.waitForFunction(() => /^It reads \d$/.test(document.querySelector(".pg-answer h3")!.textContent!));

    test("a drawing is kept if the example that was chosen before it arrives later", async () => {
      await choose(3);
      await draw(page, DRAWINGS[1]);
      const drawn = await picture();
      load();
      await read();
      await settled(page);
      expect(await picture()).toBe(drawn);
    });

    test("a cleared pad stays empty", async () => {
      const empty = await picture();
      await choose(3);
      await press(page, "Clear");
      load();
      await page.waitForSelector(".pg-histograms [data-layer]");
      await settled(page);
      expect(await picture()).toBe(empty);
      expect(await textOf(page, ".pg-answer h3")).toBe("It reads nothing yet");
    });

    test("an example that is chosen after a drawing replaces it", async () => {
      await draw(page, DRAWINGS[1]);
      const drawn = await picture();
      await choose(3);
      load();
      await read();
      await settled(page);
      expect(await picture()).not.toBe(drawn);
    });
  });
});
