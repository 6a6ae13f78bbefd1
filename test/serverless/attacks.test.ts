/**
 * While clients send slowly, never read, or send bodies that are expensive to parse, other clients are still served, and memory use
 * stays bounded.
 */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { losses, nn, optim, type Tensor, zeros } from "nabla";
import { type Handler, inferenceHandler, type NodeOptions, nodeListener, trainingHandler } from "nabla/serverless";
import { afterEach, describe, expect, test, vi } from "vitest";
import { Budget } from "../../src/serverless/core/budget.ts";
import { allEvents, learner, post, problem, xor } from "./requests.ts";

const open: (Server | Socket)[] = [];
afterEach(() => {
  for (const one of open.splice(0)) {
    if ("closeAllConnections" in one) {
      one.closeAllConnections();
      one.close();
    } else one.destroy();
  }
});

async function serve(handler: Handler, options?: NodeOptions): Promise<{ port: number; url: string }> {
  const server = createServer(nodeListener(handler, options)).listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push(server);
  const { port } = server.address() as AddressInfo;
  return { port, url: `http://127.0.0.1:${port}/` };
}
async function socketTo(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1").on("error", () => {});
  await once(socket, "connect");
  open.push(socket);
  return socket;
}
const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const head = (length: number | "chunked", path = "/"): string =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n${
    length === "chunked" ? "Transfer-Encoding: chunked" : `Content-Length: ${length}`
  }\r\n\r\n`;
const ask = (url: string, body: unknown): Promise<Response> =>
  fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
const twice = (options: object = {}) =>
  inferenceHandler({ load: () => (x: Tensor) => x.mul(2), input: { shape: [null, 2] }, ...options });
const train = (options: object = {}) =>
  trainingHandler({ create: learner, input: { shape: [null, 2] }, target: { shape: [null, 1] }, ...options });

describe("sockets that send a few bytes and wait take no slot", () => {
  test.each<[string, number | "chunked", string]>([
    ["6 bytes of a body", 1000, '{"inpu'],
    ["only the headers", 1000, ""],
    ["a chunk of 6 bytes", "chunked", '6\r\n{"inpu\r\n'],
  ])("64 sockets that send %s do not affect complete requests", async (_, length, bytes) => {
    const { port, url } = await serve(twice());
    for (let i = 0; i < 64; i++) (await socketTo(port)).write(head(length) + bytes);
    await pause(50);
    const answers = await Promise.all(
      Array.from({ length: 147 }, (_, i) => ask(url, { inputs: [[i, 1]] }).then((r) => r.status)),
    );
    expect(answers.filter((status) => status !== 200 && status !== 503)).toEqual([]);
    for (let i = 0; i < 147; i++) expect((await ask(url, { inputs: [[i, 1]] })).status).toBe(200);
  });
  test("one socket does not block a training handler with one slot", async () => {
    const { port, url } = await serve(train());
    (await socketTo(port)).write(`${head(1000)}{"inpu`);
    await pause(50);
    expect((await allEvents(await ask(url, xor))).at(-1)).toMatchObject({ event: "done" });
  });
  test("a body that arrives byte by byte gets a 408 after the time limit, and the connection closes", async () => {
    const { port, url } = await serve(twice({ limits: { milliseconds: 200 } }));
    const socket = await socketTo(port);
    let answer = "";
    socket.on("data", (piece) => (answer += piece));
    socket.write(head(1000));
    const slowly = setInterval(() => socket.write(" "), 10);
    await Promise.race([once(socket, "close"), pause(5000)]);
    clearInterval(slowly);
    expect(answer).toContain("HTTP/1.1 408 ");
    expect(answer).toContain("connection: close");
    expect(socket.destroyed).toBe(true);
    expect((await ask(url, { inputs: [[1, 1]] })).status).toBe(200);
  });
});

