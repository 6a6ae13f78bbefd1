/** Element types, numbers and names that nabla cannot represent: the rest of the file stays readable, and no value changes silently. */
import { memory, ones, tensor } from "nabla";
import {
  FormatError,
  inspectSafetensors,
  readSafetensors,
  readSafetensorsStream,
  writeSafetensors,
} from "nabla/formats";
import { describe, expect, test } from "vitest";

/** A file with tensors of the given element types, shapes and bytes, in the given order. */
function fileOf(
  tensors: Record<string, [dtype: string, shape: number[], bytes: ArrayBufferView]>,
): Uint8Array<ArrayBuffer> {
  let at = 0;
  const header: [string, object][] = [];
  const parts: Uint8Array[] = [];
  for (const [name, [dtype, shape, { buffer, byteOffset, byteLength }]] of Object.entries(tensors)) {
    header.push([name, { dtype, shape, data_offsets: [at, (at += byteLength)] }]);
    parts.push(new Uint8Array(buffer, byteOffset, byteLength));
  }
  return textFile(JSON.stringify(Object.fromEntries(header)), Buffer.concat(parts));
}

function textFile(header: string, data: Uint8Array = new Uint8Array(0)): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(header);
  const file = new Uint8Array(8 + json.length + data.length);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  file.set(data, 8 + json.length);
  return file;
}

describe("element types that nabla cannot read", () => {
  const unread: [dtype: string, shape: number[], bytes: number][] = [
    ["U64", [2], 16],
    ["C64", [2], 16],
    ["F8_E4M3", [2, 3], 6],
    ["F8_E5M2", [4], 4],
    ["F8_E8M0", [1], 1],
    ["F4", [4], 2],
    ["F6_E2M3", [4], 3],
    ["F8_E4M3FNUZ", [2], 2],
  ];
  describe.each(unread)("%s", (dtype, shape, bytes) => {
    const file = fileOf({
      before: ["F32", [1], Float32Array.of(1.5)],
      strange: [dtype, shape, new Uint8Array(bytes)],
      after: ["BF16", [2], Uint16Array.of(0x3f80, 0x4000)],
    });
    test("the other tensors can be read by name", async () => {
      const names = ["after", "before"];
      for (const { tensors } of [
        readSafetensors(file, { names }),
        await readSafetensorsStream(new Blob([file]), { names }),
      ]) {
        expect(Object.keys(tensors).sort()).toEqual(names);
        expect(tensors.before!.toArray()).toEqual([1.5]);
        expect(tensors.after!.toArray()).toEqual([1, 2]);
      }
    });
    test("reading it is rejected with a list of the supported types, before any tensor is created", async () => {
      const { tensors } = memory();
      const why = new RegExp(
        `^(read|inspect)Safetensors(Stream)?: "strange" is ${dtype}, which nabla does not read\\..*names.*F32, I32, U8`,
      );
      for (const names of [undefined, ["before", "strange"]]) {
        const options = names ? { names } : {};
        expect(() => readSafetensors(file, options)).toThrow(why);
        await expect(readSafetensorsStream(new Blob([file]), options)).rejects.toThrow(why);
      }
      expect(() => inspectSafetensors(file).entries.get("strange")!.elements()).toThrow(why);
      expect(memory().tensors).toBe(tensors);
    });
    test("it is listed with its size, which is checked", () => {
      expect(inspectSafetensors(file).entries.get("strange")).toMatchObject({ dtype, shape, bytes });
      const wrong = fileOf({ strange: [dtype, [...shape, 2], new Uint8Array(bytes)] });
      expect(() => inspectSafetensors(wrong)).toThrow(new RegExp(`of ${dtype} takes ${2 * bytes} bytes`));
    });
  });
});

describe("the names option", () => {
  const file = writeSafetensors({ a: ones([1]), b: ones([2]), c: ones([3]) });
  test("selects tensors in files and streams", async () => {
    expect(Object.keys(readSafetensors(file, { names: ["c", "a", "c"] }).tensors)).toEqual(["a", "c"]);
    expect(Object.keys((await readSafetensorsStream(new Blob([file]), { names: ["b"] })).tensors)).toEqual(["b"]);
    expect(readSafetensors(file, { names: [] }).tensors).toEqual({});
  });
  test("lists the names in the file if one is missing", async () => {
    const why = 'readSafetensors: the file has no tensor "d". It has "a", "b", "c".';
    expect(() => readSafetensors(file, { names: ["a", "d"] })).toThrow(new FormatError(why));
    await expect(readSafetensorsStream(new Blob([file]), { names: ["toString"] })).rejects.toThrow(
      /no tensor "toString"/,
    );
    const many = writeSafetensors(
      Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`layer.${i}.weight`, ones([1])])),
    );
    const read = () => readSafetensors(many, { names: ["x".repeat(1000)] });
    expect(read).toThrow(/^readSafetensors: .{1,280} and 49\d\d more\.$/);
  });
  test("must be an array", () => {
    expect(() => readSafetensors(file, { names: "a" as unknown as string[] })).toThrow(
      'readSafetensors: names must be an array of strings, got "a".',
    );
  });
});

