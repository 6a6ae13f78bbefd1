/** saveFile and loadFile: the path holds a complete file at all times, and `keep` determines how many older saves stay. */
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { hostname, tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { manualSeed, nn, optim, tensor } from "nabla";
import {
  FormatError,
  loadFile,
  loadState,
  readSafetensors,
  saveFile,
  saveState,
  writeSafetensors,
} from "nabla/formats";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

let folder: string;
let path: string;
beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), "nabla-file-"));
  path = join(folder, "run.safetensors");
});
afterEach(() => {
  vi.restoreAllMocks();
  fs.rmSync(folder, { recursive: true });
});

/** A small file that contains a number. */
const fileOf = (value: number): Uint8Array<ArrayBuffer> =>
  writeSafetensors({ x: tensor([value]) }, {}, { checksum: true });
const valueIn = (file: Uint8Array): number => readSafetensors(file).tensors.x!.item();
const valueAt = (place: string): number => valueIn(fs.readFileSync(place));
const files = (): string[] => fs.readdirSync(folder).sort();
const damage = (place: string): void => {
  const bytes = fs.readFileSync(place);
  bytes[bytes.length - 1]! ^= 1;
  fs.writeFileSync(place, bytes);
};
const host = hostname()
  .replace(/[^\w-]+/g, "-")
  .slice(0, 32);

describe("saving and then loading preserves every byte", () => {
  test("of the training state at the time of the call", async () => {
    manualSeed(1);
    const model = new nn.Linear(3, 2);
    const optimizer = new optim.Adam(model.parameters());
    const train = () => optimizer.minimize(() => model.forward(tensor([[1, 2, 3]])).sum()).dispose();
    train();
    const state = saveState({ model, optimizer, step: 4 });
    const saved = saveFile(path, { model, optimizer, step: 4 });
    train();
    await saved;
    expect(fs.readFileSync(path).equals(state)).toBe(true);
    expect(loadState(await loadFile(path), { model, optimizer }).step).toBe(4);
    expect(saveState({ model, optimizer, step: 4 })).toEqual(state);
    expect(files()).toEqual(["run.safetensors"]);
  });
  test.each<[string, (bytes: Uint8Array<ArrayBuffer>) => Uint8Array | ArrayBuffer, (path: string) => string | URL]>([
    ["bytes", (bytes) => bytes, (place) => place],
    ["an ArrayBuffer and a URL", (bytes) => bytes.buffer, (place) => pathToFileURL(place)],
    ["a view of a Buffer", (bytes) => Buffer.concat([Buffer.from("abc"), bytes]).subarray(3), (place) => place],
  ])("of contents given as %s", async (_, as, at) => {
    await saveFile(at(path), as(fileOf(5)));
    expect(valueIn(await loadFile(at(path)))).toBe(5);
    expect(fs.readFileSync(path).equals(fileOf(5))).toBe(true);
  });
  test("of a file of several megabytes", async () => {
    const values = Float32Array.from({ length: 1_000_000 }, (_, i) => i);
    await saveFile(path, writeSafetensors({ x: tensor(values) }));
    expect(readSafetensors(await loadFile(path)).tensors.x!.data).toEqual(values);
  });
});

describe("older saves", () => {
  test.each([
    [undefined, [5]],
    [1, [5]],
    [2, [5, 4]],
    [3, [5, 4, 3]],
    [9, [5, 4, 3, 2, 1]],
  ])("keep: %s keeps these of five saves: %j", async (keep, expected) => {
    for (let i = 1; i <= 5; i++) await saveFile(path, fileOf(i), keep === undefined ? {} : { keep });
    expect(files()).toEqual(expected.map((_, i) => `run.safetensors${i ? `.${i}` : ""}`));
    expect(files().map((name) => valueAt(join(folder, name)))).toEqual(expected);
  });
  test("concurrent saves run in the order of their calls", async () => {
    await Promise.all([1, 2, 3, 4].map((i) => saveFile(path, fileOf(i), { keep: 3 })));
    expect(files().map((name) => valueAt(join(folder, name)))).toEqual([4, 3, 2]);
  });
  test("are not shifted twice if a process stopped between linking the old file and renaming the new one", async () => {
    for (let i = 1; i <= 3; i++) await saveFile(path, fileOf(i), { keep: 3 });
    fs.rmSync(`${path}.2`);
    fs.renameSync(`${path}.1`, `${path}.2`);
    fs.linkSync(path, `${path}.1`);
    await saveFile(path, fileOf(4), { keep: 3 });
    expect(files().map((name) => valueAt(join(folder, name)))).toEqual([4, 3, 2]);
  });
  test("fill a gap before the oldest is removed", async () => {
    for (let i = 1; i <= 3; i++) await saveFile(path, fileOf(i), { keep: 3 });
    fs.rmSync(`${path}.1`);
    await saveFile(path, fileOf(4), { keep: 3 });
    expect(files().map((name) => valueAt(join(folder, name)))).toEqual([4, 3, 1]);
  });
  test.each([0, -1, 1.5, Number.NaN])("keep: %s is rejected before anything is written", async (keep) => {
    await expect(saveFile(path, fileOf(1), { keep })).rejects.toThrow(/^saveFile: keep must be a whole number/);
    expect(files()).toEqual([]);
  });
});

