/** `npx nabla` beside the lab: info, mnist, bench and serve, their help, exit codes and shutdown. Needs the build in dist/. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Agent, get } from "node:http";
import { join, resolve } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
  readonly errors: string;
}

/** A command that runs, with no terminal. */
class Running {
  readonly child: ChildProcess;
  output = "";
  errors = "";
  readonly ended: Promise<Ended>;
  constructor(args: readonly string[], env: Record<string, string> = {}) {
    this.child = spawn(process.execPath, ["dist/lab/cli.js", ...args], { env: { ...process.env, ...env } });
    this.child.stdout!.setEncoding("utf8").on("data", (text: string) => void (this.output += text));
    this.child.stderr!.setEncoding("utf8").on("data", (text: string) => void (this.errors += text));
    this.ended = new Promise((done, failed) => {
      this.child
        .on("error", failed)
        .on("close", (code, signal) => done({ code, signal, output: this.output, errors: this.errors }));
    });
  }
  /** Waits for what it prints. */
  async prints(pattern: RegExp): Promise<RegExpExecArray> {
    for (let i = 0; i < 1000; i++) {
      const found = pattern.exec(this.output);
      if (found) return found;
      if (this.child.exitCode !== null) break;
      await new Promise((wait) => setTimeout(wait, 20));
    }
    throw new Error(`it did not print ${pattern}: ${this.output} ${this.errors}`);
  }
}
const nabla = (...args: string[]): Promise<Ended> => new Running(args).ended;

describe("help", () => {
  test.each([
    [[], /info .*mnist .*bench .*lab .*serve /s],
    [["info"], /--threads <n> .*--json/s],
    [["mnist"], /--epochs <n> .*--data <dir>/s],
    [["bench"], /--rounds <count>/],
    [["lab"], /gradient-flow/],
    [["serve"], /<?model>?.*--port <n>.*--token <token>.*SIGTERM/s],
  ])("nabla %j --help", async (args, shown) => {
    const { code, output, errors } = await nabla(...args, "--help");
    expect({ code, errors }).toEqual({ code: 0, errors: "" });
    expect(output).toMatch(shown);
    expect(output).not.toContain("\x1b");
  });
});

test.each([
  [["nonsense"], /unknown command 'nonsense'/],
  [["info", "--threads", "0"], /whole number from 1 to 64/],
  [["info", "more"], /too many arguments/],
  [["mnist", "--epochs", "-1"], /whole number of 0 or more/],
  [["bench", "nonsense"], /Allowed choices are matmul/],
  [["serve"], /missing required argument 'model'/],
  [["serve", "x.mjs", "--port", "70000"], /whole number from 0 to 65535/],
  [["serve", "/nonexistent.mjs"], /^nabla: \/nonexistent\.mjs cannot be loaded: Cannot find module/],
])("%j: exit code 1, and what is wrong", async (args, wrong) => {
  const { code, output, errors } = await nabla(...args);
  expect(code).toBe(1);
  expect(errors).toMatch(wrong);
  expect(output + errors).not.toContain("\x1b");
  expect(errors).not.toMatch(/\n {4}at /);
});

describe("info", () => {
  test("says which build runs, on how many threads, and why", async () => {
    const { code, output } = await nabla("info", "--threads", "2");
    expect(code).toBe(0);
    expect(output).toMatch(
      /^nabla {9}\d+\.\d+\.\d+\nruntime {7}node v\d+.*\nthreads {7}2: as asked for, with \d+ cores/s,
    );
    expect(output).not.toContain("\x1b");
  });
  test("--json is JSON and nothing else", async () => {
    const { output } = await nabla("info", "--threads", "1", "--json");
    expect(JSON.parse(output)).toMatchObject({ simd: true, threads: 1, reason: "as asked for" });
  });
});

test("mnist learns from the digits that come along", async () => {
  const { code, output } = await nabla("mnist", "--epochs", "3");
  expect(code).toBe(0);
  expect(output).toContain("6,000 digits to learn, 1,000 to test");
  expect(Number(/Test accuracy ([\d.]+)%/.exec(output)?.[1])).toBeGreaterThan(90);
  expect(output).not.toContain("\x1b");
}, 60_000);

