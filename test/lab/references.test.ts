/** The article's sources: sorted, complete, and cited. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { references } from "../../lab/article/references.ts";
import { renderArticle } from "../../lab/page/render.mjs";

const render = (text: string, of = references): string => renderArticle(text, [], {}, of);

test("every source that a finding names is in the list", () => {
  const known = new Set(references.map(({ short }) => short));
  const folder = "lab/experiments";
  const named = readdirSync(folder).flatMap((file) =>
    readFileSync(`${folder}/${file}`, "utf8")
      .split("\n")
      .filter((line) => !/^\s*(\/\/|\*|\/\*)/.test(line))
      .flatMap((line) => [...line.matchAll(/([A-Z][\wé-]+(?: and [A-Z]\w+| et al\.)?) \(?((?:19|20)\d\d)\b/g)])
      .map(([, authors, year]) => `${authors} ${year}`),
  );
  expect(named.length).toBeGreaterThan(15);
  expect(named.filter((one) => !known.has(one))).toEqual([]);
});

test("sources are sorted, and no two have the same id or the same link", () => {
  const order = references.map(({ short }) => short.normalize("NFD").toLowerCase().replaceAll("’", ""));
  expect([...order].sort()).toEqual(order);
  for (const key of ["id", "link"] as const)
    expect(new Set(references.map((one) => one[key])).size).toBe(references.length);
  for (const { link, year, short } of references) {
    expect(link).toMatch(/^(doi:10\.\d{4,5}\/\S+|arXiv:\d{4}\.\d{4,5}|https:\/\/\S+)$/);
    expect(short.endsWith(String(year))).toBe(true);
  }
});

describe("citations", () => {
  const some = references.slice(0, 1);
  const { id, short } = some[0]!;
  test("link to the source, and the source links back to every place", () => {
    const html = render(`A claim ([@${id}]). Another ([@${id}]).\n\n## References\n\n@references\n`, some);
    expect(html).toContain(`<a class="cite" id="cite-${id}-1" href="#ref-${id}"`);
    expect(html).toContain(`>${short}</a>`);
    expect(html).toMatch(new RegExp(`<li id="ref-${id}">.*href="#cite-${id}-1".*href="#cite-${id}-2"`));
  });
  test("of an unknown source are an error, and so is a source that nothing cites", () => {
    expect(() => render("A claim ([@nobody-1900])")).toThrow('article.md: no source "nobody-1900".');
    expect(() => render("@references", some)).toThrow(`article.md: nothing cites "${id}".`);
  });
});
