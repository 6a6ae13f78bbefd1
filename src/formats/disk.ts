/** File operations for saveFile and loadFile, built on Node's modules, which Deno and Bun have too. */
import { Error, TypeError } from "../runtime/errors.ts";
import { describe } from "../runtime/kinds.ts";
import { nodeModule } from "../runtime/nodeModule.ts";
import { quote } from "./errors.ts";

interface Stats {
  readonly mode: number;
  readonly ino: number;
  readonly dev: number;
  readonly size: number;
  readonly mtimeMs: number;
}
interface Handle {
  writeFile(bytes: Uint8Array): Promise<void>;
  read(into: Uint8Array, offset: number, length: number): Promise<{ bytesRead: number }>;
  chmod(mode: number): Promise<void>;
  stat(): Promise<Stats>;
  sync(): Promise<void>;
  close(): Promise<void>;
}
interface Files {
  open(path: string, flags: string): Promise<Handle>;
  readdir(path: string): Promise<string[]>;
  rename(from: string, to: string): Promise<void>;
  link(from: string, to: string): Promise<void>;
  copyFile(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  realpath(path: string): Promise<string>;
  readlink(path: string): Promise<string>;
  stat(path: string): Promise<Stats>;
}
interface Paths {
  basename(path: string): string;
  dirname(path: string): string;
  join(...parts: string[]): string;
  resolve(...parts: string[]): string;
}
interface Process {
  readonly pid: number;
  readonly platform: string;
  uptime(): number;
  kill(pid: number, signal: 0): unknown;
}

/**
 * The age after which a temporary file counts as stale, even if the process that created it seems to be running or is on another
 * machine.
 */
const STALE_MS = 24 * 60 * 60 * 1000;
/** The maximum number of bytes per read: Node refuses reads of 2 GiB or more. */
const MAX_READ = 2 ** 30;

/** The bits of a mode that hold the file type, and their value for folders. */
const FILE_TYPE = 0o170000;
const FOLDER = 0o040000;

/** @throws TypeError unless path is a string or a file: URL */
export function requirePath(op: string, path: unknown): asserts path is string | URL {
  const got = (what: string): string => `${op}: path must be a string or a file: URL, got ${what}.`;
  if (path instanceof URL) {
    if (path.protocol !== "file:") throw new TypeError(`${got(quote(path.href))} Use new URL("…", import.meta.url).`);
  } else if (typeof path !== "string" || !path || path.includes("\0"))
    throw new TypeError(`${got(describe(path))} Pass the path of a file.`);
}

/** The problem and the fix for each file-system error code. */
const explanations: Readonly<Record<string, (folder: string) => string>> = {
  ENOENT: () => "it does not exist. Check the path.",
  EISDIR: () => "it is a folder. Pass the path of a file.",
  ENOTDIR: (folder) => `${quote(folder)} is not a folder. Check the path.`,
  EACCES: () => "permission denied. Change the permissions of the file and its folder.",
  EPERM: () => "permission denied. Change the permissions of the file and its folder.",
  EROFS: () => "the file system is read-only. Choose another folder.",
  ENOSPC: () => "the disk is full. Free some space.",
  ELOOP: () => "its symbolic links form a loop. Remove them.",
  ENAMETOOLONG: () => "its name is too long. Choose a shorter one.",
};

/** Runs f. Rethrows file-system errors with a message that names the operation, the file and the fix, and with the same `code`. */
export async function explainErrors<T>(op: string, path: string | URL, disk: Disk, f: () => Promise<T>): Promise<T> {
  try {
    return await f();
  } catch (error) {
    const code = codeOf(error);
    const isExplained = error instanceof Error && error.message.startsWith(`${op}: `);
    if (isExplained || typeof code !== "string") throw error;
    const why = explanations[code]?.(disk.folderOf(String(path))) ?? (error as { message?: unknown }).message;
    const verb = op === "loadFile" ? "read" : "write";
    throw Object.assign(new Error(`${op}: cannot ${verb} ${quote(String(path))}: ${why}`, { cause: error }), { code });
  }
}

/** Creates an error with the `code` of a file-system error. */
export const fileError = (message: string, code: "ENOENT" | "EISDIR"): Error =>
  Object.assign(new Error(message), { code });

/** The `code` of a file-system error. */
export const codeOf = (error: unknown): unknown => (error as { code?: unknown } | null)?.code;

/** The promise's result, or undefined if the file is missing. */
const unlessMissing = <T>(promise: Promise<T>): Promise<T | undefined> =>
  promise.catch((error) => {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  });

/** Loads the modules for file access. @throws Error if the platform has no file system */
export async function openDisk(op: string): Promise<Disk> {
  const [files, paths, url, os] = await Promise.all([
    nodeModule<Files>("fs/promises"),
    nodeModule<Paths>("path"),
    nodeModule<{ fileURLToPath(url: URL): string }>("url"),
    nodeModule<{ hostname(): string }>("os"),
  ]);
  if (!files || !paths || !url || !os)
    throw new Error(`${op}: this platform has no file system. Use saveState, and store its bytes elsewhere.`);
  return new Disk(files, paths, url, hostOf(os));
}

/** The host name, reduced to characters that file names allow, or a random name if Deno denies access to the host name. */
function hostOf(os: { hostname(): string }): string {
  try {
    const name = os
      .hostname()
      .replace(/[^\w-]+/g, "-")
      .slice(0, 32);
    if (name) return name;
  } catch {}
  return `host-${Math.random().toString(16).slice(2)}`;
}

/** The file operations that saveFile and loadFile need, implemented with Node's file system modules. */
export class Disk {
  private readonly process = (globalThis as unknown as { process: Process }).process;
  constructor(
    private readonly files: Files,
    private readonly paths: Paths,
    private readonly url: { fileURLToPath(url: URL): string },
    private readonly host: string,
  ) {}

