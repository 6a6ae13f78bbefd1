/** The playground, tested in Chromium and Firefox. Screenshots: build/screenshots. */
import type { Page } from "puppeteer-core";
import { expect, test } from "vitest";
import {
  describeInBrowsers,
  PHONE,
  SHOTS,
  SMALL,
  servePage,
  setTheme,
  textOf,
  type Visit,
  violations,
  WIDE,
} from "../support/labPage.ts";
import type { Served } from "../support/pages.ts";
import {
  DRAWINGS,
  draw,
  openPlayground,
  pause,
  press,
  setSlider,
  settled,
  stepOf,
  stepTo,
  train,
  until,
} from "../support/playground.ts";

/** The height of the page's bar, including the space below it. */
const BAR = 64;
let site: Served;
let page: Page;
const visiting = {
  start: () => servePage("playground"),
  async open(visit: Visit) {
    ({ site, page } = visit);
    await openPlayground(page, site.address);
  },
};

const layersOf = (page: Page): Promise<{ name: string; rms: number }[]> =>
  page.$$eval(".pg-histograms [data-layer]", (all) =>
    all.map((row) => ({ name: row.getAttribute("data-layer")!, rms: Number(row.getAttribute("data-rms")) })),
  );
const diagnosisOf = (page: Page): Promise<{ kind: string; factor: number; text: string }> =>
  page.$eval(".pg-diagnosis", (element) => ({
    kind: element.getAttribute("data-kind")!,
    factor: Number(element.getAttribute("data-factor")),
    text: element.textContent!,
  }));
