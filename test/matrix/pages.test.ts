/** The installed tarball in three browser engines: on a page's main thread, in a worker, and with a strict security policy. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { findWebKit } from "../../tools/browsers.mjs";
import { type Served, serve } from "../support/pages.ts";
import { type Engine, openPuppeteer, openWebKit } from "./engines.ts";
import { commandOf, expectKnown, expectLearned, type Result, recordMissing, recordResult } from "./project.ts";
import { run } from "./run.ts";

const { project } = inject("matrix");
const TWO = JSON.stringify({ deterministic: true, threads: 2 });
const POLICY = "script-src 'self' 'wasm-unsafe-eval'";

let files: Served;
let bundled: Served;
let strict: Served;
beforeAll(async () => {
  const args = ["page.js", "training.js", "index.html", "--loader:.html=copy", "--entry-names=[name]"];
  await run(commandOf("esbuild"), [...args, "--bundle", "--splitting", "--format=esm", "--outdir=pages"], {
    cwd: project,
  });
  files = await serve(project);
  bundled = await serve(join(project, "pages"));
  strict = await serve(join(project, "pages"));
  strict.headers = { "content-security-policy": POLICY };
});
afterAll(() => {
  for (const site of [files, bundled, strict]) site?.close();
});

const ENGINES: [string, () => Promise<Engine>][] = [
  ["Chromium", () => openPuppeteer("chrome")],
  ["Firefox", () => openPuppeteer("firefox")],
];
if (findWebKit()) ENGINES.push(["WebKitGTK", openWebKit]);
else {
  const missing = "WebKitWebDriver or Xvfb is not installed. Run node tools/browsers.mjs.";
  recordMissing("WebKitGTK", missing);
  test("WebKitGTK is available", () => expect.fail(missing));
}

describe.each(ENGINES)("%s", (name, open) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await open();
  });
  afterAll(() => engine?.close());

  test("a page without isolation headers, with the package's files, runs on one thread, gives the reason, and reaches the known bits", async () => {
    const { value, errors } = await engine.visit<Result>(`${files.address}files.html`, `run(${TWO})`);
    expectKnown(value);
    expect(value).toMatchObject({
      threads: 1,
      reason: expect.stringMatching(/^the page is not cross-origin isolated: serve it with/),
    });
    expect(errors).toEqual([]);
    const fast = await engine.visit<Result>(`${files.address}files.html`, "run({})");
    expect(fast.errors).toEqual([]);
    // JavaScriptCore does not enable relaxed SIMD by default yet. Once it does, nabla uses the relaxed build.
    recordResult(
      name,
      engine.version,
      `${expectLearned(fast.value, name === "WebKitGTK" ? undefined : "relaxed")}, a page`,
    );
  });

  test("a worker in a page trains to the known bits", async () => {
    const { value, errors } = await engine.visit<Result>(bundled.address, `runInWorker(${TWO})`);
    expectKnown(value);
    expect(value.threads).toBe(1);
    expect(errors).toEqual([]);
    recordResult(name, engine.version, "a web worker");
  });

  test(`a page with the policy "${POLICY}" trains to the known bits`, async () => {
    const { value, errors } = await engine.visit<[boolean, Result]>(
      strict.address,
      `run(${TWO}).then((result) => [canEvaluate, result])`,
    );
    const [canEvaluate, result] = value;
    expect(canEvaluate, "the policy is in force").toBe(false);
    expectKnown(result);
    expect(errors.filter((error) => !/Content.Security.Policy/i.test(error))).toEqual([]);
    recordResult(name, engine.version, "a strict CSP");
  });
});
