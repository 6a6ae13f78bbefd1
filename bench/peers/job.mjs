/**
 * Runs the tasks of one contender, in a process (serve.mjs) or on a page (browsers/page.mjs). The replies to requests are:
 *   {open: suite, …task}   → {result: base64 of float32} or {losses: [first, …, last]}   sets up, warms up
 *   {round: milliseconds}  → {median, least, samples}                                 milliseconds per call
 *   {close: true}          → {}
 * The reply to a request that fails is {error: message}.
 */
import { median, wallClock } from "../../dist/bench/measure.js";
import { STEPS } from "../../dist/bench/training.js";
import { decode, encode } from "./base64.mjs";

const WARM_UP = 300;

/** The arrays of a task, decoded. */
function decoded({ a, b, order, params, start, ...task }) {
  const typeOf = (key) => (key === "labels" ? Int32Array : Float32Array);
  return {
    ...task,
    ...(a && { a: decode(a), b: decode(b) }),
    ...(order && { order: decode(order, Int32Array) }),
    ...(params && { params: params.map((p) => ({ ...p, values: decode(p.values) })) }),
    ...(start && {
      start: Object.fromEntries(Object.entries(start).map(([key, text]) => [key, decode(text, typeOf(key))])),
    }),
  };
}

export class Runner {
  /**
   * Starts a contender: a module that exports `open` and the suites that it runs.
   * @param option the build, backend or package that `open` selects
   * @param threads the number of threads
   * @param sample the length of a sample in milliseconds
   */
  static async start(peer, { option, threads = 1, now = wallClock, sample = 0.2 }) {
    const name = await peer.open(option, threads);
    return new Runner(peer, `${name}${threads > 1 ? `, ${threads} threads` : ""}`, now, sample);
  }
  constructor(peer, name, now, sample) {
    Object.assign(this, { peer, name, now, sample, repeat: 1 });
  }

  async answer(request) {
    try {
      if (request.open) return await this.open(request);
      if (request.round) return await this.round(request.round);
      this.job?.close();
      this.job = undefined;
      return {};
    } catch (error) {
      this.job = undefined;
      return { error: String(error?.message ?? error) };
    }
  }

  async open({ open: suite, ...encoded }) {
    const { peer, now } = this;
    const task = decoded(encoded);
    if (!peer[suite]) throw new Error(`does not implement ${suite}`);
    if (task.params && !peer.networks?.includes(task.kind)) throw new Error(`does not train ${task.name}`);
    const job = await peer[suite](task);
    this.job = job;
    const results = {};
    if (job.result) {
      results.result = encode(Float32Array.from(await job.result()));
    } else {
      job.reset();
      results.losses = [];
      // An epoch is so long that it needs no separate warm-up. The loss of an epoch is the mean over the epoch's steps.
      const runs = suite === "epoch" ? 1 : (task.runs ?? STEPS);
      for (let i = 0; i < runs; i++) results.losses.push(await job.run());
      this.repeat = 1;
      if (suite === "epoch") return results;
    }
    let least = Infinity;
    const begin = now();
    for (let before = begin, calls = 0; before - begin < WARM_UP || calls < 3; calls++) {
      await job.run();
      const after = now();
      if (after > before) least = Math.min(least, after - before);
      before = after;
    }
    this.repeat = Math.max(1, Math.ceil(this.sample / least));
    return results;
  }

  async round(milliseconds) {
    const { job, repeat, now } = this;
    job.reset?.();
    const times = [];
    const begin = now();
    for (let before = begin; !times.length || before - begin < milliseconds; ) {
      for (let i = 0; i < repeat; i++) {
        const pending = job.run();
        if (pending instanceof Promise) await pending;
      }
      const after = now();
      times.push((after - before) / repeat / (job.steps ?? 1));
      before = after;
    }
    return { median: median(times), least: Math.min(...times), samples: times.length };
  }
}
