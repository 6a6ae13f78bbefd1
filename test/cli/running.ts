/** Runs `npx nabla` in its own process. Needs the build in dist/. */
import { type ChildProcess, spawn } from "node:child_process";

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
  readonly errors: string;
}

/** A running `npx nabla` command, whose output is not a terminal. */
export class Running {
  readonly child: ChildProcess;
  output = "";
  errors = "";
  readonly ended: Promise<Ended>;
  constructor(args: readonly string[], env: Record<string, string> = {}) {
    this.child = spawn(process.execPath, ["dist/bin/nabla.js", ...args], { env: { ...process.env, ...env } });
    this.child.stdout!.setEncoding("utf8").on("data", (text: string) => void (this.output += text));
    this.child.stderr!.setEncoding("utf8").on("data", (text: string) => void (this.errors += text));
    this.ended = new Promise((done, failed) => {
      this.child
        .on("error", failed)
        .on("close", (code, signal) => done({ code, signal, output: this.output, errors: this.errors }));
    });
  }
  /** Waits until the output matches `pattern`. */
  async prints(pattern: RegExp): Promise<RegExpExecArray> {
    for (let i = 0; i < 1000; i++) {
      const found = pattern.exec(this.output);
      if (found) return found;
      if (this.child.exitCode !== null) break;
      await new Promise((wait) => setTimeout(wait, 20));
    }
    throw new Error(`the command did not print ${pattern}: ${this.output} ${this.errors}`);
  }
}
export const nabla = (...args: string[]): Promise<Ended> => new Running(args).ended;
