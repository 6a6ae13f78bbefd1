/** The exercises on a page, in Chromium and Firefox. Screenshots: build/screenshots/practice-*.png. */
import { resolve } from "node:path";
import type { Browser, Page } from "puppeteer-core";
import { build } from "vite";
import { expect, test } from "vitest";
import { alias, practices } from "../../lab/page/content.mjs";
import type { Mistake } from "../../lab/practice/exercise.ts";
import { exercises } from "../../lab/practice/index.ts";
import {
  describeInBrowsers,
  overflows,
  PHONE,
  SHOTS,
  SMALL,
  setTheme,
  textOf,
  type Visit,
  violations,
  WIDE,
} from "../support/labPage.ts";
import { type Served, serve, watchErrors } from "../support/pages.ts";

const OUT = resolve("build/practice-page");
let site: Served;
let browser: Browser;
let page: Page;
const visiting = {
  start: servePractice,
  async open(visit: Visit) {
    ({ site, browser, page } = visit);
    await page.goto(site.address);
    await wait(page, ".practice-panel");
  },
};

async function servePractice(): Promise<Served> {
  await build({
    configFile: false,
    logLevel: "warn",
    root: resolve("test/lab/practicePage"),
    base: "./",
    plugins: [practices],
    resolve: { alias },
    worker: { format: "es" },
    build: { outDir: OUT, emptyOutDir: true, target: "es2023", chunkSizeWarningLimit: 2000 },
  });
  return serve(OUT);
}

const find = (name: string) => exercises.find((exercise) => exercise.name === name)!;
const wait = (page: Page, selector: string) => page.waitForSelector(selector, { timeout: 20_000 });

/** Opens an exercise through its address, and waits until it is shown. */
async function open(page: Page, name: string): Promise<void> {
  await page.evaluate((hash) => void (location.hash = hash), `practice-${name}`);
  await page.waitForFunction(
    (title) => document.querySelector("#practice-title")?.textContent === title,
    {},
    find(name).title,
  );
}

/** Answers the question, if it is not answered yet, and waits for the editor. */
async function predict(page: Page): Promise<void> {
  if (await page.$("fieldset:not(:disabled)")) {
    const radio = await page.$("input[type=radio]");
    if (radio) await radio.click();
    else await page.type(".practice-number input", "1/3");
    await page.click("form button");
  }
  await wait(page, ".cm-content");
}

/** Enters code as if the reader pasted it, and runs the checks. Returns the summary. */
async function check(page: Page, code: string): Promise<string> {
  await page.focus(".cm-content");
  await page.keyboard.down("Control");
  await page.keyboard.press("a");
  await page.keyboard.up("Control");
  await page.keyboard.press("Backspace");
  // insertText goes through the editor's input handling, but does not indent or close brackets.
  await page.evaluate((text) => document.execCommand("insertText", false, text), code);
  await page.click(".practice-check");
  return summaryOf(page);
}
async function summaryOf(page: Page): Promise<string> {
  await page.waitForFunction(() => /\.$/.test(document.querySelector(".practice-status")?.textContent ?? ""), {
    timeout: 30_000,
  });
  return textOf(page, ".practice-status");
}
const messages = (page: Page): Promise<string> => textOf(page, ".practice-message");

