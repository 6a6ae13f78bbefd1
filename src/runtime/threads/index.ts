/** How many threads to run, and why. */
import { Heap, MAX_BYTES } from "../heap.ts";
import { nodeModule } from "../nodeModule.ts";
import { Pool } from "./pool.ts";

/** More seldom pay: steps of small and medium networks have little to share. */
const MOST_BY_ITSELF = 8;
/** Bytes below which a shared memory is not worth having. */
const LEAST_MEMORY = 2 ** 26;

interface Cores {
  readonly count: number;
  readonly why: string;
}

/** Cores that this process may use. */
export async function availableCores(): Promise<Cores> {
  const os = await nodeModule<{ availableParallelism?(): number; cpus(): unknown[] }>("os");
  const count = os
    ? (os.availableParallelism?.() ?? os.cpus().length)
    : (globalThis.navigator?.hardwareConcurrency ?? 1);
  const quota = await cgroupQuota();
  return quota !== undefined && quota < count
    ? { count: Math.max(1, Math.floor(quota)), why: `a cgroup allows ${quota} of ${count} cores` }
    : { count, why: `${count} core${count === 1 ? "" : "s"} to use` };
}

/** Cores' worth of time that Linux grants a process, by version 2 or 1 of control groups; undefined where it does not say. */
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

/** A shared memory, smaller where the host refuses a large one; undefined where it gives none. */
function sharedHeap(limit = MAX_BYTES): Heap | undefined {
  for (let bytes = limit; ; bytes /= 2) {
    try {
      return new Heap({ memoryLimit: bytes, shared: true });
    } catch {
      if (bytes / 2 < LEAST_MEMORY) return undefined;
    }
  }
}

/** What keeps this runtime from sharing memory; "" if nothing does. */
function refusal(): string {
  const scope = globalThis as { crossOriginIsolated?: boolean; process?: { versions?: { node?: string } } };
  if (scope.process?.versions?.node) return "";
  if (scope.crossOriginIsolated === false) {
    return "the page is not cross-origin isolated: serve it with Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp";
  }
  if (typeof SharedArrayBuffer === "undefined") return "there is no shared memory here";
  return typeof Worker === "undefined" ? "there are no workers here" : "";
}

/** The pool, if there is to be one, with its heap; and why there are as many threads as there are. */
export interface Crew {
  readonly heap?: Heap;
  readonly pool?: Pool;
  readonly reason: string;
}

/** @param limit bytes that the memory may grow to @param compile the kernels, for a memory that is shared */
export async function assemble(
  wanted: number | "auto",
  limit: number | undefined,
  compile: () => WebAssembly.Module,
): Promise<Crew> {
  const refused = refusal();
  if (refused) return { reason: refused };
  const cores = await availableCores();
  const threads = wanted === "auto" ? Math.min(cores.count, MOST_BY_ITSELF) : wanted;
  if (threads === 1) return { reason: cores.why };
  const heap = sharedHeap(limit);
  if (!heap) return { reason: "shared memory was refused" };
  try {
    const pool = new Pool(compile(), heap, threads, threads > cores.count);
    await pool.open();
    const reason = wanted === "auto" ? cores.why : `as asked for, with ${cores.why}`;
    return {
      heap,
      pool,
      reason: heap.limit < (limit ?? MAX_BYTES) ? `${reason}; memory to ${heap.limit} bytes` : reason,
    };
  } catch (error) {
    return { reason: error instanceof Error ? error.message : String(error) };
  }
}
