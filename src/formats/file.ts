/**
 * saveFile and loadFile, for Node, Deno and Bun. A crash during a save does not damage the saved file. A new file is written next
 * to the old one, flushed to disk and renamed over it, so the path always holds a complete file. There is no lock: if several
 * processes save to one path, the last one wins.
 */
import { check } from "../runtime/arguments.ts";
import { requireWhole, TypeError } from "../runtime/errors.ts";
import { describe } from "../runtime/kinds.ts";
import { codeOf, type Disk, explainErrors, fileError, openDisk, requirePath } from "./disk.ts";
import { FormatError, quote } from "./errors.ts";
import { inspectSafetensors } from "./safetensors.ts";
import { type Progress, saveState, type Training } from "./state.ts";

/** Options for saveFile. */
export interface SaveOptions {
  /**
   * The number of saves to keep: the latest at `path`, the previous one at `path.1`, and so on up to `path.(keep − 1)`.
   * Older saves are removed up to the first missing number, so a file such as `path.2024` stays. Default: 1, but only
   * an explicit 1 removes `path.1` and older saves.
   */
  readonly keep?: number;
}

/** Options for loadFile. */
export interface LoadFileOptions {
  /**
   * Whether to fall back, with a warning, to the most recent older save that is intact if `path` is damaged or missing.
   * If false, loadFile throws an error that names that save. Default false.
   */
  readonly fallback?: boolean;
}

/** The last pending save for each path, so that saves to the same path run in order. */
const saves = new Map<string, Promise<void>>();

/**
 * Saves a training state (see saveState) or bytes to a file, in Node, Deno and Bun. If the process or the machine crashes during
 * a save, `path` still holds the previous save. The state is captured synchronously, so you can continue training before the
 * promise resolves. If you pass bytes, do not change them until the promise resolves.
 *
 * ```ts
 * await saveFile("run.safetensors", { model, optimizer, step }, { keep: 3 });
 * const { step } = loadState(await loadFile("run.safetensors"), { model, optimizer });
 * ```
 * @throws Error if a file operation fails (with the file system's `code`) or there is no file system; TypeError or
 * RangeError for invalid arguments. In each case, `path` is unchanged
 */
export async function saveFile(
  path: string | URL,
  contents: Uint8Array | ArrayBuffer | (Training & Progress),
  options: SaveOptions = {},
): Promise<void> {
  check("saveFile", arguments, "path:any contents:any {keep:number}");
  requirePath("saveFile", path);
  const { keep } = options;
  if (keep !== undefined) requireWhole("saveFile", { keep });
  if (typeof contents !== "object" || contents === null)
    throw new TypeError(
      `saveFile: contents must be bytes or an object such as { model, optimizer }, got ${describe(contents)}.`,
    );
  const bytes = ArrayBuffer.isView(contents)
    ? new Uint8Array(contents.buffer, contents.byteOffset, contents.byteLength)
    : contents instanceof ArrayBuffer
      ? new Uint8Array(contents)
      : saveState(contents);
  const key = String(path);
  const save = (saves.get(key) ?? Promise.resolve()).catch(() => {}).then(() => replace(path, bytes, keep));
  saves.set(key, save);
  try {
    await save;
  } finally {
    if (saves.get(key) === save) saves.delete(key);
  }
}

async function replace(path: string | URL, bytes: Uint8Array, keep: number | undefined): Promise<void> {
  const disk = await openDisk("saveFile");
  await explainErrors("saveFile", path, disk, async () => {
    const target = await disk.locate(path);
    const folder = disk.folderOf(target);
    if (await disk.isFolder(target))
      throw fileError(`saveFile: ${quote(target)} is a folder. Pass the path of a file in this folder.`, "EISDIR");
    if (!(await disk.stat(folder)))
      throw fileError(
        `saveFile: the folder ${quote(folder)} does not exist. Create it first: mkdirSync(folder, { recursive: true }).`,
        "ENOENT",
      );
    await write(disk, target, bytes, keep ?? 1);
    if (keep !== undefined) await prune(disk, target, keep);
    await disk.syncFolder(target);
  });
}

/** Removes the saves beyond `keep`. Starts with the oldest, so that the next save finds the remaining ones if the process crashes. */
async function prune(disk: Disk, target: string, keep: number): Promise<void> {
  const older = await disk.olderThan(target, { gaps: 0 });
  for (const path of older.slice(keep - 1).reverse()) await disk.remove(path);
}