test("whoever reads mnist's output may stop early", async () => {
  const running = new Running(["mnist", "--epochs", "2"]);
  running.child.stdout!.once("data", () => running.child.stdout!.destroy());
  const { errors } = await running.ended;
  expect(errors).toBe("");
}, 60_000);

test("bench measures", async () => {
  const { code, output } = await nabla("bench", "elementwise", "--rounds", "1", "--json");
  expect(code).toBe(0);
  expect(JSON.parse(output)[0]).toMatchObject({ suite: "elementwise" });
}, 60_000);

describe("serve", () => {
  let folder: string;
  const files: Record<string, string> = {
    "options.mjs": `
      import { nn, ones } from "nabla";
      const model = new nn.Linear(2, 1);
      model.loadStateDict({ weight: ones([1, 2]), bias: ones([1]) });
      export default { name: "sum", load: () => model, input: { shape: [null, 2] } };`,
    "handler.mjs": `export default async (request) => new Response("handled " + new URL(request.url).pathname);`,
    "fetch.mjs": `
      export default { fetch: async () => { await new Promise((wait) => setTimeout(wait, 700)); return new Response("late"); } };`,
    "broken.mjs": `
      export default { load: () => { throw new Error("no weights there"); }, input: { shape: [null, 2] }, onError: ({ message }) => console.error(message) };`,
    "slow-load.mjs": `
      const load = async () => { await new Promise((wait) => setTimeout(wait, 1000)); return (x) => x.sum(-1, { keepdim: true }); };
      export default { load, input: { shape: [null, 2] }, limits: { milliseconds: 100 } };`,
    "lost.mjs": `export default { path: "/v1/../x", load: () => (x) => x, input: { shape: [null, 2] } };`,
    "nothing.mjs": "export const model = 3;",
    "own.mjs": "export default { load: () => (x) => x, input: { shape: [null, 2] }, authorize: () => true };",
    "syntax.mjs": "\nexport default { load: ;",
    "text.mjs": `throw "no error, a text";`,
    "input.mjs": "export default { load: () => (x) => x };",
    "busy.mjs": `
      setInterval(() => {}, 1000);
      export default async () => { await new Promise((wait) => setTimeout(wait, 100)); return new Response("late"); };`,
    "endless.mjs": `
      export default async () => { await new Promise((wait) => setTimeout(wait, 60_000)); return new Response("never"); };`,
    "throws.mjs": `throw new Error("no weights here");`,
  };
  beforeAll(() => {
    // Within the checkout: there "nabla" is known by its own name.
    folder = mkdtempSync(resolve("build/serve-"));
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const started: Running[] = [];
  afterEach(() => {
    for (const { child } of started.splice(0)) child.kill("SIGKILL");
  });
  async function serve(name: string, args: string[] = [], env = {}): Promise<{ server: Running; url: string }> {
    const server = new Running(["serve", join(folder, name), "--port", "0", ...args], env);
    started.push(server);
    const [, url] = await server.prints(/^Serving .* at (http:\S+)$/m);
    return { server, url: url! };
  }
  const infer = (url: string, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: '{"inputs":[[1,2],[3,4]]}',
    });

  test("options: the model answers, and SIGTERM ends it with 0", async () => {
    const { server, url } = await serve("options.mjs");
    const response = await infer(url);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ outputs: [[4], [8]] });
    expect((await fetch(`${url}/health`)).status).toBe(200);
    expect(await (await fetch(`${url}/metadata`)).json()).toMatchObject({ name: "sum" });
    server.child.kill("SIGTERM");
    expect(await server.ended).toMatchObject({ code: 0, signal: null, errors: "" });
  });
  test.each([
    [["--token", "secret"], {}],
    [["--token", "secret"], { NABLA_TOKEN: "other" }],
    [[], { NABLA_TOKEN: "secret" }],
  ])("with a token %j %j only its bearer is answered", async (args, env) => {
    const { url } = await serve("options.mjs", args, env);
    expect((await infer(url)).status).toBe(401);
    expect((await infer(url, { authorization: "Bearer wrong" })).status).toBe(403);
    expect((await infer(url, { authorization: "Bearer secret" })).status).toBe(200);
  });
  test("a handler", async () => {
    const { url } = await serve("handler.mjs");
    expect(await (await fetch(`${url}/a/b`)).text()).toBe("handled /a/b");
  });
  test("requests under way end before the server does", async () => {
    const { server, url } = await serve("fetch.mjs");
    const late = fetch(url);
    await new Promise((wait) => setTimeout(wait, 200));
    server.child.kill("SIGINT");
    expect(await (await late).text()).toBe("late");
    expect(await server.ended).toMatchObject({ code: 0, signal: null });
    await expect(fetch(url)).rejects.toThrow();
  });
  test("clients that keep their connections are told to close them: the server ends with its requests, whatever the model waits for", async () => {
    const { server, url } = await serve("busy.mjs");
    const agent = new Agent({ keepAlive: true });
    const ask = (): Promise<string> =>
      new Promise((answered, failed) => {
        get(url, { agent }, (response) => {
          response.resume().on("end", () => answered(response.headers.connection ?? ""));
        }).on("error", failed);
      });
    expect(await ask()).toBe("keep-alive");
    const last = ask();
    await new Promise((wait) => setTimeout(wait, 30));
    const told = performance.now();
    server.child.kill("SIGTERM");
    expect(await last).toMatch(/keep-alive|close/);
    expect(await server.ended).toMatchObject({ code: 0, signal: null });
    // Node would keep idle connections for five seconds.
    expect(performance.now() - told).toBeLessThan(3000);
    agent.destroy();
  });
  test("requests that take longer than --grace are cut off", async () => {
    const { server, url } = await serve("endless.mjs", ["--grace", "1"]);
    const cut = fetch(url).catch(() => "cut off");
    await new Promise((wait) => setTimeout(wait, 200));
    server.child.kill("SIGTERM");
    expect(await server.ended).toMatchObject({ code: 0, signal: null });
    expect(await cut).toBe("cut off");
  });
  test("a second signal ends it at once", async () => {
    const { server, url } = await serve("fetch.mjs");
    const late = fetch(url).catch(() => "broken off");
    await new Promise((wait) => setTimeout(wait, 200));
    server.child.kill("SIGTERM");
    await new Promise((wait) => setTimeout(wait, 100));
    server.child.kill("SIGTERM");
    expect(await server.ended).toMatchObject({ signal: "SIGTERM" });
    expect(await late).toBe("broken off");
  });
  test.each([
    ["nothing.mjs", [], /has no default export that can be served/],
    ["throws.mjs", [], /^nabla: \S+throws\.mjs cannot be loaded: no weights here$/m],
    ["broken.mjs", [], /^no weights there\nnabla: \S+: the model could not be loaded\.$/m],
    ["handler.mjs", ["--token", "x"], /a handler has its own \{ authorize \}/],
    ["own.mjs", ["--token", "x"], /has an authorize of its own/],
    ["syntax.mjs", [], /syntax\.mjs cannot be loaded: .*\. `node \S+syntax\.mjs` shows where$/m],
    ["text.mjs", [], /^nabla: \S+text\.mjs cannot be loaded: no error, a text$/m],
    ["lost.mjs", [], /^nabla: \S+lost\.mjs: its own path, \S+\/health, cannot be reached/m],
    ["input.mjs", [], /^nabla: \S+input\.mjs: inferenceHandler: input: must be an object/m],
  ])("%s %j is refused", async (name, args, why) => {
    const { code, errors } = await nabla("serve", join(folder, name), "--port", "0", ...args);
    expect(code).toBe(1);
    expect(errors).toMatch(why);
  });
  test("a model may take longer to load than a request may take", async () => {
    const { url } = await serve("slow-load.mjs");
    expect(await (await infer(url)).json()).toMatchObject({ outputs: [[3], [7]] });
  });
  test("a port that is taken is an error", async () => {
    const { url } = await serve("handler.mjs");
    const { code, errors } = await nabla("serve", join(folder, "handler.mjs"), "--port", new URL(url).port);
    expect(code).toBe(1);
    expect(errors).toMatch(/^nabla: listen EADDRINUSE/);
  });
});
