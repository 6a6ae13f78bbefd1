/** Checksums of files: flipped bits and other damage are found before anything changes. */
import { losses, manualSeed, memory, nn, optim, randn, type Tensor, tensor } from "nabla";
import {
  FormatError,
  inspectSafetensors,
  loadState,
  readSafetensors,
  readSafetensorsStream,
  saveState,
  streamSafetensors,
  writeSafetensors,
} from "nabla/formats";
import { describe, expect, test } from "vitest";
import { XXH32 } from "../../src/formats/checksum.ts";

const utf8 = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);
const MISMATCH = /^safetensors: the checksum does not match, so the file is damaged/;

describe("XXH32", () => {
  test.each([
    ["", 0x02cc5d05],
    ["a", 0x550d7456],
    ["abc", 0x32d153ff],
    ["Nobody inspects the spammish repetition", 0xe2293b2f],
  ])("of %j equals the reference implementation's", (text, hash) => {
    expect(new XXH32().update(utf8(text)).digest()).toBe(hash);
  });
  test("does not depend on the size or alignment of updates", () => {
    const bytes = Buffer.from(Uint8Array.from({ length: 200_003 }, (_, i) => (i * i) >> 3));
    const whole = new XXH32().update(bytes).digest();
    for (const sizes of [[1], [3, 16, 5], [15, 17], [70_001]]) {
      const hash = new XXH32();
      for (let at = 0, turn = 0; at < bytes.length; ) {
        const size = sizes[turn++ % sizes.length]!;
        hash.update(bytes.subarray(at, at + size));
        at += size;
      }
      expect(hash.digest(), `${sizes}`).toBe(whole);
    }
  });
});

function training() {
  manualSeed(3);
  const model = new nn.Sequential(new nn.Linear(5, 7), new nn.BatchNorm1d(7), new nn.Linear(7, 2));
  const optimizer = new optim.Adam(model.parameters(), { lr: 0.01 });
  const scheduler = new optim.StepLR(optimizer, 5);
  const average = new optim.EMA(model.parameters());
  for (let i = 0; i < 3; i++) {
    optimizer.minimize(() => losses.mse(model.forward(randn([4, 5])), randn([4, 2]))).dispose();
    scheduler.step();
    average.update();
  }
  return { model, optimizer, scheduler, average };
}

/** A copy of the file with one bit flipped. */
function flipped(file: Uint8Array, bit: number): Uint8Array<ArrayBuffer> {
  const changed = Uint8Array.from(file);
  changed[bit >> 3]! ^= 1 << (bit & 7);
  return changed;
}

/** The bits of a file that can be flipped without `read` throwing a FormatError. */
function silentFlips(file: Uint8Array, read: (file: Uint8Array) => unknown): number[] {
  const silent: number[] = [];
  for (let bit = 0; bit < 8 * file.length; bit++) {
    try {
      read(flipped(file, bit));
      silent.push(bit);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
    }
  }
  return silent;
}

describe("every flipped bit is found", () => {
  test("in a training state, and loadState changes nothing", () => {
    const parts = training();
    const extra = { note: 'a "quoted" \\ text\n', list: [1, Number.NaN, "ü"] };
    const file = saveState({ ...parts, step: 3, extra });
    expect(8 * file.length).toBeGreaterThan(20_000);
    const { tensors } = memory();
    expect(silentFlips(file, (damaged) => loadState(damaged, parts))).toEqual([]);
    expect(memory().tensors).toBe(tensors);
    expect(saveState({ ...parts, step: 3, extra })).toEqual(file);
  });
  test.each<[string, Record<string, Tensor>, Record<string, string>]>([
    ["weights of every type", { a: randn([3, 4]), i: tensor([1, -2], { dtype: "int32" }), b: tensor([true, false]), u: tensor(new Uint8Array([1, 2, 3])) }, {}],
    ["numeric names and metadata that looks like a checksum", { 1: randn([2]), 0: randn([1]) }, { 7: "xxh32:00000000", ü: "\u0001" }],
    ["no tensors", {}, {}],
  ])("in %s", (_, tensors, metadata) => {
    const file = writeSafetensors(tensors, metadata, { checksum: true });
    expect(readSafetensors(file).metadata).toEqual(metadata);
    expect(silentFlips(file, inspectSafetensors)).toEqual([]);
    expect(silentFlips(file, (damaged) => readSafetensors(damaged, { names: [] }))).toEqual([]);
  }); // biome-ignore format: a table
  test("in a stream, without leaving tensors behind", async () => {
    const file = writeSafetensors(
      { x: randn([40]), y: tensor([1], { dtype: "int32" }) },
      { a: "b" },
      { checksum: true },
    );
    const { tensors } = memory();
    for (let bit = 0; bit < 8 * file.length; bit += 7) {
      const read = readSafetensorsStream(new Blob([flipped(file, bit)]), bit % 2 ? { names: ["y"] } : {});
      await expect(read, `bit ${bit}`).rejects.toThrow(FormatError);
    }
    expect(memory().tensors).toBe(tensors);
  });
});