describeInBrowsers(visiting, (name) => {
  test("the list has all exercises, and the first one is open", async () => {
    expect(await textOf(page, ".practice nav a")).toBe(exercises.map(({ title }) => title).join("\n"));
    expect(await textOf(page, ".practice summary")).toBe("15 exercises, 0 solved");
    expect(await textOf(page, "h3")).toBe(exercises[0]!.title);
    expect(await page.$$eval(".practice-panel math", (all) => all.length)).toBeGreaterThan(5);
    expect(await textOf(page, ".practice-panel")).not.toMatch(/\$|ParseError/);
  });

  test("the question comes first: the editor appears after the answer, with an explanation", async () => {
    await open(page, "logistic-gradient");
    expect(await page.$eval(".practice-code", (code) => (code as HTMLElement).hidden)).toBe(true);
    await page.type(".practice-number input", "many");
    await page.click("form button");
    expect(await textOf(page, ".practice-verdict")).toBe("Enter a number, such as 0.5, 1/2 or 1,000.");
    expect(await page.$eval(".practice-code", (code) => (code as HTMLElement).hidden)).toBe(true);
    await page.$eval(".practice-number input", (input) => void ((input as HTMLInputElement).value = ""));
    await page.type(".practice-number input", "9");
    await page.keyboard.press("Enter");
    expect(await textOf(page, ".practice-verdict")).toMatch(/^✓ Right\.The pull is/);
    await wait(page, ".cm-content");
    expect((await textOf(page, ".cm-line")).trim()).toContain("export function gradient(w, x, y) {");
    await open(page, "clip-an-rnn");
    await (await page.$("input[value='About 30']"))!.click();
    await page.click("form button");
    expect(await textOf(page, ".practice-verdict")).toMatch(/^✗ Not quite\. The answer: About 3,300/);
  });

  test.each(exercises.map((exercise) => [exercise.name, exercise] as const))(
    "%s: the solution passes, and a typical mistake gets its hint",
    async (own, { solution, checks }) => {
      await open(page, own);
      await predict(page);
      const { mistakes } = (await import(`../../lab/practice/${own}.ts`)) as { mistakes: readonly Mistake[] };
      const { replace, by, hint } = mistakes[0]!;
      expect(await check(page, solution.replace(replace, by))).toMatch(/^\d of \d checks failed\.$/);
      expect(await messages(page)).toContain(hint.replaceAll("`", ""));
      expect(await check(page, solution)).toBe(`All ${checks.length + 1} checks passed.`);
      expect(await textOf(page, ".practice-results .hidden")).toBe(
        Array.from({ length: checks.length + 1 }, () => "Passed: ").join("\n"),
      );
      expect(await textOf(page, `nav a[href="#practice-${own}"] + .practice-right`)).toBe("\u00a0✓ solved");
    },
  );

  test("progress survives a reload, and all exercises are solved", async () => {
    await page.reload();
    await wait(page, ".cm-content");
    expect(await textOf(page, ".practice summary")).toBe("15 exercises, 15 solved");
    await open(page, "fisher-information");
    await wait(page, ".cm-content");
    expect(await page.$eval("fieldset", (fieldset) => fieldset.disabled)).toBe(true);
    expect(await textOf(page, ".cm-line")).toContain("return 1 / (p * (1 - p));");
  });

  test("an endless loop is stopped after 5 seconds, with a hint, and the page stays usable", async () => {
    await open(page, "write-gradcheck");
    await predict(page);
    const started = Date.now();
    const typed = check(page, find("write-gradcheck").solution.replace("const above", "for (;;);\n    const above"));
    await page.waitForFunction(() => document.querySelector(".practice-status")?.textContent === "Checking…");
    await page.click(".practice-buttons button:nth-child(2)"); // the Hint button works while the code runs
    expect(await textOf(page, ".practice-hints li")).toMatch(/^Change one parameter at a time/);
    expect(await typed).toBe("1 of 2 checks failed.");
    expect(Date.now() - started).toBeGreaterThan(5000);
    expect(Date.now() - started).toBeLessThan(20_000);
    expect(await messages(page)).toBe("Your code ran for more than 5 seconds. Look for a loop that never ends.");
  });

  test.each([
    [
      "a syntax error",
      "export function gradient(theta, x, y) {\n  return [1, 2;\n}",
      /^Syntax error in line 2, column 15: unexpected token\./,
    ],
    ["a missing export", "function gradient() {}", /^Your code declares gradient but does not export it\./],
    [
      "an unknown name",
      'import { tensr } from "nabla";',
      /^"nabla" has no export "tensr" \(line 1\)\. Did you mean "tensor"\?$/,
    ],
    [
      "an error, with its line",
      "export function gradient(theta) {\n\n  return theta.length.x.y;\n}",
      /^Your code threw TypeError: .* \(line 3\)\./,
    ],
  ])("%s gets a hint", async (_, code, hint) => {
    await open(page, "derive-a-partial");
    await predict(page);
    await check(page, code);
    expect(await messages(page)).toMatch(hint);
  });

  test("prints what the code logs, as text", async () => {
    await open(page, "derive-a-partial");
    await predict(page);
    await check(page, `console.log("<b>", [1, 2]);\n${find("derive-a-partial").solution}`);
    expect(await textOf(page, ".practice-results pre")).toBe("<b> [1,2]");
  });

  test("hints appear one by one; reset and undo work; the solution can be shown and hidden", async () => {
    const { hints, starter, solution } = find("natural-step");
    await open(page, "natural-step");
    await predict(page);
    await check(page, solution);
    const [, hint, reset, reveal] = await page.$$(".practice-buttons button");
    const labels: (string | null)[] = [];
    for (let i = 0; i < hints.length; i++) {
      labels.push(await hint!.evaluate((button) => button.textContent));
      await hint!.click();
    }
    expect(labels).toEqual(["Hint 1 of 3", "Hint 2 of 3", "Hint 3 of 3"]);
    expect(await hint!.evaluate((button) => (button as HTMLButtonElement).disabled)).toBe(true);
    expect(await page.$$eval(".practice-hints li", (all) => all.length)).toBe(3);
    await reveal!.click();
    expect(await textOf(page, ".practice-code > div > pre")).toBe(solution.trimEnd());
    await reveal!.click();
    expect(await page.$(".practice-code > div > pre")).toBe(null);
    const code = async (): Promise<string> => (await textOf(page, ".cm-line")).trimEnd();
    expect(await code()).toBe(solution.trimEnd());
    await reset!.click();
    expect(await code()).toBe(starter.trimEnd());
    expect(await page.$eval(".practice-hints", (list) => (list as HTMLElement).hidden)).toBe(true);
    await page.focus(".cm-content");
    await page.keyboard.down("Control");
    await page.keyboard.press("z");
    await page.keyboard.up("Control");
    expect(await code()).toBe(solution.trimEnd());
  });

  test("the keyboard suffices: Tab indents, Escape and Tab leave the editor, Ctrl-Enter checks", async () => {
    await open(page, "critical-damping");
    await predict(page);
    await check(page, find("critical-damping").solution);
    await page.focus(".cm-content");
    const focused = (): Promise<string> => page.evaluate(() => document.activeElement!.className);
    await page.keyboard.press("Tab");
    expect(await focused()).toContain("cm-content");
    await page.keyboard.press("Escape");
    await page.keyboard.press("Tab");
    expect(await focused()).toBe("practice-check");
    await page.focus(".cm-content");
    await page.keyboard.down("Control");
    await page.keyboard.press("Enter");
    await page.keyboard.up("Control");
    await page.waitForFunction(() => document.querySelector(".practice-status")?.textContent === "Checking…");
    expect(await summaryOf(page)).toBe("All 4 checks passed.");
  });

  test("openPractice and the link to the next exercise move the focus to the heading", async () => {
    await page.evaluate("openPractice('natural-step')");
    expect(await page.evaluate(() => document.activeElement!.textContent)).toBe(find("natural-step").title);
    await predict(page);
    await check(page, find("natural-step").solution);
    await page.click(".practice-next a");
    await page.waitForFunction(() => document.activeElement?.textContent?.startsWith("Integrated gradients"));
    await page.evaluate("openPractice('no-such-exercise')");
    expect(await textOf(page, "h3")).toBe(find("integrated-gradients").title);
  });

  test("axe finds no violations and nothing overflows, in both themes, on a wide screen and on phones", async () => {
    await open(page, "integrate-the-flow");
    await predict(page);
    const { solution } = find("integrate-the-flow");
    await page.$eval(".practice-buttons button:nth-child(2)", (button) => (button as HTMLElement).click());
    await check(page, `console.log("ready");\n${solution.replace("(g) => -g", "(g) => g")}`);
    for (const [size, viewport] of Object.entries({ wide: WIDE, phone: PHONE, small: SMALL }))
      for (const theme of ["light", "dark"] as const) {
        await page.setViewport(viewport);
        await setTheme(page, theme);
        expect(await violations(page), `${size}, ${theme}`).toEqual([]);
        expect(await overflows(page), size).toBe(false);
        await page.screenshot({ path: `${SHOTS}/practice-${name}-${size}-${theme}.png`, fullPage: true });
      }
    await setTheme(page, "light");
    await page.setViewport(PHONE);
    for (const { name: own } of exercises) {
      await open(page, own);
      await predict(page);
      const hidden = await page.$$eval(".practice-formula", (all) =>
        all.map((one) => one.scrollWidth - one.clientWidth),
      );
      expect(Math.max(0, ...hidden), `${own}: formulas fit a phone`).toBe(0);
      await page.$eval(".practice-buttons button:nth-child(4)", (button) => (button as HTMLElement).click());
      expect(await overflows(page), own).toBe(false);
    }
    await page.setViewport(WIDE);
  }, 120_000);

  test("without storage, everything works until the page is closed", async () => {
    const other = await browser.newPage();
    await other.evaluateOnNewDocument(() => {
      Object.defineProperty(window, "localStorage", {
        get() {
          throw new DOMException("forbidden", "SecurityError");
        },
      });
    });
    const own = watchErrors(other, site.address);
    await other.goto(`${site.address}#practice-measure-confusion`);
    await wait(other, ".practice-panel");
    expect(await textOf(other, "h3")).toBe(find("measure-confusion").title);
    await predict(other);
    expect(await check(other, find("measure-confusion").solution)).toBe("All 5 checks passed.");
    expect(await textOf(other, ".practice summary")).toBe("15 exercises, 1 solved");
    await open(other, "natural-step");
    await open(other, "measure-confusion");
    await wait(other, ".cm-content");
    expect(await textOf(other, ".cm-line")).toContain("flips++");
    expect(own).toEqual([]);
    await other.close();
  });

  test("if the worker cannot load, the check says so, and the next check starts another one", async () => {
    const other = await browser.newPage();
    await other.goto(`${site.address}#practice-measure-confusion`);
    await wait(other, ".practice-panel");
    await predict(other);
    site.missing = /worker[^/]*\.js$/;
    try {
      await check(other, find("measure-confusion").solution);
      expect(await textOf(other, ".practice-results")).toContain(
        "The worker could not start. Check your connection, and try again.",
      );
    } finally {
      site.missing = undefined;
    }
    expect(await check(other, find("measure-confusion").solution)).toBe("All 5 checks passed.");
    await other.close();
  });
});
