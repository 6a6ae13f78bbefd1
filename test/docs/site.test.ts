/** The documentation site: it builds, its links work, and its pages and search work in a browser without a network. */
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, posix } from "node:path";
import type { Browser } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { launch, type Served, serve, watchErrors } from "../support/pages.ts";
import { blocksOf, pages } from "../support/programs.ts";

const SITE = "dist/docs";
/** Other hosts that pages may link to, but must not load anything from. */
const EXTERNAL = new Set(["github.com", "example.com"]);

let html: string[];
beforeAll(() => {
  execFileSync(process.execPath, ["docs/build.mjs"], { stdio: "pipe" });
  html = readdirSync(SITE, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".html"))
    .map((name) => name.replaceAll("\\", "/"))
    .sort();
});

const unescaped = (text: string): string =>
  text.replaceAll("&amp;", "&").replaceAll("&quot;", '"').replaceAll("&#39;", "'").replaceAll("&lt;", "<");
/** The text without its scripts, whose code may look like tags. */
const withoutScripts = (text: string): string => text.replace(/<script\b[\s\S]*?<\/script>/g, "");

describe("every link on the site", () => {
  const ids = new Map<string, Set<string>>();
  const idsOf = (file: string): Set<string> => {
    let found = ids.get(file);
    if (!found) {
      const text = readFileSync(join(SITE, file), "utf8");
      found = new Set(Array.from(text.matchAll(/\s(?:id|name)="([^"]*)"/g), ([, id]) => unescaped(id!)));
      ids.set(file, found);
    }
    return found;
  };

  test("leads to an existing file and anchor", () => {
    expect(html.length).toBeGreaterThan(500);
    const dead: string[] = [];
    let links = 0;
    for (const page of html) {
      // Skip the lab, which creates its anchors at run time. The lab's own tests check them.
      if (page.startsWith("lab/")) continue;
      const text = withoutScripts(readFileSync(join(SITE, page), "utf8"));
      for (const [, target] of new Set(
        Array.from(text.matchAll(/<(?:a|link|img|script)\b[^>]*?\s(?:href|src)="([^"]*)"/g), (match) => match),
      )) {
        const url = new URL(unescaped(target!), `http://site/${page}`);
        links++;
        if (url.protocol === "data:") continue;
        if (url.host !== "site") {
          if (!EXTERNAL.has(url.host)) dead.push(`${page}: ${target} leaves the site`);
          continue;
        }
        let file = decodeURIComponent(url.pathname.slice(1));
        if (!file || file.endsWith("/")) file += "index.html";
        const path = join(SITE, file);
        if (!existsSync(path) || !statSync(path).isFile()) dead.push(`${page}: ${target} does not exist`);
        else if (url.hash && file.endsWith(".html") && !idsOf(file).has(decodeURIComponent(url.hash.slice(1))))
          dead.push(`${page}: ${target} has no such anchor`);
      }
    }
    expect(links).toBeGreaterThan(10_000);
    expect([...new Set(dead)].slice(0, 50)).toEqual([]);
  });

  test("leads to an existing Markdown file in the repository", () => {
    const dead: string[] = [];
    for (const page of [...pages, "CHANGELOG.md"])
      for (const [, target] of readFileSync(page, "utf8").matchAll(/(?:\]\(|src=")([^)"\s]+)/g)) {
        // Skip external links, links within the page, and the reference, which is generated.
        if (/^(https?:|#|\/reference\/)/.test(target!)) continue;
        const path = target!.replace(/#.*$/, "");
        if (path.startsWith("/") || !existsSync(posix.join(dirname(page), path))) dead.push(`${page}: ${target}`);
      }
    expect(dead).toEqual([]);
  });
});

describe("in Chromium", () => {
  let browser: Browser;
  let served: Served;
  beforeAll(async () => {
    served = await serve(SITE, { path: "/" });
    browser = await launch("chrome");
  });
  afterAll(async () => {
    await browser?.close();
    served?.close();
  });

  const guides = readdirSync("docs/guide").map((name) => `guide/${name.replace(/\.md$/, ".html")}`);
  const others = readdirSync("docs")
    .filter((name) => name.endsWith(".md"))
    .map((name) => name.replace(/\.md$/, ".html"));
  /** One page of each kind that TypeDoc writes. */
  const reference = [
    "reference/index.html",
    "reference/nabla/index.html",
    "reference/nabla/classes/Tensor.html",
    "reference/nabla/functions/compile.html",
    "reference/nabla/interfaces/InitOptions.html",
    "reference/nabla/type-aliases/DType.html",
    "reference/nabla/namespaces/nn/index.html",
    "reference/nabla/namespaces/nn/classes/Linear.html",
  ];

  test.each([...others, ...guides, ...reference, "lab/index.html"])("%s opens without an error", async (path) => {
    const page = await browser.newPage();
    const errors = watchErrors(page, served.address);
    await page.goto(served.address + path, { waitUntil: "networkidle0" });
    const text = await page.evaluate(() => document.querySelector("main, #app, body")?.textContent?.trim() ?? "");
    expect(text.length).toBeGreaterThan(50);
    expect(errors).toEqual([]);
    await page.close();
  });

  test("an unknown URL shows the 404 page", async () => {
    const page = await browser.newPage();
    await page.goto(`${served.address}404.html`, { waitUntil: "networkidle0" });
    expect(await page.evaluate(() => document.body.textContent)).toMatch(/404/);
    await page.close();
  });

  test("the search finds crossEntropy, in the reference and in the guide", async () => {
    const page = await browser.newPage();
    const errors = watchErrors(page, served.address);
    await page.goto(`${served.address}guide/index.html`, { waitUntil: "networkidle0" });
    await page.click(".VPNavBarSearch button");
    await page.waitForSelector(".VPLocalSearchBox input");
    await page.type(".VPLocalSearchBox input", "crossEntropy");
    await page.waitForSelector(".VPLocalSearchBox .result", { timeout: 60_000 });
    const results = () =>
      page.$$eval(".VPLocalSearchBox .result", (links) => links.map((link) => link.getAttribute("href") ?? ""));
    await expect.poll(results).toContainEqual(expect.stringMatching(/reference\/.*crossEntropy/));
    await expect.poll(results).toContainEqual(expect.stringMatching(/^\/guide\//));

    const first = (await results()).find((href) => /crossEntropy\.html/.test(href))!;
    await page.click(`.VPLocalSearchBox .result[href="${first}"]`);
    await page.waitForFunction(() => document.querySelector("h1")?.textContent?.includes("crossEntropy"));
    expect(errors).toEqual([]);
    await page.close();
  });

  test("the page without a bundler in browsers.md works with the folders that it names", async () => {
    const block = blocksOf("docs/guide/browsers.md").find(({ info }) => info === "html")!;
    mkdirSync("build", { recursive: true });
    const folder = mkdtempSync("build/page-");
    for (const part of ["src", "assembly"]) cpSync(`dist/${part}`, `${folder}/nabla/${part}`, { recursive: true });
    writeFileSync(`${folder}/index.html`, `<!doctype html><link rel="icon" href="data:,"><body>${block.text}</body>`);
    const plain = await serve(folder, { path: "/" });
    try {
      const page = await browser.newPage();
      const errors = watchErrors(page, plain.address);
      await page.goto(plain.address, { waitUntil: "networkidle0" });
      expect(errors).toEqual([]);
      expect(await page.evaluate(() => document.body.lastChild?.textContent)).toBe("6");
      await page.close();
    } finally {
      plain.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test("the link on the lab's page opens the lab", async () => {
    const page = await browser.newPage();
    const errors = watchErrors(page, served.address);
    await page.goto(`${served.address}guide/lab.html`, { waitUntil: "networkidle0" });
    await Promise.all([page.waitForNavigation({ waitUntil: "networkidle0" }), page.click("a.lab-link")]);
    expect(page.url()).toBe(`${served.address}lab/`);
    expect(errors).toEqual([]);
    await page.close();
  });
});
