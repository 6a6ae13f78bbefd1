/** A contender in its own process. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** A process that answers each line of its input with one line of output. */
export class Peer {
  constructor(name, { cpuTime }, command, ...args) {
    this.name = name;
    /** Replies that have not been read yet, and callers that are waiting for a reply. */
    this.replies = [];
    this.waiting = [];
    const env = {
      ...process.env,
      OMP_NUM_THREADS: "1",
      PYTHONDONTWRITEBYTECODE: "1",
      ...(cpuTime ? { CPU_TIME: "1" } : {}),
    };
    // These variables can restrict OpenBLAS, and so PyTorch, to fewer instructions than the machine has.
    delete env.OPENBLAS_CORETYPE;
    delete env.OPENBLAS_L2_SIZE;
    this.process = spawn(command, args, {
      cwd: fileURLToPath(new URL(".", import.meta.url)),
      env,
      stdio: ["pipe", "pipe", "pipe"],
    });
    let errors = "";
    this.process.stderr.on("data", (text) => {
      errors = (errors + text).slice(-2000);
    });
    this.process.on("error", (error) => this.end(error.message));
    this.process.on("close", (code) => this.end(errors.trim().split("\n").at(-1) || `ended with code ${code}`));
    this.process.stdin.on("error", () => {});
    createInterface({ input: this.process.stdout }).on("line", (line) => {
      const settle = this.waiting.shift();
      if (settle) settle(JSON.parse(line));
      else this.replies.push(JSON.parse(line));
    });
  }
  end(reason) {
    this.ended = reason;
    for (const settle of this.waiting.splice(0)) settle({ error: reason });
  }
  reply() {
    if (this.replies.length) return this.replies.shift();
    return this.ended ? { error: this.ended } : new Promise((settle) => this.waiting.push(settle));
  }
  ask(request) {
    if (!this.ended) this.process.stdin.write(`${JSON.stringify(request)}\n`);
    return this.reply();
  }
  close() {
    this.process.stdin.end();
  }
}
