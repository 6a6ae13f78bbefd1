// `npm run bench:lab` drags every handle on the lab's page for three seconds, in headless Chromium and Firefox. For each handle, it
// prints how many times per second the figure is drawn, and how long one run of the figure's experiment takes.
// `npm run bench:lab race ravine` drags only the handles of these two figures.

import puppeteer from "puppeteer-core";
import { build, preview } from "vite";
import { findChromium, findFirefox } from "../../tools/browsers.mjs";

const SECONDS = 3;
const configFile = "lab/page/vite.config.mjs";
await build({ configFile, logLevel: "warn" });
const server = await preview({ configFile, preview: { port: 0 }, logLevel: "warn" });
const only = process.argv.slice(2);

const idOf = (name) => `#figure-${name}`;

/** Drags a handle in a circle, and prints how many times per second its figure is drawn. */
async function drag(page, name, handle) {
  const id = idOf(name);
  const title = await handle.evaluate((button) => button.title);
  const box = await handle.boundingBox();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  await page.$eval(`${id} .canvas`, (canvas) => {
    globalThis.drawings = 0;
    globalThis.watch?.disconnect();
    globalThis.watch = new MutationObserver(() => globalThis.drawings++);
    globalThis.watch.observe(canvas, { childList: true, subtree: true });
  });
  await page.mouse.move(x, y);
  await page.mouse.down();
  const started = performance.now();
  for (let i = 0; performance.now() - started < 1000 * SECONDS; i++)
    await page.mouse.move(x + 40 * Math.sin(i / 15), y + 40 * (1 - Math.cos(i / 15)));
  const rate = (await page.evaluate(() => globalThis.drawings)) / ((performance.now() - started) / 1000);
  await page.mouse.up();
  const ran = await page.$eval(`${id} .note`, ({ textContent }) => textContent);
  console.log(
    `${name.padEnd(30)}${title.padEnd(32)}${rate.toFixed(0).padStart(19)}   ${/([\d.]+ m?s)/.exec(ran)?.[1] ?? ""}`,
  );
}

/** Drags the handles of all figures in a browser. */
async function dragAll(title, options) {
  const browser = await puppeteer.launch({ ...options, headless: true });
  const page = await browser.newPage();
  await page.setViewport({ width: 1280, height: 800 });
  await page.goto(server.resolvedUrls.local[0]);
  const names = await page.$$eval("[data-experiment]", (all) => all.map(({ dataset }) => dataset.experiment));
  console.log(`${title.padEnd(30)}handle                          drawings per second   run`);
  for (const name of names.filter((one) => !only.length || only.includes(one))) {
    const id = idOf(name);
    await page.$eval(id, (figure) => figure.scrollIntoView({ behavior: "instant" }));
    await page.waitForSelector(`${id} .body:not([aria-busy])`, { timeout: 60_000 });
    const views = await page.$$eval(`${id} .tabs button`, (all) => all.length);
    for (let view = 0; view < Math.max(1, views); view++) {
      if (views) await page.$$eval(`${id} .tabs button`, (all, index) => all[index].click(), view);
      for (const handle of await page.$$(`${id} .handle`)) await drag(page, name, handle);
    }
  }
  await browser.close();
}

await dragAll("Chromium", { executablePath: findChromium(), args: ["--no-sandbox"] });
await dragAll("Firefox", { browser: "firefox", executablePath: findFirefox() });
await server.close();