  /** The absolute path of a file. Follows symbolic links, even if their target does not exist. */
  async locate(path: string | URL): Promise<string> {
    let at = this.paths.resolve(path instanceof URL ? this.url.fileURLToPath(path) : path);
    for (;;) {
      const real = await unlessMissing(this.files.realpath(at));
      if (real !== undefined) return real;
      const link = await this.files.readlink(at).catch(() => undefined);
      if (link === undefined) return at;
      const folder = this.paths.dirname(at);
      at = this.paths.resolve((await unlessMissing(this.files.realpath(folder))) ?? folder, link);
    }
  }

  /** The folder of a path. */
  folderOf(path: string): string {
    return this.paths.dirname(path);
  }

  async isFolder(path: string): Promise<boolean> {
    return (((await this.stat(path))?.mode ?? 0) & FILE_TYPE) === FOLDER;
  }

  /**
   * The name of a new file in the target's folder. The name contains the host and the process id, so that other processes can
   * decide whether the file is stale.
   */
  temporaryFor(target: string): string {
    return `${target}.${this.host}.${this.process.pid}.${Math.random().toString(16).slice(2)}.tmp`;
  }

  /** Removes temporary files of the target that crashed processes left behind. */
  async removeStale(target: string): Promise<void> {
    const folder = this.paths.dirname(target);
    const prefix = `${this.paths.basename(target)}.`;
    for (const name of (await unlessMissing(this.files.readdir(folder))) ?? []) {
      const writer = name.startsWith(prefix) && /^([\w-]+)\.(\d+)\.[0-9a-f]+\.tmp$/.exec(name.slice(prefix.length));
      if (!writer) continue;
      const path = this.paths.join(folder, name);
      const modified = (await this.stat(path))?.mtimeMs ?? Number.POSITIVE_INFINITY;
      if (!this.mayRun(writer[1]!, Number(writer[2]), modified)) await this.remove(path);
    }
  }

  /** Whether the process that created a temporary file may still be writing it. */
  private mayRun(host: string, pid: number, modified: number): boolean {
    if (modified < Date.now() - STALE_MS) return false;
    if (host !== this.host) return true;
    // After a container restarts, a new process can have the same id as the old one.
    if (pid === this.process.pid) return modified > Date.now() - 1000 * (this.process.uptime() + 1);
    try {
      this.process.kill(pid, 0);
    } catch (error) {
      return codeOf(error) !== "ESRCH";
    }
    return true;
  }

  /** The file's metadata, or undefined if it is missing. */
  stat(path: string): Promise<Stats | undefined> {
    return unlessMissing(this.files.stat(path));
  }

  /** All bytes of a file. */
  async read(path: string): Promise<Uint8Array<ArrayBuffer>> {
    const file = await this.files.open(path, "r");
    try {
      const bytes = new Uint8Array((await file.stat()).size);
      for (let at = 0; at < bytes.length; ) {
        const { bytesRead } = await file.read(bytes, at, Math.min(MAX_READ, bytes.length - at));
        if (!bytesRead) return bytes.slice(0, at);
        at += bytesRead;
      }
      return bytes;
    } finally {
      await file.close();
    }
  }

  /** Writes a new file and flushes it to disk. @param mode the file's permissions. Default: the system's */
  async write(path: string, bytes: Uint8Array, mode: number | undefined): Promise<void> {
    const file = await this.files.open(path, "wx");
    try {
      if (mode !== undefined) await file.chmod(mode & 0o777);
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  async rename(from: string, to: string, { mayBeMissing = false } = {}): Promise<void> {
    const renamed = this.files.rename(from, to);
    await (mayBeMissing ? unlessMissing(renamed) : renamed);
  }

  /** Hard-links a file, or copies it if the file system has no hard links. @returns false if the file is missing */
  async link(from: string, to: string): Promise<boolean> {
    while (await this.stat(from))
      try {
        await this.files.link(from, to);
        return true;
      } catch (error) {
        // Linux can also report ENOENT while another process is replacing the file.
        if (codeOf(error) === "ENOENT") continue;
        await this.files.copyFile(from, to);
        await this.sync(to, "r+");
        return true;
      }
    return false;
  }

  async remove(path: string): Promise<void> {
    await unlessMissing(this.files.unlink(path));
  }

  /**
   * Flushes the file's folder to disk, so that renames survive a crash. On Windows this is not necessary, and folders cannot be
   * opened.
   */
  async syncFolder(path: string): Promise<void> {
    if (this.process.platform !== "win32") await this.sync(this.paths.dirname(path), "r");
  }

  private async sync(path: string, flags: string): Promise<void> {
    const file = await this.files.open(path, flags);
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /**
   * The earlier saves of a file, `path.1`, `path.2` …, newest first, up to the first missing number. Files with other numbers,
   * such as `path.2024`, belong to the user.
   * @param gaps how many missing numbers to skip; a process that crashes during a rotation leaves one gap
   */
  async olderThan(path: string, { gaps }: { readonly gaps: number }): Promise<string[]> {
    const older: string[] = [];
    for (let i = 1, missing = 0; missing <= gaps; i++)
      if (await this.stat(`${path}.${i}`)) older.push(`${path}.${i}`);
      else missing++;
    return older;
  }
}
