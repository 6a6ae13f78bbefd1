/** Starts, supervises and replaces the workers that help run programs in one shared memory (assembly/threads.ts). */
import { Control } from "../../../assembly/opcodes.ts";
import { ThreadError } from "../errors.ts";
import type { Heap } from "../heap.ts";
import { instantiate, type Kernels } from "../load.ts";
import { spawn, type Thread } from "./spawn.ts";
import type { WorkerMessage } from "./worker.ts";

/**
 * The size of two cache lines in bytes. Processors fetch cache lines in pairs, so each worker's state word has its own
 * pair.
 */
const PAIR = 128;
/** The maximum time that workers may take to start and to stop, in milliseconds. */
const START_TIMEOUT = 20_000;
const STOP_TIMEOUT = 2_000;
/** The pool gives up after this many replacements of crashed workers. */
const MAX_REPLACEMENTS = 8;
/**
 * The number of polls before a waiting thread sleeps; a poll takes one or two nanoseconds. The number is small if there
 * are more threads than cores.
 */
const SPINS = { dedicated: 1_000_000, oversubscribed: 200 };

interface PoolWorker {
  /** The address of the worker's state word (see WorkerInit). */
  readonly mark: number;
  thread: Thread | undefined;
  /** Whether the worker has reported that it is ready, and is not known to have ended. */
  isReady: boolean;
}

const hasEnded = ({ thread }: PoolWorker): boolean => !thread || thread.isDead();

/** Whether this thread may sleep. A page's main thread may not sleep. */
function canSleep(): boolean {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1, 0);
    return true;
  } catch {
    return false;
  }
}

export class WorkerPool {
  kernels: Kernels;
  /** A description of what happened to crashed workers, for info(). */
  trouble = "";
  private readonly canSleep = canSleep();
  private readonly bytes: number;
  private workers: PoolWorker[] = [];
  private control = 0;
  private replacements = 0;
  private closing: Promise<void> | undefined;
  /** Workers that close() waits for. */
  private readonly stopping = new Set<PoolWorker>();
  private onAllStopped: () => void = () => {};

  /**
   * @param threads the number of threads, including this one
   * @param oversubscribed whether there are fewer cores than threads
   */
  constructor(
    private module: WebAssembly.Module,
    private readonly heap: Heap,
    readonly threads: number,
    private readonly oversubscribed: boolean,
  ) {
    this.kernels = this.instantiate(module);
    this.bytes = Control.bytes + threads * PAIR;
  }

  private instantiate(module: WebAssembly.Module): Kernels {
    return instantiate(module, this.heap.memory, () => this.checkHelpers());
  }

  /** Replaces the kernels of all threads. Until the workers have restarted, programs run on this thread. */
  renew(module: WebAssembly.Module): Kernels {
    this.module = module;
    this.kernels = this.instantiate(module);
    // No worker has crashed.
    this.replacements--;
    this.restart();
    return this.kernels;
  }

