/** Decides how many threads to run, and starts them. */
import { Heap, MAX_BYTES } from "../heap.ts";
import { nodeModule } from "../nodeModule.ts";
import { WorkerPool } from "./workerPool.ts";

/**
 * The maximum number of threads that "auto" chooses. More threads rarely help, because steps of small and medium networks have little work
 * to share.
 */
const MAX_AUTO_THREADS = 8;
/** The smallest shared memory that is useful, in bytes. */
const MIN_MEMORY = 2 ** 26;

interface Cores {
  readonly count: number;
  /** How the number of cores was determined, for info(). */
  readonly reason: string;
}

/** The number of cores that this process may use. */
export async function availableCores(): Promise<Cores> {
  const os = await nodeModule<{ availableParallelism?(): number; cpus(): unknown[] }>("os");
  const count = os
    ? (os.availableParallelism?.() ?? os.cpus().length)
    : (globalThis.navigator?.hardwareConcurrency ?? 1);
  const quota = await cgroupQuota();
  return quota !== undefined && quota < count
    ? { count: Math.max(1, Math.floor(quota)), reason: `a cgroup allows ${quota} of ${count} cores` }
    : { count, reason: `${count} core${count === 1 ? "" : "s"} available` };
}

/** The CPU quota in cores that Linux control groups (version 2 or 1) grant this process; undefined if there is none. */
async function cgroupQuota(): Promise<number | undefined> {
  const fs = await nodeModule<{ readFileSync(path: string, encoding: "utf8"): string }>("fs");
  const read = (path: string): string => {
    try {
      return fs?.readFileSync(path, "utf8") ?? "";
    } catch {
      return "";
    }
  };
  const own = /^0::(.*)$/m.exec(read("/proc/self/cgroup"))?.[1] ?? "";
  const parts = own.split("/").filter(Boolean);
  const folders = parts.map((_, i) => `/sys/fs/cgroup/${parts.slice(0, i + 1).join("/")}`);
  const limits = ["/sys/fs/cgroup", ...folders].map((folder) => read(`${folder}/cpu.max`).split(" "));
  const first = "/sys/fs/cgroup/cpu/cpu.cfs_";
  limits.push([read(`${first}quota_us`), read(`${first}period_us`)]);
  const quotas = limits.map(([quota, period]) => Number(quota) / Number(period)).filter((cores) => cores > 0);
  return quotas.length ? Math.min(...quotas) : undefined;
}

/** A heap in shared memory. Halves its limit until the host accepts it; undefined if the host allows no shared memory. */
function sharedHeap(limit = MAX_BYTES): Heap | undefined {
  for (let bytes = limit; ; bytes /= 2) {
    try {
      return new Heap({ memoryLimit: bytes, shared: true });
    } catch {
      if (bytes / 2 < MIN_MEMORY) return undefined;
    }
  }
}

/** The reason why this runtime cannot run threads; "" if it can. */
function obstacle(): string {
  const scope = globalThis as { crossOriginIsolated?: boolean; process?: { versions?: { node?: string } } };
  if (scope.process?.versions?.node) return "";
  if (scope.crossOriginIsolated === false) {
    return "the page is not cross-origin isolated: serve it with Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp";
  }
  if (typeof SharedArrayBuffer === "undefined") return "SharedArrayBuffer is not available";
  return typeof Worker === "undefined" ? "Worker is not available" : "";
}

/** A pool and its heap (both undefined if nabla runs on one thread), and the reason for the number of threads. */
export interface ThreadSetup {
  readonly heap?: Heap;
  readonly pool?: WorkerPool;
  readonly reason: string;
}

/**
 * Starts a pool if possible. Never throws: if no pool was started, `reason` says why.
 * @param limit the number of bytes to which the memory may grow
 * @param compile compiles the kernels for shared memory
 */
export async function setUpThreads(
  wanted: number | "auto",
  limit: number | undefined,
  compile: () => WebAssembly.Module,
): Promise<ThreadSetup> {
  const problem = obstacle();
  if (problem) return { reason: problem };
  const cores = await availableCores();
  const threads = wanted === "auto" ? Math.min(cores.count, MAX_AUTO_THREADS) : wanted;
  if (threads === 1) return { reason: cores.reason };
  const heap = sharedHeap(limit);
  if (!heap) return { reason: "the runtime refused shared memory" };
  try {
    const pool = new WorkerPool(compile(), heap, threads, threads > cores.count);
    await pool.open();
    const reason = wanted === "auto" ? cores.reason : `as requested, ${cores.reason}`;
    return {
      heap,
      pool,
      reason: heap.limit < (limit ?? MAX_BYTES) ? `${reason}; memory limited to ${heap.limit} bytes` : reason,
    };
  } catch (error) {
    return { reason: error instanceof Error ? error.message : String(error) };
  }
}
