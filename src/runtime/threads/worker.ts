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

/** Messages from a worker: it is ready for jobs, it stopped because the pool closed, or it failed. */
export type WorkerMessage = "ready" | "stopped" | { readonly error: string };

/**
 * The whole program of a worker. Some runtimes cannot load a worker from a file and start it from this function's text, so it must not
 * use anything outside its body.
 */
export function runWorker({ module, memory, control, mark }: WorkerInit, post: (message: WorkerMessage) => void): void {
  try {
    const { exports } = new WebAssembly.Instance(module, { env: { memory, stalled() {} } });
    post("ready");
    (exports.serve as (control: number, mark: number) => void)(control, mark);
    post("stopped");
  } catch (error) {
    // The waiting thread sees this word immediately; the message arrives later.
    Atomics.store(new Int32Array(memory.buffer), mark / 4, 2);
    post({ error: String(error) });
  }
}
