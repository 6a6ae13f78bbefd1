/** Workers that help to run programs over one shared memory (assembly/threads.ts), and what becomes of them. */
import { Control } from "../../../assembly/opcodes.ts";
import { ThreadError } from "../errors.ts";
import type { Heap } from "../heap.ts";
import { instantiate, type Kernels } from "../load.ts";
import type { Report } from "./serve.ts";
import { spawn, type Thread } from "./spawn.ts";

/** Bytes of a worker's mark: a pair of lines of its own. */
const PAIR = 128;
/** How long workers may take to start, and to leave, in milliseconds. */
const START = 20_000;
const LEAVE = 2_000;
/** Workers that are started in the place of others that died, at most. */
const REPLACEMENTS = 8;
/** Looks of a waiting thread before it sleeps, a nanosecond or two each; few where threads must share cores. */
const PATIENCE = { alone: 1_000_000, crowded: 200 };

interface Helper {
  readonly mark: number;
  thread: Thread | undefined;
  /** Whether it has begun, and is not known to have ended. */
  serves: boolean;
}

const isGone = ({ thread }: Helper): boolean => !thread || thread.isDead();

/** Whether this thread may sleep: a page's main thread may not. */
function maySleep(): boolean {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1, 0);
    return true;
  } catch {
    return false;
  }
}

export class Pool {
  readonly kernels: Kernels;
  /** What became of workers that died, for info(). */
  trouble = "";
  private readonly sleeps = maySleep();
  private readonly bytes: number;
  private helpers: Helper[] = [];
  private control = 0;
  private replacements = 0;
  private closing: Promise<void> | undefined;
  private readonly leaving = new Set<Helper>();
  private onLeft: () => void = () => {};

  /** @param threads how many take part, this one included @param crowded whether there are fewer cores */
  constructor(
    private readonly module: WebAssembly.Module,
    private readonly heap: Heap,
    readonly threads: number,
    private readonly crowded: boolean,
  ) {
    this.kernels = instantiate(module, heap.memory, () => this.look());
    this.bytes = Control.bytes + threads * PAIR;
  }

