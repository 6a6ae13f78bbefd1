// `npm run bench:lab` drags every handle of the lab's page for three seconds in headless Chromium and prints how often its figure is
// drawn per second, beside the time of one run and one drawing.

import puppeteer from "puppeteer-core";
import { build, preview } from "vite";
import { findChromium } from "../../tools/browsers.mjs";

const SECONDS = 3;
const configFile = "lab/page/vite.config.mjs";
await build({ configFile, logLevel: "warn" });
const server = await preview({ configFile, preview: { port: 0 }, logLevel: "warn" });
const browser = await puppeteer.launch({ executablePath: findChromium(), args: ["--no-sandbox"], headless: true });
const page = await browser.newPage();
await page.setViewport({ width: 1280, height: 800 });
await page.goto(server.resolvedUrls.local[0]);
const names = await page.$$eval("[data-experiment]", (all) => all.map(({ dataset }) => dataset.experiment));

/** Drags a handle in a circle, and prints how often its figure is drawn. */
async function drag(id, name, handle) {
  const title = await handle.evaluate((button) => button.title);
  const box = await handle.boundingBox();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  await page.$eval(`${id} .canvas`, (canvas) => {
    globalThis.drawings = 0;
    globalThis.watch?.disconnect();
    globalThis.watch = new MutationObserver(() => globalThis.drawings++);
    globalThis.watch.observe(canvas, { childList: true });
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

console.log("figure                        handle                          drawings per second   run, ms");
for (const name of names) {
  const id = `#figure-${name}`;
  await page.$eval(id, (figure) => figure.scrollIntoView());
  await page.waitForSelector(`${id} .body:not([aria-busy])`, { timeout: 60_000 });
  const views = await page.$$eval(`${id} .tabs button`, (all) => all.length);
  for (let view = 0; view < Math.max(1, views); view++) {
    if (views) await page.$$eval(`${id} .tabs button`, (all, index) => all[index].click(), view);
    for (const handle of await page.$$(`${id} .handle`)) await drag(id, name, handle);
  }
}
await browser.close();
await server.close();