describe("keep", () => {
  const others = ["run.safetensors.10", "run.safetensors.2024", "run.safetensors.old"];
  test.each([
    [4, 4, [7, 6, 5, 4]],
    [4, 3, [7, 6, 5]],
    [4, 2, [7, 6]],
    [4, 1, [7]],
    [6, 2, [7, 6]],
    [2, 4, [7, 6, 5]],
  ])(
    "%s, then %s: older saves beyond keep are removed, and files with other numbers stay",
    async (before, after, expected) => {
      for (let i = 1; i <= 6; i++) await saveFile(path, fileOf(i), { keep: before });
      for (const name of others) fs.writeFileSync(join(folder, name), "the user's");
      await saveFile(path, fileOf(7), { keep: after });
      const saves = files().filter((name) => !others.includes(name));
      expect(saves.map((name) => valueAt(join(folder, name)))).toEqual(expected);
      expect(files().filter((name) => others.includes(name))).toEqual(others);
    },
  );
  test("omitted: earlier saves stay unchanged", async () => {
    for (let i = 1; i <= 3; i++) await saveFile(path, fileOf(i), { keep: 3 });
    await saveFile(path, fileOf(4));
    expect(files().map((name) => valueAt(join(folder, name)))).toEqual([4, 2, 1]);
  });
  test("the fallback for a damaged file ignores files with other numbers", async () => {
    await saveFile(path, fileOf(1));
    fs.writeFileSync(`${path}.2024`, fileOf(2));
    damage(path);
    await expect(loadFile(path, { fallback: true })).rejects.toThrow(/is damaged/);
  });
});

