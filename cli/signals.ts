/** When a server must stop: on a signal, or when the npm or npx that started it ends without passing the signal on. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename } from "node:path";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Milliseconds between two checks of the ancestors. */
const EVERY = 250;

/** npm, npx and the like set these variables for every command that they run. */
const isOfNpm = (): boolean =>
  ["npm_execpath", "npm_lifecycle_event", "npm_command"].some((name) => process.env[name] !== undefined);

interface Ancestor {
  readonly pid: number;
  readonly parent: number;
  readonly name: string;
}

/** A process's name and parent; undefined if it has ended, or if the platform does not tell. */
function look(pid: number): Ancestor | undefined {
  try {
    if (process.platform === "linux") {
      // "pid (name) state parent …", and the name may contain parentheses.
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

/** npm runs commands in a shell, which outlives npm: the shells above this process, the nearest first. */
function shells(): Ancestor[] {
  const found: Ancestor[] = [];
  for (let next = look(process.ppid); next && isShell(next) && next.parent > 0; next = look(next.parent))
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

/** Settles at the first signal to stop; the second one finds no listener, and ends the process. */
export function stopRequested(): Promise<void> {
  return new Promise((resolve) => {
    const own = process.ppid;
    const above = isOfNpm() ? shells() : [];
    /** Whether a process above has ended. Linux gives a process another parent at once; elsewhere a look takes a process of its own. */
    const isOrphan = (): boolean =>
      process.ppid !== own ||
      above.some(({ pid, parent }) =>
        process.platform === "linux" ? look(pid)?.parent !== parent : hasEnded(pid) || hasEnded(parent),
      );
    const stop = (): void => {
      clearInterval(timer);
      for (const signal of SIGNALS) process.removeListener(signal, stop);
      resolve();
    };
    const timer = isOfNpm()
      ? setInterval(() => {
          if (isOrphan()) stop();
        }, EVERY).unref()
      : undefined;
    for (const signal of SIGNALS) process.on(signal, stop);
  });
}
