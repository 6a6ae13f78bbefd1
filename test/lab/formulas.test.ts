/** Formulas: letters from Unicode's mathematical alphabets, in a font that the page brings along. */
import type { Page } from "puppeteer-core";
import { beforeAll, expect, test } from "vitest";
import { formula, renderFont } from "../../lab/page/render.mjs";
import { describeInBrowsers, servePage, type Visit } from "../support/labPage.ts";

test("bold and double-struck letters are characters of their own, because not every browser knows mathvariant", () => {
  const html = formula(
    "\\boldsymbol\\theta+\\boldsymbol x+\\mathbf{0}+\\mathbb E+\\mathbb R+\\boldsymbol\\Delta+L",
    false,
  );
  for (const letter of ["𝜽", "𝒙", "𝟎", "𝔼", "ℝ", "<mi>L</mi>"]) expect(html).toContain(letter);
  expect(html).not.toMatch(/mathvariant="(bold|double)/);
});

test("the font has only the characters of the formulas", async () => {
  const size = async (tex: string): Promise<number> => (await renderFont(formula(tex, false))).length;
  expect(await size("x")).toBeLessThan(0.5 * (await size("\\sum abcdefgklmnopqrst\\alpha\\beta\\gamma\\int\\prod")));
  expect(await renderFont(formula("x", false))).toMatch(/^@font-face\{font-family:"Noto Sans Math";src:url\(data:font/);
});

/** The number of children that MathML Core requires. */
const CHILDREN: Readonly<Record<string, number>> = {
  mfrac: 2,
  mroot: 2,
  msub: 2,
  msup: 2,
  msubsup: 3,
  munder: 2,
  mover: 2,
  munderover: 3,
};

let page: Page;
const visiting = {
  start: () => servePage("formulas"),
  async open(visit: Visit) {
    page = visit.page;
    await page.goto(visit.site.address);
  },
};
describeInBrowsers(visiting, () => {
  beforeAll(async () => void (await page.evaluate(async () => void (await document.fonts.ready))));

  test("the font is loaded", async () => {
    const faces = await page.evaluate(() =>
      [...document.fonts].filter(({ family }) => family.includes("Noto Sans Math")).map(({ status }) => status),
    );
    expect(faces).toEqual(["loaded"]);
  });

  test("every element has as many children as MathML requires", async () => {
    const wrong = await page.evaluate((counts) => {
      const elements = [...document.querySelectorAll("math *")].filter(({ localName }) => localName in counts);
      if (elements.length < 100) return [`${elements.length} elements`];
      return elements
        .filter(({ localName, childElementCount }) => childElementCount !== counts[localName])
        .map(({ outerHTML }) => outerHTML);
    }, CHILDREN);
    expect(wrong).toEqual([]);
  });

  test("indices are lower than the letters that they follow", async () => {
    const depths = await page.$$eval("math msub", (all) =>
      all.map((one) => {
        const [letter, index] = [...one.children].map((part) => part.getBoundingClientRect().bottom);
        return (index! - letter!) / Number.parseFloat(getComputedStyle(one).fontSize);
      }),
    );
    expect(depths.length).toBeGreaterThan(100);
    // Without the font, Chromium puts most of them at 0 to 0.02.
    expect(Math.min(...depths)).toBeGreaterThan(0.03);
  });
});
