/** Pages in real browsers: a static server for a folder, and headless Chromium or Firefox, both driven by puppeteer. */
import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import puppeteer, { type Browser, type Page, WebWorkerEvent } from "puppeteer-core";
import { findChromium, findFirefox } from "../../tools/browsers.mjs";

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".svg": "image/svg+xml",
  ".woff2": "font/woff2",
};

export interface Served {
  /** The URL of the folder, with a slash at the end. */
  readonly address: string;
  /** Paths that are answered with 404 even if their files exist. */
  missing: RegExp | undefined;
  /** Paths whose responses wait until the promise resolves. */
  slow: { readonly paths: RegExp; readonly until: Promise<unknown> } | undefined;
  /** Additional headers for every response. */
  headers: Readonly<Record<string, string>>;
  /** The paths requested so far. */
  readonly asked: string[];
  close(): void;
}

/** The headers that a page needs to share memory with its workers. */
const ISOLATION: Readonly<Record<string, string>> = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

/**
 * Serves a folder under a path that is not the root, as many hosts do. The browser caches nothing.
 * @param isolated whether pages are cross-origin isolated, which allows shared memory
 */
export async function serve(folder: string, { isolated = false, path = "/lab/" } = {}): Promise<Served> {
  const served: Served = {
    address: "",
    missing: undefined,
    slow: undefined,
    headers: isolated ? ISOLATION : {},
    asked: [],
    close: () => void server.close(),
  };
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url!, "http://localhost");
    const file = join(folder, pathname.slice(path.length - 1).replace(/\/$/, "/index.html"));
    response.setHeader("cache-control", "no-store");
    served.asked.push(pathname);
    for (const [name, value] of Object.entries(served.headers)) response.setHeader(name, value);
    if (served.missing?.test(pathname) || !pathname.startsWith(path) || !existsSync(file) || !statSync(file).isFile())
      return void response.writeHead(404).end();
    if (served.slow?.paths.test(pathname)) await served.slow.until;
    response.setHeader("content-type", TYPES[extname(file)] ?? "application/octet-stream");
    createReadStream(file).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return Object.assign(served, { address: `http://127.0.0.1:${port}${path}` });
}

/**
 * An error to ignore: Firefox reports a formula as invalid if it lays out the page before the whole formula has arrived. The formula
 * tests count the children of every element in the complete page.
 */
const PARTIAL_FORMULA = /Invalid markup: Incorrect number of children for <m\w+\/> tag/;

export const BROWSERS = ["chrome", "firefox"] as const;
export type BrowserName = (typeof BROWSERS)[number];

/** @throws Error if the browser is not installed */
export async function launch(browser: BrowserName): Promise<Browser> {
  const executablePath = browser === "chrome" ? findChromium() : findFirefox();
  if (!executablePath) throw new Error(`${browser} is not installed. Run node tools/browsers.mjs.`);
  const args = browser === "chrome" ? ["--no-sandbox", "--disable-gpu", "--disable-background-networking"] : [];
  return puppeteer.launch({ browser, executablePath, args, headless: true, protocolTimeout: 120_000 });
}

/** Collects errors from a page and its workers: exceptions, console errors, failed requests, and requests to other servers. */
export function watchErrors(page: Page, address: string): string[] {
  const errors: string[] = [];
  page.on("pageerror", (error) => PARTIAL_FORMULA.test(String(error)) || errors.push(String(error)));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  // Terminating a worker aborts its requests, which is not an error.
  page.on("requestfailed", (request) => {
    const why = request.failure()?.errorText ?? "";
    if (!/abort/i.test(why)) errors.push(`${request.url()} failed: ${why}`);
  });
  page.on("response", (response) => {
    if (response.status() >= 400) errors.push(`${response.url()}: ${response.status()}`);
  });
  page.on("workercreated", (worker) => {
    worker.on(WebWorkerEvent.Error, (error) => errors.push(`worker: ${error}`));
    worker.on(WebWorkerEvent.Console, (message) => {
      if (message.type() === "error") errors.push(`worker: ${message.text()}`);
    });
  });
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(address) && !/^(data|blob|about):/.test(url)) errors.push(`requested ${url}`);
  });
  return errors;
}
