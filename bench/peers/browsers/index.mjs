/**
 * The suite "browsers": matrix products, training steps and models in headless Chromium and Firefox, on one thread and on two. Each
 * contender has its own page. The contenders take turns, as in the other suites.
 */
import { cpus } from "node:os";
import puppeteer from "puppeteer-core";
import { build, preview } from "vite";
import { save } from "../../../dist/bench/save.js";
import { findChromium, findFirefox } from "../../../tools/browsers.mjs";
import { suites } from "../cases.mjs";
import { modelCases } from "../models.mjs";
import { Peer } from "../peer.mjs";
import { runSuite } from "../turns.mjs";
import { FOLDER } from "./vite.config.mjs";

export const BROWSERS = "browsers";
const configFile = new URL("vite.config.mjs", import.meta.url).pathname;
const EFFORT = { rounds: 7, round: 60, networkRound: 250 };
/** The contenders: modules of page.mjs, and the option that their `open` takes. */
const CONTENDERS = [
  ["nabla", undefined],
  ["tfjs", "wasm"],
  ["ort", "web"],
];
const THREADS = [1, 2];

/** Launches a browser. @throws Error if it is not installed */
async function launch(name) {
  const executablePath = name === "Chromium" ? findChromium() : findFirefox();
  if (!executablePath) throw new Error(`${name} is not installed. Run node tools/browsers.mjs.`);
  const options = name === "Chromium" ? { args: ["--no-sandbox", "--disable-gpu"] } : { browser: "firefox" };
  return puppeteer.launch({ ...options, executablePath, headless: true, protocolTimeout: 300_000 });
}

/** A contender on a page, with the interface of Peer. */
class PagePeer {
  static async open(browser, address, [module, option], threads) {
    const page = await browser.newPage();
    const peer = new PagePeer(page, `${module}, ${threads} threads`);
    try {
      await page.goto(address);
      await page.waitForFunction("globalThis.start");
      peer.name = await page.evaluate((...args) => globalThis.start(...args), module, option ?? undefined, threads);
    } catch (error) {
      peer.error = error.message;
    }
    return peer;
  }
  constructor(page, name) {
    Object.assign(this, { page, name });
  }
  async ask({ file, ...request }) {
    try {
      await this.page.bringToFront();
      return await this.page.evaluate(
        (all) => globalThis.answer(all),
        // The server's root is the folder that contains the models.
        file ? { ...request, file: file.slice(FOLDER.length) } : request,
      );
    } catch (error) {
      this.ended = error.message;
      return { error: this.ended };
    }
  }
}

/** tfjs-wasm has no gradients of convolutions, and its programs define two of the models. onnxruntime-web only runs models. */
const TAKES_PART = {
  matmul: (name) => !name.startsWith("onnx"),
  step: (name, one) => name.startsWith("nabla") || (name.startsWith("tfjs") && !/^(CNN|Transformer)/.test(one.name)),
  models: (name, one) =>
    name.startsWith("nabla") ||
    (name.startsWith("onnx") && one.name.startsWith("infer")) ||
    (name.startsWith("tfjs") && one.name.includes("224×224")),
};

/** PyTorch exports the models for onnxruntime-web while it opens them. Cases that are not models need no files. */
async function exportModels(cases) {
  const torch = new Peer("PyTorch", {}, "/usr/bin/python3", "torch_step.py");
  const { error } = await torch.reply();
  for (const one of error ? [] : cases) {
    await torch.ask({ open: "models", ...one.task() });
    await torch.ask({ close: true });
  }
  torch.close();
}

/** Measures a browser. Returns its name and version, the rows, and the contenders that could not run a case. */
async function compareBrowser(name, address, cases, print) {
  const browser = await launch(name);
  try {
    const title = `${name} ${/\d+/.exec((await browser.version()).replace(/^\D*/, ""))[0]}`;
    const results = { title, rows: [], missing: [] };
    const peers = [];
    for (const contender of CONTENDERS)
      for (const threads of THREADS) peers.push(await PagePeer.open(browser, address, contender, threads));
    for (const [suite, own] of Object.entries(cases)) {
      if (!own.length) continue;
      const contenders = (one) => peers.filter((peer) => TAKES_PART[suite](peer.name, one));
      const options = { contenders, bases: ["nabla"], title: `${title}, ${suite}`, effort: EFFORT, print };
      const { rows, missing } = await runSuite(suite, own, options);
      // The page has one table for products in all browsers, whose unit is a rate, and one for the times in each browser.
      const isRate = suite === "matmul";
      const place = (row) => ({ ...row, case: isRate ? `${name} ${row.case}` : row.case });
      const saved = `peers-${isRate ? `${BROWSERS}-${suite}` : name.toLowerCase()}`;
      results.rows.push(...rows.map((row) => ({ ...place(row), suite: saved })));
      results.missing.push(...missing);
    }
    return results;
  } finally {
    await browser.close();
  }
}

/** @param isChosen whether to run a case */
export async function compareBrowsers({ isChosen, print, save: isSaved }) {
  await build({ configFile });
  const server = await preview({ configFile, preview: { port: 0 } });
  const [address] = server.resolvedUrls.local;
  const cases = Object.fromEntries(
    Object.entries({ ...suites, models: modelCases(FOLDER) })
      .filter(([suite]) => TAKES_PART[suite])
      .map(([suite, own]) => [suite, own.filter(isChosen)]),
  );
  await exportModels(cases.models.filter(({ name }) => name.startsWith("infer")));
  const all = [];
  for (const name of ["Chromium", "Firefox"]) all.push(await compareBrowser(name, address, cases, print));
  await server.close();
  const rows = all.flatMap((one) => one.rows);
  const processor = `${cpus()[0]?.model.trim() ?? "unknown CPU"} × ${cpus().length}`;
  const where = `${all.map(({ title }) => title).join(", ")}, ${processor}, one thread unless noted`;
  if (isSaved) save(`npm run bench:peers -- ${BROWSERS}`, where, rows);
  return { rows, missing: all.flatMap(({ missing }) => missing) };
}