describe("numbers that do not fit", () => {
  const cases: [string, string, ArrayBufferView, number[], RegExp, number[]][] = [
    ["float64 above the range of float32", "F64", Float64Array.of(1, 2, 3, 1e300), [2, 2], /"x"\[1, 1\] is 1e\+300, which float32 cannot hold/, [1, 2, 3, Infinity]],
    ["float64 below the range of float32", "F64", Float64Array.of(-3.5e38, Infinity), [2], /"x"\[0\] is -3\.5e\+38, which float32/, [-Infinity, Infinity]],
    ["float64 that rounds up to 2¹²⁸", "F64", Float64Array.of(3.4028235677973366e38), [], /"x" is 3\.4028235677973366e\+38/, [Infinity]],
    ["int64 above the range of int32", "I64", BigInt64Array.of(-1n, 2n ** 31n), [2], /"x"\[1\] is 2147483648, which int32 cannot hold/, [-1, 2147483647]],
    ["int64 below the range of int32", "I64", BigInt64Array.of(-(2n ** 63n), 5n), [2], /"x"\[0\] is -9223372036854775808, which int32/, [-2147483648, 5]],
    ["uint32", "U32", Uint32Array.of(7, 2 ** 31, 2 ** 32 - 1), [3], /"x"\[1\] is 2147483648, which int32 cannot hold/, [7, 2147483647, 2147483647]],
  ]; // biome-ignore format: a table
  describe.each(cases)("%s", (_, dtype, data, shape, why, saturated) => {
    const file = fileOf({ first: ["F64", [1], Float64Array.of(1)], x: [dtype, shape, data] });
    test("throw an error with the name, the index, the value and a remedy", async () => {
      const { tensors } = memory();
      expect(() => readSafetensors(file)).toThrow(why);
      expect(() => readSafetensors(file)).toThrow(
        /Pass \{ overflow: "saturate" \} to read it as (an infinity|the nearest int32)\./,
      );
      expect(() => inspectSafetensors(file).entries.get("x")!.elements()).toThrow(FormatError);
      await expect(readSafetensorsStream(new Blob([file]))).rejects.toThrow(why);
      expect(memory().tensors).toBe(tensors);
      expect(readSafetensors(file, { names: ["first"] }).tensors.first!.item()).toBe(1);
    });
    test('saturate if overflow is "saturate"', async () => {
      const options = { overflow: "saturate" } as const;
      expect([...readSafetensors(file, options).tensors.x!.data]).toEqual(saturated);
      expect([...(await readSafetensorsStream(new Blob([file]), options)).tensors.x!.data]).toEqual(saturated);
      expect([...inspectSafetensors(file).entries.get("x")!.elements(options)]).toEqual(saturated);
    });
  });
  test("infinities, NaN, −0 and the largest float32 are read unchanged", () => {
    const values = [Infinity, -Infinity, Number.NaN, -0, 3.4028234663852886e38, 3.4028235677973362e38];
    const file = fileOf({ x: ["F64", [6], Float64Array.from(values)] });
    expect([...readSafetensors(file).tensors.x!.data]).toEqual([...values.slice(0, 5), 3.4028234663852886e38]);
  });
  test("an unknown value of overflow is rejected", () => {
    const file = fileOf({ x: ["F32", [1], Float32Array.of(1)] });
    expect(() => readSafetensors(file, { overflow: "clip" as "saturate" })).toThrow(
      'readSafetensors: overflow must be "error" or "saturate", got "clip".',
    );
  });
});

describe("lone surrogates, which UTF-8 cannot encode", () => {
  const x = tensor([1]);
  test.each([
    ["a name", () => writeSafetensors({ "a\ud800": x }), /^writeSafetensors: the name "a\\ud800" has a lone surrogate/],
    ["a name that starts with a low surrogate", () => writeSafetensors({ "\udc00b": x }), /the name "\\udc00b"/],
    [
      "a name with a pair in the wrong order",
      () => writeSafetensors({ "\ude00\ud83d": x }),
      /the name "\\ude00\\ud83d"/,
    ],
    ["a metadata key", () => writeSafetensors({ x }, { "\udbff": "v" }), /the metadata key "\\udbff"/],
    ["a metadata value", () => writeSafetensors({ x }, { k: "v\udfff" }), /metadata "k" has a lone/],
  ])("are rejected on write: %s", (_, write, why) => {
    expect(write).toThrow(FormatError);
    expect(write).toThrow(why);
  });
  test.each([
    ["a name", String.raw`{"a\ud800":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`],
    ["a metadata key", String.raw`{"__metadata__":{"\udc00":"v"}}`],
    ["a metadata value", String.raw`{"__metadata__":{"k":"\ud83dv"}}`],
  ])("are rejected on read: %s", async (_, header) => {
    expect(() => readSafetensors(textFile(header))).toThrow(/has a lone surrogate, which is not valid Unicode/);
    await expect(readSafetensorsStream(new Blob([textFile(header)]))).rejects.toThrow(FormatError);
  });
  test("complete pairs are kept, escaped or not", () => {
    const tensors = { "😀": x, "": x, "a\nb\u0000": x, __proto__x: x };
    const read = readSafetensors(writeSafetensors(tensors, { "😀": "😀" }));
    expect(Object.keys(read.tensors).sort()).toEqual(Object.keys(tensors).sort());
    expect(read.metadata).toEqual({ "😀": "😀" });
    const escaped = String.raw`{"\ud83d\ude00":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`;
    expect(Object.keys(readSafetensors(textFile(escaped)).tensors)).toEqual(["😀"]);
  });
});

test("a tensor may have a numeric, an empty or a reserved name, and entries are listed in file order", () => {
  const names = ["10", "2", "", "__proto__", "constructor", "z", "\u2028", "ü"];
  const tensors = Object.fromEntries(names.map((name, i) => [name, tensor([i])]));
  const file = writeSafetensors(tensors, { 1: "one", __proto__x: "y" });
  const read = readSafetensors(file);
  for (const [i, name] of names.entries()) expect(read.tensors[name]!.item(), name).toBe(i);
  const offsets = [...inspectSafetensors(file).entries.values()].map((entry) => entry.elements().byteOffset);
  expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
});

test("null metadata is read as empty metadata, as in the reference implementation", () => {
  expect(readSafetensors(textFile('{"__metadata__":null}')).metadata).toEqual({});
});