describe("unfinished bodies share a budget of bytes", () => {
  const limits = { bytes: 100_000, unfinished: 400_000 };
  test("over the budget, the oldest unfinished requests get a 503, and complete ones are served", async () => {
    const { port, url } = await serve(twice({ limits }));
    const answers: string[] = [];
    for (let i = 0; i < 20; i++) {
      const socket = await socketTo(port);
      answers[i] = "";
      socket.on("data", (piece) => void (answers[i] += String(piece)));
      socket.write(head(99_000) + " ".repeat(90_000));
      await pause(5);
    }
    await pause(100);
    const refused = answers.map((answer) => answer.startsWith("HTTP/1.1 503 "));
    expect(refused.slice(0, 14).every(Boolean), "the oldest").toBe(true);
    expect(refused.slice(-3).some(Boolean), "the youngest").toBe(false);
    expect(answers[0]!).toMatch(/retry-after: 1\r\n/i);
    expect(answers[0]!).toContain("Too many request bodies are arriving at once. Try again later.");
    for (let i = 0; i < 50; i++) expect((await ask(url, { inputs: [[i, 1]] })).status).toBe(200);
  });
  test("bodies that are complete, aborted or rejected no longer count", async () => {
    const { port, url } = await serve(twice({ limits: { ...limits, milliseconds: 300 } }));
    for (let round = 0; round < 5; round++) {
      const sockets = await Promise.all(Array.from({ length: 3 }, () => socketTo(port)));
      for (const socket of sockets) socket.write(head(99_000) + " ".repeat(90_000));
      await pause(20);
      for (const socket of sockets) socket.destroy();
      const body = JSON.stringify({ inputs: [[1, 2]] }).padEnd(90_000);
      for (let i = 0; i < 5; i++) {
        const init = { method: "POST", headers: { "content-type": "application/json" }, body };
        expect((await fetch(url, init)).status).toBe(200);
      }
    }
  });
  test("a body of 200,000 chunks takes no more memory than one chunk", async () => {
    const { port } = await serve(twice({ limits: { bytes: 1_000_000 } }));
    const socket = await socketTo(port);
    socket.write(head("chunked"));
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    const piece = "1\r\n \r\n".repeat(1000);
    for (let i = 0; i < 200; i++) if (!socket.write(piece)) await once(socket, "drain");
    await pause(200);
    const after = process.memoryUsage();
    expect(after.arrayBuffers - arrayBuffers).toBeLessThan(20e6);
    expect(after.heapUsed - heapUsed).toBeLessThan(60e6);
  });
  test("web Requests count towards the budget", async () => {
    const handler = twice({ limits });
    const stuck = (bytes: number) => {
      const body = new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array(bytes).fill(32)) });
      const headers = { "content-type": "application/json" };
      return handler(
        new Request("http://localhost/", { method: "POST", body, headers, duplex: "half" } as RequestInit),
      );
    };
    const first = stuck(90_000);
    void stuck(90_000);
    void stuck(90_000);
    await pause(10);
    void stuck(90_000);
    await problem(await first, 503);
    expect((await post(handler, { inputs: [[1, 1]] })).status).toBe(200);
  });
  test("Budget: releasing twice, or growing after an eviction, has no effect", () => {
    const budget = new Budget(100);
    const evicted: number[] = [];
    const shares = [0, 1, 2].map((i) => budget.share(() => evicted.push(i)));
    for (const share of shares) share.hold(40);
    expect(evicted).toEqual([0]);
    shares[0]!.hold(1000);
    shares[1]!.release();
    shares[1]!.release();
    shares[2]!.hold(100);
    expect(evicted).toEqual([0]);
    shares[2]!.hold(101);
    expect(evicted).toEqual([0, 2]);
    budget.share(() => evicted.push(3)).hold(100);
    expect(evicted).toEqual([0, 2]);
  });
  test("limits.unfinished below limits.bytes is rejected", () => {
    expect(() => twice({ limits: { bytes: 1000, unfinished: 999 } })).toThrow(
      new TypeError("inferenceHandler: limits.unfinished must be at least limits.bytes, which is 1000, got 999."),
    );
  });
});