describe("invalid paths", () => {
  const paths: [string, unknown, string][] = [
    ["undefined", undefined, "got undefined. Pass the path of a file."],
    ["empty", "", 'got "". Pass the path of a file.'],
    ["a number", 7, "got 7. Pass the path of a file."],
    ["null", null, "got null."],
    ["a path with a NUL", "a\0b", 'got "a\\u0000b".'],
    ["an https URL", new URL("https://example.com/a"), 'got "https://example.com/a".'],
  ];
  test.each(paths)("%s", async (_, wrong, message) => {
    const path = wrong as string;
    await expect(saveFile(path, fileOf(1))).rejects.toThrow(
      `saveFile: path must be a string or a file: URL, ${message}`,
    );
    await expect(loadFile(path)).rejects.toThrow(`loadFile: path must be a string or a file: URL, ${message}`);
  });
  test("no arguments", async () => {
    await expect((loadFile as () => Promise<unknown>)()).rejects.toThrow(/^loadFile: path must be a string/);
    await expect((saveFile as () => Promise<unknown>)()).rejects.toThrow(/^saveFile: path must be a string/);
  });
  test("a folder", async () => {
    const error = {
      code: "EISDIR",
      message: expect.stringMatching(/^(save|load)File: .* is a folder\. Pass the path of a file/),
    };
    await expect(saveFile(folder, fileOf(1))).rejects.toMatchObject(error);
    await expect(loadFile(folder)).rejects.toMatchObject(error);
    await expect(loadFile(pathToFileURL(folder))).rejects.toMatchObject(error);
  });
  test("a missing folder or file", async () => {
    const inside = join(folder, "none", "run");
    await expect(saveFile(inside, fileOf(1))).rejects.toMatchObject({
      code: "ENOENT",
      message: expect.stringMatching(/^saveFile: the folder ".*none" does not exist\. Create it first: mkdirSync\(/),
    });
    for (const missing of [inside, path])
      await expect(loadFile(missing)).rejects.toMatchObject({
        code: "ENOENT",
        message: expect.stringMatching(/^loadFile: cannot read ".*run.*": it does not exist\. Check the path\.$/),
      });
  });
  test("a file in place of a folder", async () => {
    fs.writeFileSync(path, "x");
    for (const [op, attempt] of [
      ["saveFile: cannot write", () => saveFile(join(path, "a"), fileOf(1))],
      ["loadFile: cannot read", () => loadFile(join(path, "a"))],
    ] as const)
      await expect(attempt()).rejects.toMatchObject({
        code: "ENOTDIR",
        message: expect.stringMatching(new RegExp(`^${op} ".*": ".*run\\.safetensors" is not a folder\\.`)),
      });
  });
});

test.each([["model"], ["optimizer"], ["average"]])(
  "the error of loadFile with { %s } names loadState",
  async (part) => {
    await expect(loadFile(path, { [part]: {} } as object)).rejects.toThrow(
      `loadFile: unknown option "${part}". loadFile returns bytes: pass them to loadState(await loadFile(path), { ${part} }).`,
    );
  },
);

describe("if the file is", () => {
  const states: [string, (place: string) => void, RegExp][] = [
    ["damaged", damage, /"[^"]*run\.safetensors" is damaged \(the checksum does not match/],
    ["truncated", (place) => fs.truncateSync(place, 40), /is damaged \(the header claims \d+ bytes, but the file has 40\)/],
    ["empty", (place) => fs.truncateSync(place, 0), /is damaged \(the file has 0 bytes, too few for a header\)/],
    ["missing", (place) => fs.rmSync(place), /is missing/],
  ]; // biome-ignore format: a table
  describe.each(states)("%s", (_, spoil, why) => {
    beforeEach(async () => {
      for (let i = 1; i <= 4; i++) await saveFile(path, fileOf(i), { keep: 4 });
      spoil(path);
    });
    test("loadFile names the newest intact save", async () => {
      damage(`${path}.1`);
      const error = await loadFile(path).catch((thrown) => thrown);
      expect(error).toBeInstanceOf(FormatError);
      expect(error.message).toMatch(why);
      expect(error.message).toContain(`run.safetensors.2" is intact: load it, or pass { fallback: true }.`);
      expect(error.message.length).toBeLessThanOrEqual(300);
      expect(valueIn(await loadFile(`${path}.2`))).toBe(2);
    });
    test("loadFile with fallback loads it and warns", async () => {
      const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
      expect(valueIn(await loadFile(path, { fallback: true }))).toBe(3);
      expect(warn.mock.calls).toEqual([
        [expect.stringMatching(/^loadFile: .*Loaded .*run\.safetensors\.1" instead\.$/)],
      ]);
    });
    test("loadFile says if no save is intact", async () => {
      for (const i of [1, 2, 3]) damage(`${path}.${i}`);
      await expect(loadFile(path, { fallback: true })).rejects.toThrow(
        /No older save is intact either \(3 checked\)\.$/,
      );
    });
  });
  test("missing and has no older saves, loadFile throws ENOENT", async () => {
    await expect(loadFile(path)).rejects.toMatchObject({ code: "ENOENT" });
  });
  test("intact, loadFile ignores damaged older saves", async () => {
    for (let i = 1; i <= 2; i++) await saveFile(path, fileOf(i), { keep: 2 });
    damage(`${path}.1`);
    expect(valueIn(await loadFile(path))).toBe(2);
  });
});

describe("temporary files", () => {
  const gone = spawnSync(process.execPath, ["-e", ""]).pid;
  const names = (): [stale: string[], live: string[]] => [
    [`run.safetensors.${host}.${gone}.abc.tmp`, `run.safetensors.elsewhere.1.old.tmp`.replace("old", "0d")],
    [
      `run.safetensors.${host}.${process.pid}.1f.tmp`,
      `run.safetensors.${host}.${process.ppid}.2f.tmp`,
      "run.safetensors.elsewhere.1.3f.tmp",
      `other.safetensors.${host}.${gone}.abc.tmp`,
      "run.safetensors.notes.tmp",
    ],
  ];
  test("of stopped processes are removed, and those of running processes stay", async () => {
    const [stale, live] = names();
    for (const name of [...stale, ...live]) fs.writeFileSync(join(folder, name), "half");
    const old = Date.now() / 1000 - 25 * 3600;
    fs.utimesSync(join(folder, stale[1]!), old, old);
    await saveFile(path, fileOf(1));
    expect(files()).toEqual([...live, "run.safetensors"].sort());
  });
  test("of an earlier process with the same process id are removed", async () => {
    const name = join(folder, `run.safetensors.${host}.${process.pid}.1f.tmp`);
    fs.writeFileSync(name, "half");
    const before = Date.now() / 1000 - process.uptime() - 10;
    fs.utimesSync(name, before, before);
    await saveFile(path, fileOf(1));
    expect(files()).toEqual(["run.safetensors"]);
  });
  test("are removed if the save fails", async () => {
    fs.mkdirSync(path);
    await expect(saveFile(path, fileOf(1), { keep: 2 })).rejects.toMatchObject({ code: expect.any(String) });
    expect(files()).toEqual(["run.safetensors"]);
    await expect(saveFile(join(folder, "none", "run"), fileOf(1))).rejects.toMatchObject({ code: "ENOENT" });
  });
  test("a failed save does not stop the next one", async () => {
    fs.mkdirSync(path);
    const [first] = await Promise.allSettled([
      saveFile(path, fileOf(1)),
      Promise.resolve().then(() => saveFile(`${path}2`, fileOf(2))),
    ]);
    expect(first.status).toBe("rejected");
    fs.rmdirSync(path);
    await saveFile(path, fileOf(3));
    expect([valueAt(path), valueAt(`${path}2`)]).toEqual([3, 2]);
  });
});

describe.skipIf(process.platform === "win32")("replacing a file keeps", () => {
  test("permissions", async () => {
    await saveFile(path, fileOf(1));
    fs.chmodSync(path, 0o600);
    await saveFile(path, fileOf(2), { keep: 2 });
    expect([path, `${path}.1`].map((file) => fs.statSync(file).mode & 0o777)).toEqual([0o600, 0o600]);
  });
  test("symbolic links, and replaces their target", async () => {
    const real = join(folder, "real.safetensors");
    fs.writeFileSync(real, fileOf(1));
    fs.symlinkSync(basename(real), path);
    await saveFile(path, fileOf(2), { keep: 2 });
    expect(fs.lstatSync(path).isSymbolicLink()).toBe(true);
    expect([valueAt(real), valueAt(`${real}.1`)]).toEqual([2, 1]);
    damage(real);
    await expect(loadFile(path)).rejects.toThrow(/real\.safetensors\.1" is intact/);
  });
});

describe.skipIf(process.platform === "win32")("symbolic links to missing files are followed", () => {
  test.each<[string, (real: string) => string]>([
    ["relative", (real) => basename(real)],
    ["absolute", (real) => real],
    ["through a folder", (real) => join("..", basename(folder), basename(real))],
  ])("%s", async (_, to) => {
    const real = join(folder, "real.safetensors");
    fs.symlinkSync(to(real), path);
    await saveFile(path, fileOf(2));
    expect(fs.lstatSync(path).isSymbolicLink()).toBe(true);
    expect([valueAt(real), valueIn(await loadFile(path))]).toEqual([2, 2]);
  });
  test("a link to a link", async () => {
    fs.symlinkSync("middle", path);
    fs.symlinkSync("real", join(folder, "middle"));
    await saveFile(path, fileOf(3));
    expect([path, join(folder, "middle")].every((link) => fs.lstatSync(link).isSymbolicLink())).toBe(true);
    expect(valueAt(join(folder, "real"))).toBe(3);
  });
  test("links that form a loop are rejected", async () => {
    fs.symlinkSync("run.safetensors", path);
    await expect(saveFile(path, fileOf(1))).rejects.toThrow(
      /^saveFile: cannot write ".*": its symbolic links form a loop/,
    );
    await expect(loadFile(path)).rejects.toThrow(/^loadFile: cannot read ".*": its symbolic links form a loop/);
  });
});

test.each([["text"], [null], [7]])("saveFile rejects %j as contents", async (contents) => {
  await expect(saveFile(path, contents as unknown as Uint8Array)).rejects.toThrow(
    /^saveFile: contents must be bytes or an object such as \{ model, optimizer \}, got/,
  );
  expect(files()).toEqual([]);
});

test("without a file system, the error recommends saveState", async () => {
  const { versions } = process;
  Object.defineProperty(process, "versions", { value: {}, configurable: true });
  try {
    await expect(saveFile(path, fileOf(1))).rejects.toThrow(
      /^saveFile: this platform has no file system\. Use saveState/,
    );
    await expect(loadFile(path)).rejects.toThrow(/^loadFile: this platform has no file system/);
  } finally {
    Object.defineProperty(process, "versions", { value: versions, configurable: true });
  }
});