/** Everything on the page that training changes. */
const trained = (page: Page): Promise<string> =>
  page.$eval(".pg-network", (network) => network.innerHTML.replaceAll(/ ?(id|clip-path)="[^"]*"/g, ""));
/** The parts of the playground that are outside the window. */
const overflowing = (page: Page): Promise<string[]> =>
  page.$$eval(".playground *", (all) =>
    all
      .filter((part) => part.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
      .map((part) => part.outerHTML.slice(0, 80)),
  );
/** How many pixels of a canvas are clearly blue, and how many clearly orange. */
const colours = (page: Page, selector: string): Promise<{ blue: number; orange: number }> =>
  page.$eval(`${selector} canvas`, (canvas) => {
    const { data } = (canvas as HTMLCanvasElement).getContext("2d")!.getImageData(0, 0, 28, 28);
    let [blue, orange] = [0, 0];
    for (let i = 0; i < data.length; i += 4) {
      if (data[i + 2]! - data[i]! > 30) blue++;
      if (data[i]! - data[i + 2]! > 30) orange++;
    }
    return { blue, orange };
  });
const attack = (page: Page): Promise<{ before: number; after: number; most: number }> =>
  page.$eval(".pg-verdict", (element) => {
    const [before, after, most] = ["before", "after", "most"].map((key) => Number(element.getAttribute(`data-${key}`)));
    return { before: before!, after: after!, most: most! };
  });

describeInBrowsers(visiting, (name) => {
  test("the playground starts with an untrained network, one histogram per layer, and a digit that the network reads", async () => {
    expect(await stepOf(page)).toBe(0);
    expect((await layersOf(page)).map((layer) => layer.name)).toEqual(["layer 1", "layer 2", "layer 3", "output"]);
    const ticks = await page.$$eval(".pg-histograms > text", (all) => all.map(({ textContent }) => textContent));
    expect(ticks.filter((tick) => /^10[⁻⁰-⁹]+$|^1$|^0\.01$/.test(tick!)).length).toBeGreaterThanOrEqual(3);
    expect(await textOf(page, ".pg-answer h3")).toMatch(/^It reads \d$/);
    expect(await page.$$eval(".pg-probabilities li", (all) => all.length)).toBe(10);
  });

  test("Step trains on exactly one mini-batch", async () => {
    for (const step of [1, 2, 3]) {
      await stepTo(page, step);
      await settled(page);
      expect(await stepOf(page)).toBe(step);
    }
    expect((await diagnosisOf(page)).text).toMatch(/A step changes the weights of layer 1 by .+ %/);
  });

  test("the network learns to read 93 % of the test digits, and pausing stops the training", async () => {
    await train(page, 93);
    const [step, before] = [await stepOf(page), await trained(page)];
    await pause(700);
    expect(await trained(page)).toBe(before);
    expect(await textOf(page, ".pg-train")).toBe("Train");
    expect(
      await page.$$eval(
        ".pg-curves svg [data-series]",
        (all) => new Set(all.map((mark) => mark.getAttribute("data-series"))).size,
      ),
    ).toBe(3);
    const ticks = await page.$$eval(".pg-curves svg text", (all) => all.map(({ textContent }) => textContent));
    expect(ticks.filter((tick) => ["0.1", "1"].includes(tick!))).toEqual(["0.1", "1"]);
    await stepTo(page, step + 1);
    expect(await stepOf(page)).toBe(step + 1);
  });

  test("the network reads a drawn 0, 1 and 7, and a stroke replaces an example", async () => {
    for (const [digit, strokes] of Object.entries(DRAWINGS)) {
      await draw(page, strokes);
      await page.waitForFunction(
        (wanted) => document.querySelector(".pg-answer h3")!.textContent === wanted,
        { timeout: 10_000 },
        `It reads ${digit}`,
      );
      await press(page, "Clear");
      expect(await textOf(page, ".pg-answer h3")).toBe("It reads nothing yet");
      expect(await textOf(page, ".pg-before")).toBe("–");
    }
  });

  test("a test digit can be chosen with the keyboard", async () => {
    await page.focus('button[data-digit="3"]');
    await page.keyboard.press("Enter");
    await until(page, () => document.querySelector(".pg-answer h3")!.textContent === "It reads 3");
  });

  test("saliency is signed, and every method shows a different picture", async () => {
    const seen = new Set<string>();
    for (const method of ["gradient × input", "integrated gradients", "SmoothGrad"]) {
      await page.select("#playground-method", method);
      await settled(page);
      const { blue, orange } = await colours(page, ".pg-why");
      expect(blue, method).toBeGreaterThan(3);
      expect(orange, method).toBeGreaterThan(3);
      seen.add(await page.$eval(".pg-why canvas", (canvas) => (canvas as HTMLCanvasElement).toDataURL()));
    }
    await page.select("#playground-target", "8");
    await settled(page);
    expect(await textOf(page, ".pg-why figcaption")).toBe("score of 8");
    seen.add(await page.$eval(".pg-why canvas", (canvas) => (canvas as HTMLCanvasElement).toDataURL()));
    expect(seen.size).toBe(4);
    await page.select("#playground-target", "the answer");
  });

  test.each(["FGSM", "PGD"])("%s lowers the probability of the answer, and ε = 0 changes nothing", async (kind) => {
    await page.select("#playground-attack", kind);
    await setSlider(page, "#playground-epsilon", 20);
    await settled(page);
    const strong = await attack(page);
    expect(strong.most).toBeCloseTo(0.2, 5);
    expect(strong.after).toBeLessThan(strong.before - 0.1);
    expect(await textOf(page, ".pg-verdict")).toMatch(/^P\(3\) falls to [\d.]+ %\.$/);
    expect((await colours(page, ".pg-pictures figure:nth-child(2)")).blue).toBeGreaterThan(3);
    await setSlider(page, "#playground-epsilon", 0);
    await settled(page);
    expect(await attack(page)).toEqual({ before: strong.before, after: strong.before, most: 0 });
    expect(await textOf(page, ".pg-before")).toBe(await textOf(page, ".pg-after"));
  });

  test("another optimizer or learning rate continues the training run; another network restarts it and keeps training", async () => {
    const step = await stepOf(page);
    await page.select("#playground-optimizer", "Adam");
    expect(await page.$eval("#playground-lr", (menu) => (menu as HTMLSelectElement).value)).toBe("0.001");
    await stepTo(page, step + 1);
    expect(await stepOf(page)).toBe(step + 1);
    await press(page, "Train");
    await setSlider(page, "#playground-layers", 4);
    await until(page, () => document.querySelectorAll(".pg-histograms [data-layer]").length === 6);
    const early = await stepOf(page);
    expect(early).toBeLessThan(step);
    await until(page, () => Number(/step (\d+)/.exec(document.querySelector(".pg-words")!.textContent!)?.[1]) > 50);
    await press(page, "Pause");
    await press(page, "Restart");
    await until(page, () => document.querySelector(".pg-words")!.textContent!.startsWith("step 0"));
  });

  test("the diagnosis distinguishes 6 layers of sigmoid from 2 layers of ReLU with He initialization, and a remedy helps", async () => {
    await press(page, "vanishing");
    await until(page, () => document.querySelectorAll(".pg-histograms [data-layer]").length === 7);
    for (let i = 0; i < 3; i++) await press(page, "Step");
    await settled(page);
    const sigmoid = await diagnosisOf(page);
    expect(sigmoid.kind).toBe("vanishing");
    expect(sigmoid.text).toContain(`shrinks ${(1 / sigmoid.factor).toPrecision(2)}-fold per layer`);
    // The inputs of layers 2 to 6 are sigmoids near ½, so ∂L/∂W shrinks at nearly the same rate as ∂L/∂z.
    const layers = await layersOf(page);
    const growth = (layers[1]!.rms / layers[5]!.rms) ** (1 / 4);
    expect(growth / sigmoid.factor).toBeGreaterThan(0.8);
    expect(growth / sigmoid.factor).toBeLessThan(1.25);
    await setSlider(page, "#playground-layers", 1);
    await press(page, "ReLU with He");
    await until(page, () => document.querySelectorAll(".pg-histograms [data-layer]").length === 3);
    await settled(page);
    const relu = await diagnosisOf(page);
    expect(relu.kind).toBe("healthy");
    expect(Math.abs(Math.log(relu.factor))).toBeLessThan(Math.log(2));
    expect(await page.$eval("#playground-activation", (menu) => (menu as HTMLSelectElement).value)).toBe("ReLU");
  });

  test("the playground pauses a run that diverges, says so, and offers a lower learning rate", async () => {
    await press(page, "too fast");
    await press(page, "Train");
    await until(page, () => document.querySelector<HTMLElement>(".pg-diagnosis")!.dataset.kind === "diverged");
    await settled(page);
    expect(await textOf(page, ".pg-train")).toBe("Train");
    // Further steps have a non-finite gradient, which makes the weights non-finite.
    for (let i = 0; i < 2; i++) await press(page, "Step");
    await until(page, () => document.querySelector(".pg-answer h3")!.textContent === "It cannot tell");
    await press(page, "learning rate 0.1");
    await until(page, () => document.querySelector<HTMLElement>(".pg-diagnosis")!.dataset.kind === "healthy");
  });

  test("the playground has no accessibility violations and fits every window, and each part fits on one screen with its controls", async () => {
    const heights = (selector: string): Promise<number> =>
      page.$eval(selector, (element) => element.getBoundingClientRect().height);
    for (const shown of ["healthy", "vanishing"]) {
      await page.setViewport(WIDE);
      await press(page, shown);
      await train(page, shown === "healthy" ? 92 : 0);
      await press(page, "2");
      await page.select("#playground-method", "integrated gradients");
      await setSlider(page, "#playground-epsilon", 10);
      await settled(page);
      for (const [size, viewport] of Object.entries({ wide: WIDE, phone: PHONE, small: SMALL })) {
        await page.setViewport(viewport);
        for (const theme of ["light", "dark"] as const) {
          await setTheme(page, theme);
          await settled(page);
          expect(await violations(page, ".playground"), `${size}, ${theme}`).toEqual([]);
          expect(await overflowing(page), size).toEqual([]);
          const path = `${SHOTS}/playground-${shown}-${size}-${theme}.png`;
          await page.$eval(".playground", (element) => element.scrollIntoView());
          if (name === "chrome")
            await (size === "wide" ? page.screenshot({ path }) : (await page.$(".playground"))!.screenshot({ path }));
        }
        if (size === "wide") expect(await heights(".pg-columns")).toBeLessThanOrEqual(WIDE.height - BAR);
        if (size === "phone")
          for (const part of [".pg-network", ".pg-read", ".pg-attack"])
            expect(await heights(part), part).toBeLessThanOrEqual(PHONE.height - BAR);
      }
    }
    await page.setViewport(WIDE);
  });

  test("training stops while the playground is outside the window, and then continues", async () => {
    await page.setViewport(WIDE);
    await page.$eval(".playground", (element) => element.scrollIntoView());
    await press(page, "healthy");
    await until(page, () => document.querySelector(".pg-words")!.textContent!.startsWith("step 0"));
    await press(page, "Train");
    await until(page, () => Number(/step ([\d,]+)/.exec(document.querySelector(".pg-words")!.textContent!)?.[1]) > 20);
    await page.evaluate(() => scrollTo(0, 0));
    await settled(page);
    const [step, before] = [await stepOf(page), await trained(page)];
    await pause(700);
    expect(await trained(page)).toBe(before);
    await page.$eval(".playground", (element) => element.scrollIntoView());
    await page.waitForFunction(
      (last) => !document.querySelector(".pg-words span")!.textContent!.endsWith(last),
      {},
      step.toLocaleString("en"),
    );
    await press(page, "Pause");
    await settled(page);
    expect(await stepOf(page)).toBeGreaterThan(step);
  });

  test("close() ends the worker and removes the playground", async () => {
    const workers = page.workers().length;
    // Pass the code as a string, because Vitest replaces import() in functions.
    const opened = await page.evaluate(`(async () => {
      const files = performance.getEntriesByType("resource").map(({ name }) => name);
      const modules = await Promise.all(files.filter((file) => /assets.view-[^/]*.js$/.test(file)).map((file) => import(file)));
      const { mountPlayground } = modules.find((module) => "mountPlayground" in module);
      globalThis.element = document.createElement("div");
      document.body.append(element);
      globalThis.mounted = mountPlayground(element);
      return element.childElementCount;
    })()`);
    expect(opened).toBe(1);
    await page.waitForFunction("element.querySelector('.pg-histograms [data-layer]')");
    expect(page.workers().length).toBe(workers + 1);
    await page.evaluate("mounted.close()");
    await pause(300);
    expect(page.workers().length).toBe(workers);
    expect(await page.evaluate("element.childElementCount")).toBe(0);
    await page.evaluate("element.remove()");
  });
});