describe("clients that never read", () => {
  /** A handler with responses of 8 MB. */
  const large = () =>
    inferenceHandler({
      load: () => (x: Tensor) => zeros([1, 2_000_000]).add(x),
      input: { shape: [null, 1] },
      output: { shape: [null, 2_000_000] },
    });
  const accept = "application/vnd.safetensors";
  const request = `${head(18).trimEnd()}\r\nAccept: ${accept}\r\n\r\n{"inputs":[[1.5]]}`;
  const fetchLarge = (url: string) =>
    fetch(url, { method: "POST", headers: { "content-type": "application/json", accept }, body: '{"inputs":[[1.5]]}' });
  const held = () => {
    globalThis.gc?.();
    return process.memoryUsage().arrayBuffers;
  };

  test("12 such clients hold no more than the budget, and clients that read get complete responses", async () => {
    const { port, url } = await serve(large(), { unsent: 20e6, writeTimeout: 4000 });
    const first = new Uint8Array(await (await fetchLarge(url)).arrayBuffer());
    expect(first.length).toBeGreaterThan(8e6);
    const before = held();
    const sockets: Socket[] = [];
    const answers: string[] = [];
    for (let i = 0; i < 12; i++) {
      const socket = await socketTo(port);
      socket.pause();
      socket.write(request);
      socket.once("data", (piece) => void (answers[i] = String(piece.subarray(0, 15))));
      socket.pause();
      sockets.push(socket);
    }
    // The timeout is below writeTimeout, but long enough for a busy machine to answer all requests.
    await vi.waitFor(() => expect(held() - before).toBeLessThan(30e6), { timeout: 3000, interval: 100 });
    // Wait until the clients that read nothing are disconnected.
    await pause(5000);
    const again = await fetchLarge(url);
    expect(again.status).toBe(200);
    expect(Buffer.compare(new Uint8Array(await again.arrayBuffer()), first)).toBe(0);
    for (const socket of sockets) socket.resume();
    await pause(200);
    const statuses = answers.map((answer) => answer.slice(9, 12));
    expect(statuses.filter((status) => status === "200").length).toBeGreaterThanOrEqual(2);
    expect(statuses.filter((status) => status === "503").length).toBeGreaterThanOrEqual(5);
    expect(sockets.slice(0, 2).every((socket) => socket.bytesRead < 8e6)).toBe(true);
  });
  test("a stalled client is disconnected if a reading client needs the memory", async () => {
    const { port, url } = await serve(large(), { unsent: 12e6 });
    const socket = await socketTo(port);
    socket.pause();
    socket.write(request);
    await pause(1500);
    const answer = await fetchLarge(url);
    expect(answer.status).toBe(200);
    expect((await answer.arrayBuffer()).byteLength).toBeGreaterThan(8e6);
    socket.resume();
    await once(socket, "close");
    expect(socket.bytesRead).toBeLessThan(8e6);
  });
  test("a small response that is never read does not keep its connection open", async () => {
    const handler = async () => new Response("x".repeat(50_000));
    const { port } = await serve(handler, { writeTimeout: 300 });
    const socket = await socketTo(port);
    socket.pause();
    // Send enough requests to fill the buffers at both ends.
    for (let i = 0; i < 2000; i++) socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    const closed = once(socket, "close");
    await pause(1500);
    socket.resume();
    await closed;
    expect(socket.bytesRead).toBeLessThan(2000 * 50_000);
  });
  test("a client that reads slowly gets the whole response", async () => {
    const { port } = await serve(large(), { writeTimeout: 400 });
    const socket = await socketTo(port);
    socket.write(request);
    let bytes = 0;
    const ended = new Promise<void>((resolve) => {
      socket.on("data", (piece) => {
        bytes += piece.length;
        if (bytes > 8e6) resolve();
        socket.pause();
        setTimeout(() => socket.resume(), 2);
      });
    });
    await ended;
    expect(bytes).toBeGreaterThan(8e6);
  });
  test("unread events of a training request close its connection and free its slot", async () => {
    const events = async () =>
      new Response(new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(1e5)) }));
    const { port } = await serve(events, { writeTimeout: 300 });
    const socket = await socketTo(port);
    socket.pause();
    socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    await pause(1200);
    const closed = once(socket, "close");
    socket.resume();
    await closed;
  });
  test.each([[{ writeTimeout: 0 }], [{ unsent: 1.5 }], [{ timeout: 5 }]])(
    "invalid options are rejected: %j",
    (options) => {
      expect(() => nodeListener(twice(), options as NodeOptions)).toThrow(TypeError);
    },
  );
});

describe("a process with 256 MB survives bodies that are expensive to parse", () => {
  const program = fileURLToPath(new URL("./deep.mjs", import.meta.url));
  const kinds = ["arrays", "unclosed", "objects", "empty arrays", "short arrays", "names", "file"];
  // 4 MiB is the default limit, and 16 MiB is a limit that a handler may set.
  for (const [bytes, limits] of [
    [2 ** 22 - 100, {}],
    [2 ** 24 - 100, { bytes: 2 ** 24 }],
  ] as const)
    test.each(kinds)(`%s, ${bytes} bytes`, async (kind) => {
      for (const shape of [[null, 4], limits.bytes ? [null, 2, 3] : [null, null, 3]]) {
        const args = ["--max-old-space-size=256", program, JSON.stringify({ kind, bytes, shape, limits })];
        const { stdout } = await promisify(execFile)(process.execPath, args);
        const [infer, trained, valid] = JSON.parse(stdout) as number[];
        expect([413, 422]).toContain(infer);
        expect([413, 422]).toContain(trained);
        expect(valid).toBe(200);
      }
    });
});

