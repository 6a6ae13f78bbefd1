/** `npx nabla serve`: models, handlers, tokens, options, signals and errors. Needs the build in dist/. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Agent, get } from "node:http";
import { connect } from "node:net";
import { join, resolve } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { nabla, Running } from "./running.ts";

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
    "text.mjs": `throw "not an error, a string";`,
    "input.mjs": "export default { load: () => (x) => x };",
    "busy.mjs": `
      setInterval(() => {}, 1000);
      export default async () => { await new Promise((wait) => setTimeout(wait, 100)); return new Response("late"); };`,
    "endless.mjs": `
      export default async () => { await new Promise((wait) => setTimeout(wait, 60_000)); return new Response("never"); };`,
    "pid.mjs": `
      console.log("pid " + process.pid);
      export default { load: () => (x) => x, input: { shape: [null, 2] } };`,
    "never.mjs": `
      export default { load: () => { console.log("loading"); return new Promise(() => setInterval(() => {}, 1000)); }, input: { shape: [null, 2] } };`,
    "throws.mjs": `throw new Error("no weights here");`,
  };
  beforeAll(() => {
    // The folder is in the checkout, so that `import "nabla"` works.
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

  test("serves exported options, and exits with 0 on SIGTERM", async () => {
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
  ])("with a token %j %j, only clients with the token are served", async (args, env) => {
    const { url } = await serve("options.mjs", args, env);
    expect((await infer(url)).status).toBe(401);
    expect((await infer(url, { authorization: "Bearer wrong" })).status).toBe(403);
    expect((await infer(url, { authorization: "Bearer secret" })).status).toBe(200);
  });
  test("serves an exported handler", async () => {
    const { url } = await serve("handler.mjs");
    expect(await (await fetch(`${url}/a/b`)).text()).toBe("handled /a/b");
  });
  test("finishes running requests before it exits", async () => {
    const { server, url } = await serve("fetch.mjs");
    const late = fetch(url);
    await new Promise((wait) => setTimeout(wait, 200));
    server.child.kill("SIGINT");
    expect(await (await late).text()).toBe("late");
    expect(await server.ended).toMatchObject({ code: 0, signal: null });
    await expect(fetch(url)).rejects.toThrow();
  });
  test("closes keep-alive connections and exits after its last request, even if the model has open timers", async () => {
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
    const signaled = performance.now();
    server.child.kill("SIGTERM");
    expect(await last).toMatch(/keep-alive|close/);
    expect(await server.ended).toMatchObject({ code: 0, signal: null });
    // By default, Node keeps idle connections open for five seconds.
    expect(performance.now() - signaled).toBeLessThan(3000);
    agent.destroy();
  });
  test("aborts requests that take longer than --grace", async () => {
    const { server, url } = await serve("endless.mjs", ["--grace", "1"]);
    const cut = fetch(url).catch(() => "cut off");
    await new Promise((wait) => setTimeout(wait, 200));
    server.child.kill("SIGTERM");
    expect(await server.ended).toMatchObject({ code: 0, signal: null });
    expect(await cut).toBe("cut off");
  });
  test("exits immediately on a second signal", async () => {
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
    ["throws.mjs", [], /^nabla: cannot load \S+throws\.mjs: no weights here$/m],
    ["broken.mjs", [], /^no weights there\nnabla: \S+: the model could not be loaded\.$/m],
    ["handler.mjs", ["--token", "x"], /--token, --token-file and NABLA_TOKEN have no effect on an exported handler/],
    ["own.mjs", ["--token", "x"], /has its own token or authorize option\. Remove --token/],
    ["syntax.mjs", [], /cannot load \S+syntax\.mjs: .*\. Run `node \S+syntax\.mjs` to see where$/m],
    ["text.mjs", [], /^nabla: cannot load \S+text\.mjs: not an error, a string$/m],
    ["lost.mjs", [], /^nabla: \S+lost\.mjs: \S+\/health answered with status 404\. Check the path option/m],
    ["input.mjs", [], /^nabla: \S+input\.mjs: inferenceHandler: input must be an object/m],
  ])("rejects %s %j", async (name, args, why) => {
    const { code, errors } = await nabla("serve", join(folder, name), "--port", "0", ...args);
    expect(code).toBe(1);
    expect(errors).toMatch(why);
  });
  test("a model may take longer to load than the time limit of a request", async () => {
    const { url } = await serve("slow-load.mjs");
    expect(await (await infer(url)).json()).toMatchObject({ outputs: [[3], [7]] });
  });
  test("exits with 1 if the port is in use", async () => {
    const { url } = await serve("handler.mjs");
    const { code, errors } = await nabla("serve", join(folder, "handler.mjs"), "--port", new URL(url).port);
    expect(code).toBe(1);
    expect(errors).toMatch(/^nabla: listen EADDRINUSE/);
  });

  test.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)("exits with 0 on %s", async (signal) => {
    const { server } = await serve("options.mjs");
    server.child.kill(signal);
    expect(await server.ended).toMatchObject({ code: 0, signal: null, errors: "" });
  });
  test("exits with 0 immediately on a signal while the model loads", async () => {
    const server = new Running(["serve", join(folder, "never.mjs"), "--port", "0"]);
    started.push(server);
    await server.prints(/loading/);
    server.child.kill("SIGTERM");
    expect(await server.ended).toMatchObject({ code: 0, signal: null });
  });
  describe("if a parent process ends without forwarding a signal", () => {
    /** Whether a process is running. */
    const isAlive = (pid: number): boolean => {
      try {
        process.kill(pid, 0);
        return true;
      } catch {
        return false;
      }
    };
    async function ends(pid: number, milliseconds: number): Promise<boolean> {
      for (
        const began = Date.now();
        Date.now() - began < milliseconds;
        await new Promise((wait) => setTimeout(wait, 50))
      )
        if (!isAlive(pid)) return true;
      return false;
    }
    /** Starts a shell that runs the server, as npm does, and waits for both. */
    async function start(command: string, args: readonly string[], env = {}) {
      const parent: ChildProcess = spawn(command, args, { env: { ...process.env, ...env } });
      let output = "";
      parent.stdout!.setEncoding("utf8").on("data", (text: string) => void (output += text));
      for (let i = 0; i < 1000 && !/pid \d+[\s\S]*Serving/.test(output); i++)
        await new Promise((wait) => setTimeout(wait, 20));
      const pid = Number(/pid (\d+)/.exec(output)![1]);
      return { parent, pid };
    }
    test.each(["SIGTERM", "SIGHUP", "SIGKILL"] as const)("the server stops after %s ends npx", async (signal) => {
      const args = ["--no-install", "nabla", "serve", join(folder, "pid.mjs"), "--port", "0"];
      const { parent, pid } = await start("npx", args);
      parent.kill(signal);
      expect(await ends(pid, 5000)).toBe(true);
    });
    test("the server stops after npm ends, even with two shells between them", async () => {
      const inner = `node dist/bin/nabla.js serve ${join(folder, "pid.mjs")} --port 0; true`;
      const program = `require("child_process").spawn("sh", ["-c", 'sh -c "$LINE"; true'], { stdio: "inherit" })`;
      const { parent, pid } = await start("node", ["-e", program], { npm_execpath: "npm", LINE: inner });
      parent.kill("SIGKILL");
      expect(await ends(pid, 5000)).toBe(true);
    });
    test("the server stops after a shell that npm started ends", async () => {
      const line = `node dist/bin/nabla.js serve ${join(folder, "pid.mjs")} --port 0; true`;
      const { parent, pid } = await start("sh", ["-c", line], { npm_command: "exec" });
      parent.kill("SIGTERM");
      expect(await ends(pid, 5000)).toBe(true);
    });
    test("the server continues after the user's shell ends", async () => {
      const line = `node dist/bin/nabla.js serve ${join(folder, "pid.mjs")} --port 0; true`;
      const { parent, pid } = await start("sh", ["-c", line], {
        npm_command: undefined,
        npm_execpath: undefined,
        npm_lifecycle_event: undefined,
      });
      parent.kill("SIGTERM");
      expect(await ends(pid, 1500)).toBe(false);
      process.kill(pid, "SIGKILL");
    });
  });

  describe("tokens from files", () => {
    const file = (text: string): string => {
      const path = join(folder, `token-${Math.random()}`);
      writeFileSync(path, text);
      return path;
    };
    test("--token-file and NABLA_TOKEN_FILE ignore the last line break", async () => {
      for (const [args, env] of [
        [["--token-file", file("secret\n")], { NABLA_TOKEN: "other" }],
        [[], { NABLA_TOKEN_FILE: file("secret") }],
      ] as const) {
        const { url } = await serve("options.mjs", [...args], env);
        expect((await infer(url)).status).toBe(401);
        expect((await infer(url, { authorization: "Bearer other" })).status).toBe(403);
        expect((await infer(url, { authorization: "Bearer secret" })).status).toBe(200);
      }
    });
    test.each<[string, () => string[], RegExp]>([
      [
        "a file that is empty",
        () => ["--token-file", file("\n")],
        /the token file \S+ is empty\. Write the token into the file\./,
      ],
      ["a missing file", () => ["--token-file", join(folder, "missing")], /cannot read the token file: ENOENT/],
      [
        "a file and a token",
        () => ["--token-file", file("a"), "--token", "b"],
        /--token and --token-file cannot be combined/,
      ],
      [
        "a file with two words",
        () => ["--token-file", file("a b")],
        /characters that an Authorization header cannot carry/,
      ],
    ])("%s: exits with 1", async (_, args, why) => {
      const { code, errors } = await nabla("serve", join(folder, "options.mjs"), "--port", "0", ...args());
      expect(code).toBe(1);
      expect(errors).toMatch(why);
    });
  });

  test.each([
    [["--host", "0.0.0.0"], true],
    [["--host", "::"], true],
    [["--host", "0.0.0.0", "--token", "a"], false],
    [["--host", "localhost"], false],
    [[], false],
  ])("%j: warns that everyone can use the server: %j", async (args, warns) => {
    const { server } = await serve("options.mjs", args);
    server.child.kill("SIGTERM");
    const { errors } = await server.ended;
    if (warns)
      expect(errors).toMatch(
        /^nabla: no token is set, so anyone who can reach \S+ can use this server\. Set --token-file/,
      );
    else expect(errors).toBe("");
  });

  test("--cors, --metrics, --request-ids and --access-log work for models and for handlers", async () => {
    const args = ["--cors", "https://a.example", "--metrics", "--request-ids", "--access-log"];
    for (const name of ["options.mjs", "handler.mjs"]) {
      const { server, url } = await serve(name, args);
      const response = await infer(url, { origin: "https://a.example", "x-request-id": "mine" });
      expect(response.headers.get("access-control-allow-origin")).toBe("https://a.example");
      expect(response.headers.get("x-request-id")).toBe("mine");
      expect(await (await fetch(`${url}/metrics`)).text()).toContain('method="POST",status="200"} 1');
      const line = (await server.prints(/^\{.*"id":"mine".*\}$/m))[0];
      expect(JSON.parse(line)).toMatchObject({ method: "POST", path: "/", status: 200 });
    }
  });
  test("CORS, metrics, request ids and the access log are off by default", async () => {
    const { server, url } = await serve("options.mjs");
    const response = await infer(url, { origin: "https://a.example", "x-request-id": "mine" });
    for (const name of ["access-control-allow-origin", "x-request-id", "vary"])
      expect(response.headers.get(name)).toBeNull();
    expect((await fetch(`${url}/metrics`)).status).toBe(404);
    expect(server.output).toMatch(/^Serving .*\n$/);
  });
  test("--metrics: requires the token if there is one", async () => {
    const { url } = await serve("options.mjs", ["--metrics", "--token", "secret"]);
    expect((await fetch(`${url}/metrics`)).status).toBe(401);
    expect((await fetch(`${url}/metrics`, { headers: { authorization: "Bearer secret" } })).status).toBe(200);
  });
  test("--batch: runs requests as one batch, and each gets its own response", async () => {
    const { url } = await serve("options.mjs", ["--batch", "5"]);
    const ask = async (i: number): Promise<unknown> => {
      const init = { method: "POST", headers: { "content-type": "application/json" }, body: `{"inputs":[${i},1]}` };
      return ((await (await fetch(url, init)).json()) as { outputs: unknown }).outputs;
    };
    const all = await Promise.all(Array.from({ length: 50 }, (_, i) => ask(i)));
    expect(all).toEqual(Array.from({ length: 50 }, (_, i) => [i + 2]));
    const { code, errors } = await nabla("serve", join(folder, "handler.mjs"), "--port", "0", "--batch");
    expect([code, errors]).toEqual([1, expect.stringMatching(/--batch has no effect on an exported handler/)]);
  });
  test("--max-connections: closes further connections", async () => {
    const { url } = await serve("options.mjs", ["--max-connections", "2"]);
    const port = Number(new URL(url).port);
    const sockets = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const socket = connect(port, "127.0.0.1").on("error", () => {});
        await new Promise((done) => socket.once("connect", done));
        return socket;
      }),
    );
    await new Promise((wait) => setTimeout(wait, 300));
    expect(sockets.filter(({ destroyed, readableEnded }) => destroyed || readableEnded).length).toBe(2);
    for (const socket of sockets) socket.destroy();
  });
  test("closes a connection that sends nothing or incomplete headers after 10 seconds", async () => {
    const { url } = await serve("options.mjs");
    const closes = ["", "POST / HTTP/1.1\r\nHost: a\r\n"].map(async (text) => {
      const socket = connect(Number(new URL(url).port), "127.0.0.1").on("error", () => {});
      if (text) socket.write(text);
      const began = performance.now();
      await new Promise((done) => socket.resume().once("close", done));
      return performance.now() - began;
    });
    for (const milliseconds of await Promise.all(closes)) expect(milliseconds).toBeLessThan(20_000);
  });
});