async function write(disk: Disk, target: string, bytes: Uint8Array, keep: number): Promise<void> {
  await disk.removeStale(target);
  const temporary = disk.temporaryFor(target);
  try {
    await disk.write(temporary, bytes, (await disk.stat(target))?.mode);
    await rotate(disk, target, keep);
    await disk.rename(temporary, target);
  } catch (error) {
    await disk.remove(temporary);
    throw error;
  }
}

/** Renames older saves to the next number and hard-links `target` as `target.1`. Never removes `target`. */
async function rotate(disk: Disk, target: string, keep: number): Promise<void> {
  const current = await disk.stat(target);
  if (keep < 2 || !current) return;
  const first = await disk.stat(`${target}.1`);
  // If `path.1` is a link to the current file, an interrupted save has already rotated the files.
  if (first && first.ino === current.ino && first.dev === current.dev) return;
  let last = 1;
  while (last < keep - 1 && (await disk.stat(`${target}.${last}`))) last++;
  for (let i = last; i > 1; i--) await disk.rename(`${target}.${i - 1}`, `${target}.${i}`, { mayBeMissing: true });
  const copy = disk.temporaryFor(target);
  try {
    if (await disk.link(target, copy)) await disk.rename(copy, `${target}.1`);
  } finally {
    await disk.remove(copy);
  }
}

/**
 * Reads a safetensors file and verifies its structure and checksum. Pass the bytes to loadState or readSafetensors. If the file is damaged
 * or missing and an older save is intact (see `keep` of saveFile), the error names that save.
 *
 * ```ts
 * loadState(await loadFile("run.safetensors", { fallback: true }), { model, optimizer });
 * ```
 * @throws FormatError if the file is damaged; Error with the file system's `code` ("ENOENT" if there is no save at all)
 */
export async function loadFile(path: string | URL, options: LoadFileOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
  const parts = ["model", "optimizer", "scheduler", "average"].filter((name) => Object.hasOwn(options ?? {}, name));
  if (parts.length)
    throw new TypeError(
      `loadFile: unknown option ${quote(parts[0]!)}. loadFile returns bytes: pass them to loadState(await loadFile(path), { ${parts.join(", ")} }).`,
    );
  check("loadFile", arguments, "path:any {fallback:boolean}");
  requirePath("loadFile", path);
  const disk = await openDisk("loadFile");
  return await explainErrors("loadFile", path, disk, () => load(disk, path, options));
}

async function load(
  disk: Disk,
  path: string | URL,
  { fallback = false }: LoadFileOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const target = await disk.locate(path);
  if (await disk.isFolder(target))
    throw fileError(`loadFile: ${quote(target)} is a folder. Pass the path of a file in this folder.`, "EISDIR");
  try {
    return await readIntact(disk, target);
  } catch (error) {
    if (!isDamage(error)) throw error;
    const older = await disk.olderThan(target, { gaps: 1 });
    for (const candidate of older) {
      const bytes = await readIntact(disk, candidate).catch(() => undefined);
      if (!bytes) continue;
      const why = `loadFile: ${quote(target)} is ${reason(error)}.`;
      if (!fallback)
        throw new FormatError(`${why} ${quote(candidate)} is intact: load it, or pass { fallback: true }.`, {
          cause: error,
        });
      console.warn(`${why} Loaded ${quote(candidate)} instead.`);
      return bytes;
    }
    if (!older.length && !(error instanceof FormatError)) throw error;
    const also = older.length ? ` No older save is intact either (${older.length} checked).` : "";
    throw new FormatError(`loadFile: ${quote(target)} is ${reason(error)}.${also}`, { cause: error });
  }
}

async function readIntact(disk: Disk, path: string): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await disk.read(path);
  inspectSafetensors(bytes);
  return bytes;
}

const isDamage = (error: unknown): boolean => error instanceof FormatError || codeOf(error) === "ENOENT";

/** "missing", or "damaged" with the first sentence of the error. */
const reason = (error: unknown): string =>
  error instanceof FormatError
    ? `damaged (${error.message
        .replace(/^safetensors: /, "")
        .split(/[.?] |\.$/, 1)[0]!
        .slice(0, 90)})`
    : "missing";
