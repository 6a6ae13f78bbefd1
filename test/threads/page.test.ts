/** The thread pool on pages in Chromium and Firefox, loaded from dist: with and without isolation, worker files and content policies. */
import type { Browser } from "puppeteer-core";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { BROWSERS, launch, type Served, serve, watchErrors } from "../support/pages.ts";

const WORKER = "/lab/dist/src/runtime/threads/nabla-worker.js";
const CSP = "content-security-policy";

interface Report {
  threads: number;
  reason: string;
  right: boolean;
  loss: number;
  helped: boolean;
  loses?: { error: string; right: boolean; recovered: boolean; started: number; reason: string };
}

let plain: Served;
let isolated: Served;
beforeAll(async () => {
  plain = await serve(".");
  isolated = await serve(".", { isolated: true });
});
afterAll(() => {
  plain?.close();
  isolated?.close();
});

describe.each(BROWSERS)("%s", (name) => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launch(name);
  }, 60_000);
  afterAll(() => browser?.close());
  beforeEach(() => {
    for (const site of [plain, isolated]) site.asked.length = 0;
  });

  interface Visit {
    reports: Report[];
    errors: string[];
    asked: number;
    cores: number;
  }

  /**
   * The reports of a page or its worker, and all errors. On a busy machine, about one in eight Firefox workers that start a worker freezes
   * forever. In that case, the page is visited a second time, with a warning.
   */
  async function visit(site: Served, options: Parameters<typeof visitOnce>[1] = {}): Promise<Visit> {
    if (name !== "firefox" || !options.worker) return visitOnce(site, options);
    const late = new Promise<undefined>((silent) => setTimeout(silent, 45_000));
    const first = await Promise.race([visitOnce(site, options), late]);
    if (first) return first;
    console.warn("A Firefox worker reported nothing for 45 s. The page is visited again.");
    site.asked.length = 0;
    return visitOnce(site, options);
  }
  async function visitOnce(
    site: Served,
    { threads = 2 as number | "auto", times = 1, worker = false, lost = false } = {},
  ): Promise<Visit> {
    const tab = await browser.newPage();
    try {
      const errors = watchErrors(tab, site.address);
      await tab.goto(`${site.address}test/threads/scenarios/page.html`);
      await tab.waitForFunction("globalThis.run");
      const options = JSON.stringify({ threads, times, lost });
      const reports = (await tab.evaluate(`${worker ? "runInWorker" : "run"}(${options})`)) as Report[];
      const cores = (await tab.evaluate("navigator.hardwareConcurrency")) as number;
      return { reports, errors, asked: site.asked.filter((path) => path === WORKER).length, cores };
    } finally {
      await tab.close();
    }
  }

  function expectTrained({ right, loss }: Report): void {
    expect(right).toBe(true);
    expect(loss).toBeLessThan(0.1);
  }

  test("a page that is not cross-origin isolated trains on one thread and names the missing headers", async () => {
    const { reports, errors, asked } = await visit(plain);
    expect(reports).toHaveLength(1);
    expectTrained(reports[0]!);
    expect(reports[0]).toMatchObject({ threads: 1, helped: false });
    expect(reports[0]!.reason).toMatch(
      /Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp/,
    );
    expect({ errors, asked }).toEqual({ errors: [], asked: 0 });
  });

  test.each([
    ["on its main thread", false],
    ["in a worker", true],
  ])(
    "a cross-origin isolated page trains on two threads %s on each of three runs, and loads the worker's file",
    async (_, worker) => {
      const { reports, errors, asked } = await visit(isolated, { times: 3, worker });
      expect(reports).toHaveLength(3);
      for (const report of reports) {
        expectTrained(report);
        expect(report).toMatchObject({ threads: 2, helped: true, reason: expect.stringMatching(/^as requested, /) });
      }
      expect({ errors, asked }).toEqual({ errors: [], asked: 3 });
    },
  );

  test.each([
    ["on its main thread", false],
    ["in a worker", true],
  ])("a worker that fails during a call, %s, causes a ThreadError and is replaced", async (_, worker) => {
    const { reports, errors } = await visit(isolated, { worker, lost: true });
    const { error, reason, ...rest } = reports[0]!.loses!;
    expect(error).toMatch(/^ThreadError: a worker died during this call, .*Reload parameters/);
    expect(reason).toMatch(/; a worker died during a program$/);
    expect(rest).toEqual({ right: true, recovered: true, started: 1 });
    expect(errors).toEqual([]);
  });

  test('threads: "auto" uses one thread per core, at most eight', async () => {
    const { reports, errors, cores } = await visit(isolated, { threads: "auto" });
    expectTrained(reports[0]!);
    expect(reports[0]!.threads).toBe(Math.min(cores, 8));
    expect(errors).toEqual([]);
  });

  test.each([
    ["on its main thread", false],
    ["in a worker", true],
  ])("if the worker's file is missing, its inlined source is used, %s", async (_, worker) => {
    isolated.missing = /runtime\/threads\/nabla-worker\.js$/;
    try {
      const { reports, errors, asked } = await visit(isolated, { worker });
      expectTrained(reports[0]!);
      expect(reports[0]).toMatchObject({ threads: 2, helped: true });
      expect(asked).toBe(1);
      expect(errors.filter((error) => !/worker\.js|status of 404/.test(error))).toEqual([]);
    } finally {
      isolated.missing = undefined;
    }
  });

  describe("under a content security policy", () => {
    async function under(policy: string): ReturnType<typeof visit> {
      const { headers } = isolated;
      isolated.headers = { ...headers, [CSP]: policy };
      try {
        return await visit(isolated);
      } finally {
        isolated.headers = headers;
      }
    }

    test("that allows only the site's files, nabla runs on two threads", async () => {
      const { reports, errors, asked } = await under("script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'");
      expectTrained(reports[0]!);
      expect(reports[0]).toMatchObject({ threads: 2, helped: true });
      expect({ errors, asked }).toEqual({ errors: [], asked: 1 });
    });

    test("that allows no workers, nabla runs on one thread and gives the reason", async () => {
      const { reports, errors, asked } = await under("script-src 'self' 'wasm-unsafe-eval'; worker-src 'none'");
      expectTrained(reports[0]!);
      expect(reports[0]).toMatchObject({ threads: 1, helped: false });
      expect(reports[0]!.reason).toMatch(/^a worker could not be started: ./);
      expect(asked).toBe(0);
      expect(
        errors.filter((error) => !/worker-src|Content Security Policy|Content-Security-Policy/.test(error)),
      ).toEqual([]);
    });
  });
});
