/** Watches the thread pool: counts its jobs and the workers that take part in them. */
import { randn, tidy } from "nabla";
import { Control, Head } from "../../assembly/opcodes.ts";
import { engine } from "../../src/runtime/engine.ts";

/** One in every LEFT_TO_WORKERS jobs is left to the workers. */
const LEFT_TO_WORKERS = 64;
/**
 * How long to wait, in milliseconds, for the workers to finish a job that is left to them, and for every worker to have taken part in a
 * job.
 */
const PATIENCE = 20_000;

/**
 * Counts the pool's jobs, and leaves some of them to the workers: the leader publishes such a job and waits, but takes no share.
 * This proves that workers take part, and adds their results to the hashes.
 */
export class Watch {
  jobs = 0;
  alone = 0;
  /** The marks of workers that took part in a job. */
  readonly seen = new Set<number>();
  private readonly heap = engine().heap;
  /** The pool with its private fields: the addresses of its control block and of its workers' marks. */
  private readonly pool = engine().pool as unknown as
    | { run(program: number, count: number): void; control: number; workers: { readonly mark: number }[] }
    | undefined;

  constructor() {
    const { pool } = this;
    if (!pool) return;
    const together = pool.run.bind(pool);
    pool.run = (program, count) => {
      if (++this.jobs % LEFT_TO_WORKERS) together(program, count);
      else this.leave(program, count, pool.control);
    };
  }

  /** Does what lead() in assembly/threads.ts does, but takes no share. */
  private leave(program: number, count: number, control: number): void {
    const { i32, u32 } = this.heap;
    const at = (word: Control): number => (control + word) / 4;
    this.alone++;
    let shares = 0;
    for (let i = 0, word = program / 4, joined = false; i < count; i++, word += u32[word + Head.length]!) {
      const own = u32[word + Head.code]! >>> Head.shares;
      // Consecutive instructions that cannot be split form one share.
      shares += own || Number(!joined);
      joined = !own;
    }
    i32[at(Control.program)] = program;
    i32[at(Control.count)] = count;
    for (const word of [Control.taken, Control.done]) Atomics.store(i32, at(word), 0);
    Atomics.store(i32, at(Control.open), 1);
    Atomics.add(i32, at(Control.epoch), 1);
    Atomics.notify(i32, at(Control.epoch));
    const deadline = performance.now() + PATIENCE;
    while (Atomics.load(i32, at(Control.done)) < shares) this.look(deadline);
    Atomics.store(i32, at(Control.open), 0);
    while (Atomics.load(i32, at(Control.inside))) this.look(deadline);
  }

  private look(deadline: number): void {
    for (const { mark } of this.pool!.workers) if (Atomics.load(this.heap.i32, mark / 4)) this.seen.add(mark);
    if (performance.now() > deadline)
      throw new Error(`the workers did not finish job ${this.jobs}, which was left to them`);
  }

  /** Creates work until every worker has taken part in a job. On a busy machine, a worker may have missed all jobs so far. */
  async seeAll(): Promise<void> {
    const deadline = performance.now() + PATIENCE;
    while (this.pool && this.seen.size < this.pool.workers.length && performance.now() < deadline) {
      for (let i = 0; i < LEFT_TO_WORKERS; i++) tidy(() => void randn([1 << 16]));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}