describe("default limits are derived from the input's shape", () => {
  const bytesOf = async (shape: (number | null)[], limits = {}, dtype = "float32") => {
    const handler = twice({ input: { shape, dtype }, limits });
    const metadata = await (await handler(new Request("http://localhost/metadata"))).json();
    return (metadata as { limits: { bytes: number } }).limits.bytes;
  };
  test("limits.bytes is the size of the largest batch, within bounds, and at least one sample", async () => {
    expect(await bytesOf([null, 4])).toBe(4096 + 32 * 1024 * 5);
    expect(await bytesOf([null, 4], { batch: 8 })).toBe(2 ** 16);
    expect(await bytesOf([null, 784])).toBe(2 ** 22);
    expect(await bytesOf([null, 512, 512, 3])).toBe(4096 + 32 * (512 * 512 * 4));
    expect(await bytesOf([null, null])).toBe(2 ** 22);
    expect(await bytesOf([null, 100], {}, "uint8")).toBe(4096 + 12 * 1024 * 101);
    expect(await bytesOf([null, 4], { bytes: 77 })).toBe(77);
  });
  test("the default limit fits the largest batch, written with all digits and spaces", async () => {
    const handler = twice({ input: { shape: [null, 3] }, limits: { batch: 4000 } });
    const inputs = Array.from({ length: 4000 }, () => [
      -1.2345678901234567e-30, 1.2345678901234567e30, -0.1234567890123456,
    ]);
    expect((await post(handler, JSON.stringify({ inputs }, null, 1))).status).toBe(200);
  });
  test("the error for a batch that is too large names its size, even if nesting is checked first", async () => {
    const handler = twice({ limits: { bytes: 1e6 } });
    const inputs = Array.from({ length: 1500 }, (_, i) => [i, "x".repeat(50)]);
    expect((await problem(await post(handler, { inputs }), 413)).detail).toMatch(
      /has 1500 samples, but the limit is 1024/,
    );
  });
  test("brackets in strings do not count as nesting", async () => {
    const handler = twice({ limits: { bytes: 1e6 } });
    const { detail } = await problem(await post(handler, { inputs: ["[".repeat(1e5), '\\"[{'.repeat(1e4)] }), 422);
    expect(detail).toMatch(/^"inputs\[0\]" must be a number in float32's range, got "\[/);
  });
});

describe("one request does not block others", () => {
  test("batchSize has its own limit, 256 by default", async () => {
    const inputs = Array.from({ length: 300 }, (_, i) => [i, 1]);
    const body = { inputs, targets: inputs.map(() => [1]) };
    const { detail } = await problem(await post(train(), { ...body, batchSize: 257 }), 422);
    expect(detail).toBe('"batchSize" must be an integer from 1 to 256, got 257.');
    expect((await allEvents(await post(train(), { ...body, batchSize: 256 }))).at(-1)!.event).toBe("done");
    expect(
      (await problem(await post(train({ limits: { batchSize: 8 } }), { ...body, batchSize: 9 }), 422)).detail,
    ).toBe('"batchSize" must be an integer from 1 to 8, got 9.');
    const { data } = (await allEvents(await post(train({ limits: { batchSize: 8 } }), body))).at(-1)!;
    expect(data.steps, "the default is not larger than the limit").toBe(Math.ceil(300 / 8));
  });
  test("during the largest allowed training run, other requests are served within 250 ms", async () => {
    const create = () => {
      const model = new nn.Sequential(new nn.Linear(784, 128), new nn.ReLU(), new nn.Linear(128, 10));
      return { model, optimizer: new optim.Adam(model.parameters()), loss: losses.crossEntropy };
    };
    const handler = trainingHandler({
      create,
      input: { shape: [null, 784] },
      target: { shape: [null], dtype: "int32", min: 0, max: 9 },
      limits: { milliseconds: 3000 },
    });
    const inputs = Array.from({ length: 1024 }, (_, i) => Array.from({ length: 784 }, (_, j) => (i * j) % 2));
    const body = { inputs, targets: inputs.map((_, i) => i % 10), batchSize: 256, epochs: 1000 };
    const response = await post(handler, body);
    const ended = allEvents(response);
    // The first step is slower, because it is recorded.
    await pause(300);
    let longest = 0;
    for (const began = performance.now(); performance.now() - began < 1500; ) {
      const asked = performance.now();
      expect((await handler(new Request("http://localhost/health"))).status).toBe(200);
      await pause(1);
      longest = Math.max(longest, performance.now() - asked);
    }
    expect(longest).toBeLessThan(250);
    expect((await ended).at(-1)!.event).toBe("error");
  });
});