  /** Starts the workers. @throws ThreadError if a worker cannot be started; in this case, the others are stopped */
  async open(): Promise<void> {
    try {
      await this.startAll();
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  private async startAll(): Promise<void> {
    this.control = Math.ceil(this.heap.allocate(this.bytes + PAIR) / PAIR) * PAIR;
    this.heap.u8.fill(0, this.control, this.control + this.bytes);
    const spins = this.oversubscribed ? SPINS.oversubscribed : SPINS.dedicated;
    this.set(Control.spins, spins);
    this.set(Control.idle, spins);
    this.workers = Array.from({ length: this.threads - 1 }, (_, i) => ({
      mark: this.control + Control.bytes + i * PAIR,
      thread: undefined,
      isReady: false,
    }));
    await Promise.all(this.workers.map((worker) => this.start(worker)));
  }

  /** Runs a program on all available threads. @throws ThreadError if a worker died during the program */
  run(program: number, count: number): void {
    if (!this.workers.length) {
      this.kernels.run!(program, count, 0, 1);
      return;
    }
    try {
      this.kernels.lead!(program, count, this.control, this.canSleep ? 1 : 0);
    } catch (error) {
      // A kernel trapped on this thread. Workers that are still running shares of this program must not run later programs.
      if (!(error instanceof ThreadError)) this.restart();
      throw error;
    }
  }

  /** Stops the workers, and terminates those that do not stop in time. A second call returns the promise of the first. */
  close(): Promise<void> {
    this.closing ??= this.stopAll();
    return this.closing;
  }

  private async stopAll(): Promise<void> {
    const running = this.workers.filter(({ thread }) => thread);
    this.workers = [];
    for (const worker of running) this.stopping.add(worker);
    this.signalStop();
    if (!running.length) return;
    const allStopped = new Promise<void>((resolve) => {
      this.onAllStopped = resolve;
    });
    const timer = setTimeout(() => {
      for (const { thread } of running) thread?.terminate();
      this.onAllStopped();
    }, STOP_TIMEOUT);
    await allStopped;
    clearTimeout(timer);
  }

  /** Tells workers to stop and wakes the sleeping ones. */
  private signalStop(): void {
    const words = new Int32Array(this.heap.memory.buffer);
    // Close the job, then bump the epoch, so a thread about to sleep wakes instead.
    this.set(Control.open, 0);
    this.set(Control.stop, 1);
    Atomics.add(words, (this.control + Control.epoch) / 4, 1);
    for (const word of [Control.epoch, Control.done]) Atomics.notify(words, (this.control + word) / 4);
  }

  private set(word: Control, value: number): void {
    Atomics.store(this.heap.i32, (this.control + word) / 4, value);
  }

  /** Starts a worker. Settles when the worker is ready for jobs, or has failed to start. */
  private async start(worker: PoolWorker): Promise<void> {
    const { module, heap, control } = this;
    let resolve = (): void => {};
    let reject = (_: Error): void => {};
    const ready = new Promise<void>((onReady, onFailure) => {
      resolve = onReady;
      reject = onFailure;
    });
    const timer = setTimeout(
      () => reject(new ThreadError(`a worker did not start within ${START_TIMEOUT / 1000} s`)),
      START_TIMEOUT,
    );
    let failure = "";
    const message = (message: WorkerMessage): void => {
      if (message === "ready") resolve();
      else if (message !== "stopped") failure = message.error;
    };
    let ended = false;
    const exit = (reason: string): void => {
      ended = true;
      reject(new ThreadError(`a worker could not be started: ${failure || reason}`));
      worker.thread = undefined;
      this.handleExit(worker, failure || reason);
    };
    try {
      const thread = await spawn({ module, memory: heap.memory, control, mark: worker.mark }, { message, exit });
      if (!ended) worker.thread = thread;
      await ready;
      worker.isReady = true;
    } catch (error) {
      // A worker that never became ready would keep the process alive.
      worker.thread?.terminate();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Handles a worker that no longer runs. */
  private handleExit(worker: PoolWorker, reason: string): void {
    if (this.stopping.delete(worker) && !this.stopping.size) this.onAllStopped();
    // start() reports a worker that never became ready.
    if (this.closing || !worker.isReady || !this.workers.includes(worker)) return;
    worker.isReady = false;
    this.trouble = `a worker died (${reason})`;
    // If the worker died during a job, its share is missing and the control block is unusable.
    if (this.stateOf(worker)) this.restart();
    else this.replace(() => this.start(worker));
  }

  private stateOf({ mark }: PoolWorker): number {
    return Atomics.load(this.heap.i32, mark / 4);
  }

  /** Terminates all workers and starts new ones with a new control block. */
  private restart(): void {
    const old = this.workers;
    // From here on, handleExit ignores the old workers.
    this.workers = [];
    this.signalStop();
    // A worker that is still running its share writes to memory that the caller may free as soon as the error is thrown.
    // Wait for such workers.
    const deadline = performance.now() + STOP_TIMEOUT;
    while (old.some((worker) => this.isWorking(worker)) && performance.now() < deadline) {}
    for (const { thread } of old) thread?.terminate();
    this.replace(() => this.startAll());
  }

  private isWorking(worker: PoolWorker): boolean {
    return this.stateOf(worker) === 1 && !hasEnded(worker);
  }

  private replace(start: () => Promise<void>): void {
    if (++this.replacements > MAX_REPLACEMENTS) {
      this.trouble += `, and so did ${MAX_REPLACEMENTS} replacements; no more are started`;
      return;
    }
    const started = start();
    const { workers } = this;
    started.catch((error: unknown) => {
      // A restart terminates workers that are still starting, and replaces them.
      if (this.closing || this.workers !== workers) return;
      this.trouble = `a worker died (${error instanceof Error ? error.message : error})`;
      this.restart();
    });
  }

  /** Called by a thread that has waited for a long time. @throws ThreadError if the wait cannot end because a worker is dead */
  private checkHelpers(): void {
    const isStuck = this.workers.some((worker) => {
      const state = this.stateOf(worker);
      return state === 2 || (state === 1 && hasEnded(worker));
    });
    if (!isStuck) return;
    this.trouble = "a worker died during a program";
    this.restart();
    throw new ThreadError(
      "a worker died during this call, so the contents of the tensors that it was writing are undefined. Reload parameters from a checkpoint. " +
        "Until the threads have restarted, calls run on one thread.",
    );
  }
}
