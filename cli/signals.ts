/**
 * Tells a server when to stop: on a signal, or if the npm or npx process that started it ends without forwarding the
 * signal.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename } from "node:path";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** The time between checks of the parent processes, in milliseconds. */
const EVERY = 250;

/** Whether npm or npx started this process: they set these variables for each command that they run. */
const isRunByNpm = (): boolean =>
  ["npm_execpath", "npm_lifecycle_event", "npm_command"].some((name) => process.env[name] !== undefined);

interface Ancestor {
  readonly pid: number;
  readonly parent: number;
  readonly name: string;
}

/** The name and the parent id of a process; undefined if it has ended, or if the platform does not report them. */
function inspect(pid: number): Ancestor | undefined {
  try {
    if (process.platform === "linux") {
      // The file reads "pid (name) state parent …", and the name may contain parentheses.
      const [, name, parent] = /\((.*)\) \S+ (\d+)/s.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))!;
      return { pid, parent: Number(parent), name: name! };
    }
    const text = execFileSync("ps", ["-o", "ppid=,comm=", "-p", String(pid)], { encoding: "utf8", stdio: "pipe" });
    const [, parent, name] = /^\s*(\d+)\s+(.*)/.exec(text)!;
    return { pid, parent: Number(parent), name: basename(name!) };
  } catch {
    return undefined;
  }
}

const isShell = ({ name }: Ancestor): boolean => /^-?(a|ba|da|fi|k|z)?sh$/.test(name);

/** The shells above this process, nearest first. npm runs commands in a shell, which outlives npm. */
function shells(): Ancestor[] {
  const found: Ancestor[] = [];
  for (let next = inspect(process.ppid); next && isShell(next) && next.parent > 0; next = inspect(next.parent))
    found.push(next);
  return found;
}

/** Whether a process has ended. */
function hasEnded(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

/**
 * Resolves on the first stop signal, or if the npm or npx process that started this process ends. A second signal finds
 * no listener and ends the process.
 */
export function stopRequested(): Promise<void> {
  return new Promise((resolve) => {
    const own = process.ppid;
    const above = isRunByNpm() ? shells() : [];
    /**
     * Whether a parent process has ended. On Linux, inspect() shows that an orphan has a new parent. Elsewhere,
     * inspect() would start a process each time, so check whether the processes still exist.
     */
    const isOrphan = (): boolean =>
      process.ppid !== own ||
      above.some(({ pid, parent }) =>
        process.platform === "linux" ? inspect(pid)?.parent !== parent : hasEnded(pid) || hasEnded(parent),
      );
    const stop = (): void => {
      clearInterval(timer);
      for (const signal of SIGNALS) process.removeListener(signal, stop);
      resolve();
    };
    const timer = isRunByNpm()
      ? setInterval(() => {
          if (isOrphan()) stop();
        }, EVERY).unref()
      : undefined;
    for (const signal of SIGNALS) process.on(signal, stop);
  });
}
