/** Formulas: letters from Unicode's mathematical alphabets, in a font that is part of the page. */
import type { Page } from "puppeteer-core";
import { beforeAll, expect, test } from "vitest";
import { formula, renderFont } from "../../lab/page/render.mjs";
import { describeInBrowsers, PHONE, servePage, type Visit, WIDE } from "../support/labPage.ts";

test("bold and double-struck letters are separate Unicode characters, because not every browser supports mathvariant", () => {
  const html = formula(
    "\\boldsymbol\\theta+\\boldsymbol x+\\mathbf{0}+\\mathbb E+\\mathbb R+\\boldsymbol\\Delta+L",
    false,
  );
  for (const letter of ["𝜽", "𝒙", "𝟎", "𝔼", "ℝ", "<mi>L</mi>"]) expect(html).toContain(letter);
  expect(html).not.toMatch(/mathvariant="(bold|double)/);
});

test("a thin space separates the name of a function from a number before it and from an argument without brackets", () => {
  const html = formula("3\\ln\\theta+\\ln(x)", false);
  expect(html.match(/<mspace width="0.167em">/g)).toHaveLength(1);
  expect(html.match(/rspace="0.167em"/g)).toHaveLength(1);
});

test("the font contains only the characters that the formulas use", async () => {
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
describeInBrowsers(visiting, (name) => {
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

  test("roots leave room for the root sign", async () => {
    const widths = await page.$$eval("math msqrt", (all) =>
      all.map((root) => {
        const [outer, inner] = [root, root.firstElementChild!].map((part) => part.getBoundingClientRect().left);
        return (inner! - outer!) / Number.parseFloat(getComputedStyle(root).fontSize);
      }),
    );
    expect(widths.length).toBeGreaterThan(5);
    // Without the character √ in the font, Chromium draws only the bar.
    expect(Math.min(...widths)).toBeGreaterThan(0.4);
  });

  // Firefox stretches any character, so only Chromium needs this test.
  if (name === "chrome")
    test("the lines of a norm are about as high as the fraction between them", async () => {
      const heights = await page.$$eval("mo[minsize]", (all) =>
        all
          .filter(
            ({ textContent, nextElementSibling }) => textContent === "‖" && nextElementSibling?.localName === "mfrac",
          )
          .map((line) => {
            const [one, fraction] = [line, line.nextElementSibling!].map((part) => part.getBoundingClientRect().height);
            return one! / fraction!;
          }),
      );
      expect(heights.length).toBeGreaterThan(3);
      expect(Math.min(...heights)).toBeGreaterThan(0.7);
    });

  test("no formula shrinks to less than four fifths on a phone", async () => {
    await page.setViewport(PHONE);
    const small = await page.$$eval(".formula math", (all) =>
      all
        .filter((math) => Number.parseFloat((math as HTMLElement).style.fontSize || "1") < 0.8)
        .map(({ textContent }) => textContent),
    );
    await page.setViewport(WIDE);
    expect(small).toEqual([]);
  });

  test("indices are lower than the letters that they follow", async () => {
    const depths = await page.$$eval("math msub", (all) =>
      all.map((one) => {
        const [letter, index] = [...one.children].map((part) => part.getBoundingClientRect().bottom);
        return (index! - letter!) / Number.parseFloat(getComputedStyle(one).fontSize);
      }),
    );
    expect(depths.length).toBeGreaterThan(100);
    // Without the font, Chromium lowers most indices by only 0 to 0.02 of the font size.
    expect(Math.min(...depths)).toBeGreaterThan(0.03);
  });
});
