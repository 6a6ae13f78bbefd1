// Runs TensorFlow.js's own tests on a backend, in Node or in headless Chromium.
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import puppeteer from "puppeteer-core";
import { findChromium } from "../../../tools/browsers.mjs";
import { bundleSuite } from "./bundle.mjs";

const FOLDER = fileURLToPath(new URL("../../../build/tfjs/", import.meta.url));
const CHILD = fileURLToPath(new URL("child.mjs", import.meta.url));

const bundles = new Map();
/** Returns the path of a bundle. Writes each bundle only once. */
function bundleOf(backend, platform) {
  const file = `${FOLDER}suite-${backend}-${platform}.mjs`;
  if (!bundles.has(file)) {
    mkdirSync(FOLDER, { recursive: true });
    bundles.set(
      file,
      bundleSuite(backend, platform, file).then(() => file),
    );
  }
  return bundles.get(file);
}

/**
 * Runs the tests in Node: in the current version, or in the one that `command` starts. `init` are nabla's options. Returns { passed,
 * failed, skipped }.
 */
export async function runInNode(backend, init = {}, { command = [process.execPath], filter = "" } = {}) {
  const bundle = await bundleOf(backend, "node");
  const results = `${FOLDER}results-${backend}-${process.pid}.json`;
  rmSync(results, { force: true });
  const [program, ...args] = command;
  // Node 20 enables relaxed SIMD only with a flag.
  const flags =
    init.build === "relaxed" && /^v20/.test(process.version) && program === process.execPath
      ? ["--experimental-wasm-relaxed-simd"]
      : []; // prettier-ignore
  const child = spawn(program, [...args, ...flags, CHILD, bundle, results, JSON.stringify(init), filter], {
    stdio: ["ignore", "ignore", "pipe"],
  }); // prettier-ignore
  let errors = "";
  child.stderr.on("data", (text) => {
    errors = (errors + text).slice(-4000);
  });
  const code = await new Promise((resolve) => child.on("close", resolve));
  if (code !== 0) throw new Error(`The suite ended with code ${code}: ${errors}`);
  return JSON.parse(readFileSync(results, "utf8"));
}

/** Runs the tests in headless Chromium. Returns { passed, failed, skipped }. */
export async function runInChromium(backend, init = {}, { filter = "" } = {}) {
  const source = readFileSync(await bundleOf(backend, "browser"), "utf8");
  const browser = await puppeteer.launch({
    executablePath: findChromium(),
    args: ["--no-sandbox", "--disable-gpu"],
    protocolTimeout: 600_000,
  });
  try {
    const page = await browser.newPage();
    await page.setRequestInterception(true);
    // Give the page an origin, so that it has localStorage and IndexedDB.
    page.on("request", (request) => {
      const { pathname } = new URL(request.url());
      if (pathname === "/") return request.respond({ contentType: "text/html", body: "<!doctype html>" });
      if (pathname === "/suite.mjs") return request.respond({ contentType: "text/javascript", body: source });
      return request.respond({ status: 404, body: "" });
    });
    await page.goto("http://localhost/");
    // Pass the code as text, because Vitest transforms import() in functions. Jasmine looks for the global object under the name `global`.
    return await page.evaluate(`(async () => {
      Object.assign(globalThis, { global: globalThis, NABLA_OPTIONS: ${JSON.stringify(init)} });
      const { runSuite } = await import("/suite.mjs");
      return runSuite(${JSON.stringify(filter)});
    })()`);
  } finally {
    await browser.close();
  }
}

/** A spec's name contains the backend's name and flags after the name of the outer suite. */
const neutral = (name, backend) => name.replaceAll(`${backend} {}`, "BACKEND {}");

/**
 * Compares a backend's results with the CPU backend's: finds the specs that fail here but not there, and the specs that only one
 * of the two has.
 */
export function compare(cpu, own) {
  const names = ({ passed, failed }, backend) =>
    [...passed, ...failed.map(({ name }) => name)].map((name) => neutral(name, backend));
  const [ofCpu, ofOwn] = [names(cpu, "cpu"), names(own, "nabla")];
  const failsToo = new Set(cpu.failed.map(({ name }) => neutral(name, "cpu")));
  return {
    failed: own.failed.filter(({ name }) => !failsToo.has(neutral(name, "nabla"))),
    missing: ofCpu.filter((name) => !ofOwn.includes(name)),
    added: ofOwn.filter((name) => !ofCpu.includes(name)),
  };
}
