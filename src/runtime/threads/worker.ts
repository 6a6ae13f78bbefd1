/** The data that a worker receives when it starts. */
export interface WorkerInit {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  /**
   * The addresses of the control block and of this worker's state word, which is 0 if the worker is idle, 1 if it is running a job, and 2
   * if it has failed.
   */
  readonly control: number;
  readonly mark: number;
}

/** Messages from a worker: "ready" for jobs, "stopped" because the pool closed, or the error that ended the worker. */
export type WorkerMessage = "ready" | "stopped" | { readonly error: string };

/**
 * The whole program of a worker. In runtimes that cannot load a worker from a file, nabla starts the worker from this function's
 * text, so the function must not use anything outside its body.
 */
export function runWorker({ module, memory, control, mark }: WorkerInit, post: (message: WorkerMessage) => void): void {
  try {
    const { exports } = new WebAssembly.Instance(module, { env: { memory, stalled() {} } });
    post("ready");
    (exports.serve as (control: number, mark: number) => void)(control, mark);
    post("stopped");
  } catch (error) {
    // A thread that waits for this worker sees the word immediately; the message arrives later.
    Atomics.store(new Int32Array(memory.buffer), mark / 4, 2);
    post({ error: String(error) });
  }
}
