/** What a worker is started with. */
export interface Orders {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  /** The control block, and the word of it that tells whether this worker is at a job (1) or has failed (2). */
  readonly control: number;
  readonly mark: number;
}

/** What a worker tells: that it serves, that it has left as it was told, or what went wrong. */
export type Report = "ready" | "left" | { readonly error: string };

/**
 * A worker's whole program. It stands alone, so that its text can be what a worker is started from where no file can be had:
 * nothing outside of it may be used.
 */
export function serve({ module, memory, control, mark }: Orders, report: (report: Report) => void): void {
  try {
    const { exports } = new WebAssembly.Instance(module, { env: { memory, stalled() {} } });
    report("ready");
    (exports.serve as (control: number, mark: number) => void)(control, mark);
    report("left");
  } catch (error) {
    // Seen at once by who waits for it; the report comes later.
    Atomics.store(new Int32Array(memory.buffer), mark / 4, 2);
    report({ error: String(error) });
  }
}
