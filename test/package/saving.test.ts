/** If processes are killed during a save, or several save to one path, the path always holds a complete state. Runs the built package. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { loadFile, loadState, saveFile } from "nabla/formats";
import { afterEach, beforeEach, expect, test } from "vitest";

const { stateAt } = (await import("./saving.mjs" as string)) as { stateAt(step: number): Uint8Array };

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "nabla-saving-"));
  path = join(folder, "run.safetensors");
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Starts a process that saves the states after the steps `first`, `first + 1`, … Resolves after its first save. */
async function saver(first: number, keep: number): Promise<ChildProcess> {
  const child = spawn(process.execPath, ["test/package/saving.mjs", path, String(first), String(keep)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout!, "data");
  return child;
}

/** Kills a process without giving it a chance to clean up. */
async function kill(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await once(child, "exit");
}

/** The step of the state in this file. Expects the file to have the bytes that saving.mjs saves at that step. */
async function stepAt(name: string): Promise<number> {
  const bytes = await loadFile(name);
  const { step } = loadState(bytes, {});
  expect(Buffer.from(bytes).equals(stateAt(step)), `${name}, step ${step}`).toBe(true);
  return step;
}

/** The file names of the last save and of the older saves. */
const saves = (): string[] => readdirSync(folder).filter((name) => /^run\.safetensors(\.\d)?$/.test(name));

test("each of 24 processes that are killed while saving leaves a complete state, and the older states in order", async () => {
  let last = -1;
  for (let round = 0; round < 24; round++) {
    const first = 1000 * round;
    const child = await saver(first, 3);
    await setTimeout(Math.random() * 60);
    await kill(child);
    const step = await stepAt(path);
    expect(step).toBeGreaterThanOrEqual(first);
    expect(step).toBeGreaterThan(last);
    last = step;
    const steps = await Promise.all(
      saves()
        .sort()
        .map((name) => stepAt(join(folder, name))),
    );
    expect(steps.toSorted((a, b) => b - a)).toEqual(steps);
    // Only the last process's temporary files are left: a save removes earlier ones.
    expect(readdirSync(folder).filter((name) => name.endsWith(".tmp")).length).toBeLessThanOrEqual(2);
  }
  // A process that is killed while it renames older saves leaves a gap, which the next save closes.
  await saveFile(path, stateAt(last + 1), { keep: 3 });
  expect(saves()).toHaveLength(3);
  expect(await stepAt(path)).toBe(last + 1);
});

test("three processes that save to one path at the same time never leave a damaged file", async () => {
  const children = await Promise.all([saver(0, 3), saver(10_000, 3), saver(20_000, 3)]);
  for (let i = 0; i < 100; i++) {
    await stepAt(path);
    await setTimeout(5);
  }
  for (const child of children) expect(child.exitCode).toBeNull();
  await Promise.all(children.map(kill));
  for (const name of saves()) await stepAt(join(folder, name));
  expect(saves().length).toBeGreaterThanOrEqual(2);
});

test("saveFile flushes the file before it renames it, and the folder afterwards", async () => {
  const calls: string[] = [];
  const fs = (await import("node:fs/promises")).default;
  const [open, rename] = [fs.open, fs.rename];
  fs.open = async (name, ...rest) => {
    const handle = await open(name, ...rest);
    const sync = handle.sync.bind(handle);
    handle.sync = () => {
      calls.push(`sync ${name === folder ? "folder" : "file"}`);
      return sync();
    };
    return handle;
  };
  fs.rename = (from, to) => {
    calls.push(`rename to ${String(to).slice(folder.length + 1)}`);
    return rename(from, to);
  };
  try {
    for (let step = 0; step < 2; step++) await saveFile(path, stateAt(step), { keep: 2 });
  } finally {
    Object.assign(fs, { open, rename });
  }
  const save = ["sync file", "rename to run.safetensors", "sync folder"];
  expect(calls).toEqual([...save, "sync file", "rename to run.safetensors.1", ...save.slice(1)]);
  expect(readFileSync(path).equals(stateAt(1))).toBe(true);
});