  /** Starts the workers. @throws ThreadError if one cannot be started; then none is left */
  async open(): Promise<void> {
    try {
      await this.startAll();
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  private async startAll(): Promise<void> {
    // Lines are fetched in pairs: a pair is one word's own.
    this.control = Math.ceil(this.heap.allocate(this.bytes + PAIR) / PAIR) * PAIR;
    this.heap.u8.fill(0, this.control, this.control + this.bytes);
    const looks = this.crowded ? PATIENCE.crowded : PATIENCE.alone;
    this.set(Control.patience, looks);
    this.set(Control.idle, looks);
    this.helpers = Array.from({ length: this.threads - 1 }, (_, i) => ({
      mark: this.control + Control.bytes + i * PAIR,
      thread: undefined,
      serves: false,
    }));
    await Promise.all(this.helpers.map((helper) => this.start(helper)));
  }

  /** Runs a program with all who are there. @throws ThreadError if a worker died in the midst of it */
  run(program: number, count: number): void {
    if (!this.helpers.length) {
      this.kernels.run!(program, count, 0, 1);
      return;
    }
    try {
      this.kernels.lead!(program, count, this.control, this.sleeps ? 1 : 0);
    } catch (error) {
      // A trap of this thread's own: whoever is at its shares must not go on with what follows.
      if (!(error instanceof ThreadError)) this.restart();
      throw error;
    }
  }

  /** Has the workers leave; those that do not are ended. Twice is fine. */
  close(): Promise<void> {
    this.closing ??= this.dismiss();
    return this.closing;
  }

  private async dismiss(): Promise<void> {
    const leaving = this.helpers.filter(({ thread }) => thread);
    this.helpers = [];
    for (const helper of leaving) this.leaving.add(helper);
    this.stop();
    if (!leaving.length) return;
    const left = new Promise<void>((resolve) => {
      this.onLeft = resolve;
    });
    const timer = setTimeout(() => {
      for (const { thread } of leaving) thread?.terminate();
      this.onLeft();
    }, LEAVE);
    await left;
    clearTimeout(timer);
  }

  /** Tells workers to leave, and wakes those that sleep. */
  private stop(): void {
    const words = new Int32Array(this.heap.memory.buffer);
    // Nobody joins what is given up; and who is about to sleep finds the epoch changed.
    this.set(Control.open, 0);
    this.set(Control.stop, 1);
    Atomics.add(words, (this.control + Control.epoch) / 4, 1);
    for (const word of [Control.epoch, Control.done]) Atomics.notify(words, (this.control + word) / 4);
  }

  private set(word: Control, value: number): void {
    Atomics.store(this.heap.i32, (this.control + word) / 4, value);
  }

  /** Starts a worker; settles when it serves. */
  private async start(helper: Helper): Promise<void> {
    const { module, heap, control } = this;
    let ready = (): void => {};
    let failed = (_: Error): void => {};
    const serving = new Promise<void>((resolve, reject) => {
      ready = resolve;
      failed = reject;
    });
    const timer = setTimeout(() => failed(new ThreadError(`a worker did not start within ${START / 1000} s`)), START);
    let why = "";
    const report = (news: Report): void => {
      if (news === "ready") ready();
      else if (news !== "left") why = news.error;
    };
    let hasLeft = false;
    const gone = (how: string): void => {
      hasLeft = true;
      failed(new ThreadError(`a worker could not be started: ${why || how}`));
      helper.thread = undefined;
      this.lose(helper, why || how);
    };
    try {
      const thread = await spawn({ module, memory: heap.memory, control, mark: helper.mark }, { report, gone });
      if (!hasLeft) helper.thread = thread;
      await serving;
      helper.serves = true;
    } catch (error) {
      // Who has not begun would keep the process alive.
      helper.thread?.terminate();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** A worker runs no more. */
  private lose(helper: Helper, why: string): void {
    if (this.leaving.delete(helper) && !this.leaving.size) this.onLeft();
    // Who has not begun is told of by who started it.
    if (this.closing || !helper.serves || !this.helpers.includes(helper)) return;
    helper.serves = false;
    this.trouble = `a worker died (${why})`;
    // Who died at a job is missed at the next one.
    if (this.markOf(helper)) this.restart();
    else this.replace(() => this.start(helper));
  }

  private markOf({ mark }: Helper): number {
    return Atomics.load(this.heap.i32, mark / 4);
  }

  /** Ends all workers and starts others, at another control block. */
  private restart(): void {
    const ended = this.helpers;
    // They are nobody's from here on: what becomes of them is no news.
    this.helpers = [];
    this.stop();
    // Who is within a share writes to memory that its owner may give back once this has been told.
    const patience = performance.now() + LEAVE;
    while (ended.some((helper) => this.isAtWork(helper)) && performance.now() < patience) {}
    for (const { thread } of ended) thread?.terminate();
    this.replace(() => this.startAll());
  }

  private isAtWork(helper: Helper): boolean {
    return this.markOf(helper) === 1 && !isGone(helper);
  }

  private replace(start: () => Promise<void>): void {
    if (++this.replacements > REPLACEMENTS) {
      this.trouble += `, and so did ${REPLACEMENTS} in its place: there will be no more`;
      return;
    }
    start().catch((error: unknown) => {
      if (this.closing) return;
      this.trouble = `a worker died (${error instanceof Error ? error.message : error})`;
      this.restart();
    });
  }

  /** Called by a thread that has waited long: if who is waited for is dead, nothing will come of it. */
  private look(): void {
    const lost = this.helpers.some((helper) => {
      const mark = this.markOf(helper);
      return mark === 2 || (mark === 1 && isGone(helper));
    });
    if (!lost) return;
    this.trouble = "a worker died in the midst of a program";
    this.restart();
    throw new ThreadError(
      "a worker died in the midst of this call. What the call was to write is undefined: load parameters anew from what was saved. " +
        "Threads are being started again; until they are there, calls run on one.",
    );
  }
}