describe("other damage is found", () => {
  const file = saveState(training());
  const text = new TextDecoder("latin1").decode(file);
  test.each<[string, Uint8Array]>([
    ["a sector of zeros", Uint8Array.from(file).fill(0, file.length - 600, file.length - 88)],
    ["two swapped words", Uint8Array.from([...file.slice(0, -16), ...file.slice(-8), ...file.slice(-16, -8)])],
    ["a truncated file", file.slice(0, -4)],
    ["an appended byte", Uint8Array.from([...file, 0])],
    ["a checksum that is not hexadecimal", Buffer.from(text.replace(/xxh32:..../, "xxh32:zzzz"), "latin1")],
    ["metadata in another order", Buffer.from(text.replace(/("nabla.checksum":"[^"]*"),("format":"pt")/, "$2,$1"), "latin1")],
  ])("%s", (_, damaged) => {
    expect(Buffer.from(damaged).equals(Buffer.from(file))).toBe(false);
    expect(() => loadState(damaged, {})).toThrow(FormatError);
  }); // biome-ignore format: a table
  test("the error says what to do, and verify: false reads the file", () => {
    const x = randn([2]);
    const sound = writeSafetensors({ x }, {}, { checksum: true });
    const damaged = flipped(sound, 8 * sound.length - 30);
    expect(() => readSafetensors(damaged)).toThrow(MISMATCH);
    expect(() => inspectSafetensors(damaged)).toThrow(/Load an older copy, or pass \{ verify: false \}/);
    expect(readSafetensors(damaged, { verify: false })).toMatchObject({ metadata: {}, tensors: { x: { shape: [2] } } });
    expect([...inspectSafetensors(damaged, { verify: false }).entries.keys()]).toEqual(["x"]);
    const state = flipped(file, 8 * file.length - 1);
    expect(loadState(state, { verify: false }).step).toBe(0);
  });
  test("the error of a stream says what to do, and verify: false reads the stream", async () => {
    const sound = writeSafetensors({ x: randn([2]) }, {}, { checksum: true });
    const damaged = flipped(sound, 8 * sound.length - 30);
    await expect(readSafetensorsStream(new Blob([damaged]))).rejects.toThrow(MISMATCH);
    const { tensors } = await readSafetensorsStream(new Blob([damaged]), { verify: false });
    expect(Object.keys(tensors)).toEqual(["x"]);
  });
});

describe("files with and without a checksum", () => {
  test("a state without a checksum loads", () => {
    const parts = training();
    const { tensors, metadata } = readSafetensors(saveState({ ...parts, step: 9 }));
    const plain = writeSafetensors(tensors, metadata);
    expect(new TextDecoder().decode(plain)).not.toContain("xxh32");
    expect(loadState(plain, parts).step).toBe(9);
  });
  test("a checksum is optional, keeps tensors aligned and is not part of the metadata", () => {
    const tensors = { x: randn([3]), m: tensor([true]) };
    const [plain, summed] = [false, true].map((checksum) => writeSafetensors(tensors, { a: "b" }, { checksum }));
    expect(writeSafetensors(tensors, { a: "b" })).toEqual(plain);
    for (const file of [plain!, summed!]) {
      const { entries, metadata } = inspectSafetensors(file);
      expect(metadata).toEqual({ a: "b" });
      expect(entries.get("x")!.elements().buffer).toBe(file.buffer);
    }
    const header = new TextDecoder().decode(summed!.slice(8, 80));
    expect(header).toMatch(/^\{"__metadata__":\{"nabla\.checksum":"xxh32:[0-9a-f]{8}","a":"b"\}/);
  });
  test("a stream with a checksum is byte-identical to the file", async () => {
    const tensors = { x: randn([30_000]), i: tensor([1, 2], { dtype: "int32" }), m: tensor([true]) };
    const stream = streamSafetensors(tensors, { a: "b" }, { checksum: true });
    const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
    expect(bytes).toEqual(writeSafetensors(tensors, { a: "b" }, { checksum: true }));
    expect(Object.keys((await readSafetensorsStream(new Blob([bytes]))).tensors)).toEqual(["i", "x", "m"]);
  });
  test("the metadata key of the checksum is reserved", () => {
    expect(() => writeSafetensors({}, { "nabla.checksum": "x" })).toThrow(
      'writeSafetensors: metadata "nabla.checksum" is reserved. Pass { checksum: true } instead.',
    );
  });
});
