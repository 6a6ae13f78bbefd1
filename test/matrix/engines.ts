/** One interface to three browser engines: Chromium and Firefox through puppeteer, WebKitGTK through WebDriver. */
import { type ChildProcess, spawn } from "node:child_process";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { setTimeout } from "node:timers/promises";
import { findWebKit } from "../../tools/browsers.mjs";
import { type BrowserName, launch, watchErrors } from "../support/pages.ts";

export interface Engine {
  readonly version: string;
  /**
   * Opens the page at `url`, waits until `run` is defined, evaluates an expression there and awaits its value. `errors` are the errors on
   * the page, if the engine reports them.
   */
  visit<T>(url: string, expression: string): Promise<{ value: T; errors: string[] }>;
  close(): Promise<void>;
}

export async function openPuppeteer(name: BrowserName): Promise<Engine> {
  const browser = await launch(name);
  return {
    version: (await browser.version()).replace(/^\D*/, ""),
    async visit<T>(url: string, expression: string) {
      const tab = await browser.newPage();
      try {
        const errors = watchErrors(tab, new URL("/", url).href);
        await tab.goto(url);
        await tab.waitForFunction("globalThis.run");
        return { value: (await tab.evaluate(expression)) as T, errors };
      } finally {
        await tab.close();
      }
    },
    close: () => browser.close(),
  };
}

/** A free port. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Starts a virtual screen, which WebKitGTK needs. Returns its process and its name. */
async function openScreen(): Promise<{ screen: ChildProcess; name: string }> {
  const screen = spawn("Xvfb", ["-displayfd", "1", "-nolisten", "tcp"], { stdio: ["ignore", "pipe", "ignore"] });
  const name = await new Promise<string>((resolve, reject) => {
    screen.stdout!.once("data", (text) => resolve(`:${String(text).trim()}`));
    screen.once("error", reject);
    screen.once("exit", () => reject(new Error("Xvfb exited.")));
  });
  return { screen, name };
}

export async function openWebKit(): Promise<Engine> {
  const { screen, name } = await openScreen();
  const port = await freePort();
  const env = { ...process.env, DISPLAY: name, GDK_BACKEND: "x11", LIBGL_ALWAYS_SOFTWARE: "1" };
  const driver = spawn(findWebKit()!, [`--port=${port}`], { env, stdio: "ignore" });
  const end = (): void => {
    driver.kill();
    screen.kill();
  };
  const call = async <T>(method: string, path: string, body?: object): Promise<T> => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      ...(body && { body: JSON.stringify(body) }),
    });
    const { value } = (await answer.json()) as { value: T & { error?: string; message?: string } };
    if (!answer.ok) throw new Error(`WebDriver ${path}: ${value.error}: ${value.message}`);
    return value;
  };
  try {
    for (let tries = 0; ; tries++) {
      const isUp = await call("GET", "/status").then(
        () => true,
        () => false,
      );
      if (isUp) break;
      if (tries === 100) throw new Error("WebKitWebDriver did not respond within 10 s.");
      await setTimeout(100);
    }
    const { sessionId, capabilities } = await call<{ sessionId: string; capabilities: { browserVersion: string } }>(
      "POST",
      "/session",
      { capabilities: {} },
    );
    const session = `/session/${sessionId}`;
    await call("POST", `${session}/timeouts`, { script: 60_000 });
    return {
      version: capabilities.browserVersion,
      async visit<T>(url: string, expression: string) {
        await call("POST", `${session}/url`, { url });
        const script = `const [done] = arguments;
          const ready = () => (globalThis.run ? Promise.resolve() : new Promise((f) => setTimeout(f, 20)).then(ready));
          ready().then(() => ${expression}).then((value) => done({ value }), (error) => done({ error: String(error) }));`;
        const { value, error } = await call<{ value: T; error?: string }>("POST", `${session}/execute/async`, {
          script,
          args: [],
        });
        if (error) throw new Error(error);
        return { value, errors: [] };
      },
      async close() {
        await call("DELETE", session);
        end();
      },
    };
  } catch (error) {
    end();
    throw error;
  }
}
