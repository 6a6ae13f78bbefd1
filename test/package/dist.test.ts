/** The built package where people run it: every living Node, and pages of Chromium and Firefox. All train the same small network. */
import { execFileSync } from "node:child_process";
import { createReadStream, existsSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import type { Browser } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BROWSERS, launch } from "../support/pages.ts";

interface Result {
  build: string;
  loss: number;
  hash: string;
}

/** Trains in a Node of the given major version, from the registry. */
function inNode(major: number, options: object): Result {
  const args = ["test/package/fingerprint.mjs", JSON.stringify(options)];
  const own = Number.parseInt(process.versions.node, 10) === major;
  const output = own
    ? execFileSync(process.execPath, args, { encoding: "utf8" })
    : execFileSync("npx", ["-y", `node@${major}`, ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  return JSON.parse(output.trim().split("\n").at(-1)!) as Result;
}

const reference = inNode(Number.parseInt(process.versions.node, 10), { deterministic: true });

test("the network learns", () => {
  expect(reference.build).toBe("simd");
  expect(reference.loss).toBeLessThan(0.2);
});

describe("Node", () => {
  for (const major of [20, 22, 24]) {
    test(`Node ${major}: the deterministic build gives the same bits`, () => {
      expect(inNode(major, { deterministic: true })).toEqual(reference);
    });
    test(`Node ${major}: the default build is ${major < 22 ? "simd" : "relaxed"}, and learns as well`, () => {
      const { build, loss } = inNode(major, {});
      expect(build).toBe(major < 22 ? "simd" : "relaxed");
      expect(loss).toBeCloseTo(reference.loss, 1);
    });
  }
});

describe.each(BROWSERS)("%s", (name) => {
  let browser: Browser;
  let server: Server;
  const types: Record<string, string> = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript" };
  const page = `<!doctype html><script type="importmap">
    {"imports": {"nabla": "/dist/src/index.js", "@assemblyscript/loader": "/node_modules/@assemblyscript/loader/index.js"}}
  </script>`;

  beforeAll(async () => {
    server = createServer((request, response) => {
      const path = join(process.cwd(), new URL(request.url!, "http://localhost").pathname);
      response.setHeader("content-type", types[extname(path)] ?? "text/html");
      if (request.url === "/") response.end(page);
      else if (existsSync(path)) createReadStream(path).pipe(response);
      else response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    browser = await launch(name);
  });
  afterAll(async () => {
    await browser?.close();
    server?.close();
  });

  /** Trains on a page's main thread, from the files of dist as they are. */
  async function inPage(options: object): Promise<Result> {
    const tab = await browser.newPage();
    const errors: string[] = [];
    tab.on("pageerror", (error) => errors.push(String(error)));
    await tab.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    // As text: the test runner would rewrite an import() in a function.
    const result = (await tab.evaluate(`(async () => {
      const { fingerprint } = await import("/test/package/fingerprint.mjs");
      return fingerprint(await import("nabla"), ${JSON.stringify(options)});
    })()`)) as Result;
    expect(errors).toEqual([]);
    await tab.close();
    return result;
  }

  test("a page trains on its main thread; the deterministic build gives Node's bits", async () => {
    expect(await inPage({ deterministic: true })).toEqual(reference);
  });
  test("a page uses the relaxed build by itself", async () => {
    const { build, loss } = await inPage({});
    expect(build).toBe("relaxed");
    expect(loss).toBeCloseTo(reference.loss, 1);
  });
});

describe("the package", () => {
  const manifest = JSON.parse(readFileSync("package.json", "utf8")) as Record<
    string,
    Record<string, Record<string, string>>
  >;
  test("every file that exports promises is there, types included", () => {
    for (const entry of [".", "./gradients"])
      for (const path of Object.values(manifest.exports![entry]!)) expect(existsSync(path), path).toBe(true);
  });
  test("the core depends on nothing", () => {
    expect(manifest.dependencies).toBeUndefined();
  });
  test("init refuses what cannot run, before anything starts", () => {
    const script = `import { init, tensor } from "nabla";
      const messages = [];
      for (const options of [{ build: "relaxed", deterministic: true }, { memoryLimit: 10 }]) await init(options).catch((e) => messages.push(e.message));
      await init({ memoryLimit: 1 << 20 });
      try { tensor(new Float32Array(1 << 20)); } catch (e) { messages.push(e.name); }
      console.log(JSON.stringify([...messages, tensor([1]).item()]));`;
    const output = execFileSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
    expect(JSON.parse(output)).toEqual([
      'init: build "relaxed" is not deterministic. Leave out one of { build, deterministic }.',
      "init: memoryLimit is 10, but must be at least 65536 bytes.",
      "OutOfMemoryError",
      1,
    ]);
  });
});
