/** Malformed, truncated and mutated safetensors files and streams: they are rejected before any tensor is created. */
import fc from "fast-check";
import { memory, ones, tensor } from "nabla";
import {
  FormatError,
  inspectSafetensors,
  readSafetensors,
  readSafetensorsStream,
  writeSafetensors,
} from "nabla/formats";
import { beforeEach, describe, expect, test } from "vitest";
import { runs } from "../support/runs.ts";
import { fileOf, inChunks, trackTensors } from "./files.ts";

const { own, leaked } = trackTensors();

describe("malformed files are rejected with a reason, and create no tensors", () => {
  const u8 = (begin: number, end: number, shape = [end - begin]) => ({
    dtype: "U8",
    shape,
    data_offsets: [begin, end],
  });
  const cases: [string, Uint8Array, RegExp][] = [
    ["an empty file", new Uint8Array(0), /has 0 bytes, too few/],
    ["a file of a few bytes", new Uint8Array(7), /has 7 bytes, too few/],
    ["a header of gigabytes", fileOf({}, 0, 2n ** 40n), /1099511627776 bytes, but the limit is 16777216/],
    ["a header of 2⁶⁴ − 1 bytes", fileOf({}, 0, 2n ** 64n - 1n), /but the limit is/],
    ["a header longer than the file", fileOf({}, 0, 3n), /claims 3 bytes, but the file has 10/],
    ["a header that is not JSON", fileOf("{nonsense}"), /not JSON/],
    ["JSON that is not an object", fileOf("[1, 2]"), /does not begin with \{/],
    ["a header that starts with a space", fileOf(" {}"), /does not begin with \{/],
    ["a header that is not UTF-8", Uint8Array.of(4, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x22, 0xff, 0x22), /not JSON/],
    ["an entry that is not an object", fileOf({ x: 3 }), /the entry of "x" must be an object/],
    ["an entry that is a list", fileOf({ x: [] }), /the entry of "x" must be an object/],
    ["an unknown dtype", fileOf({ x: { ...u8(0, 1), dtype: "FLOAT" } }, 1), /unknown dtype "FLOAT"/],
    [
      "a dtype that is a property of Object",
      fileOf({ x: { ...u8(0, 1), dtype: "constructor" } }, 1),
      /dtype "constructor"/,
    ],
    ["a dtype that is not a string", fileOf({ x: { ...u8(0, 1), dtype: { a: 1 } } }, 1), /a dtype that is a string/],
    [
      "a dtype that cannot be converted to a string",
      fileOf({ x: { ...u8(0, 1), dtype: { toString: 1, valueOf: 1 } } }, 1),
      /must have a dtype that is a string, got object/,
    ],
    [
      "a deeply nested dtype",
      fileOf(`{"x":{"dtype":${"[".repeat(100_000)}${"]".repeat(100_000)},"shape":[1],"data_offsets":[0,1]}}`, 1),
      /the header is nested more than 16 levels deep/,
    ],
    [
      "a missing shape",
      fileOf({ x: { dtype: "U8", data_offsets: [0, 1] } }, 1),
      /must have a shape of at most 32 whole numbers/,
    ],
    ["a negative size", fileOf({ x: u8(0, 1, [-1]) }, 1), /must have a shape of at most 32 whole numbers/],
    ["a fractional size", fileOf({ x: u8(0, 1, [0.5]) }, 1), /must have a shape of at most 32 whole numbers/],
    [
      "a size that is a string",
      fileOf({ x: u8(0, 1, ["1"] as unknown as number[]) }, 1),
      /must have a shape of at most 32 whole numbers/,
    ],
    ["a thousand dimensions", fileOf({ x: u8(0, 1, new Array(1000).fill(1)) }, 1), /at most 32 whole numbers/],
    ["a shape that overflows", fileOf({ x: u8(0, 1, [2 ** 40, 2 ** 40]) }, 1), /takes 1\.2\d+e\+24 bytes/],
    [
      "a single offset",
      fileOf({ x: { ...u8(0, 1), data_offsets: [0] } }, 1),
      /must have data_offsets of two whole numbers/,
    ],
    ["negative offsets", fileOf({ x: u8(-1, 0, [1]) }, 1), /must have data_offsets of two whole numbers/],
    ["offsets in the wrong order", fileOf({ x: u8(1, 0, [1]) }, 1), /data_offsets 1 to 0, but \[1\] of U8 takes 1/],
    ["offsets that do not fit the shape", fileOf({ x: u8(0, 4, [3]) }, 4), /0 to 4, but \[3\] of U8 takes 3 bytes/],
    ["offsets beyond the file", fileOf({ x: u8(0, 9) }, 4), /9 bytes of tensors, but the file has 4/],
    ["tensors that overlap", fileOf({ x: u8(0, 4), y: u8(2, 6) }, 6), /"y" begins at 2, within/],
    ["the same bytes twice", fileOf({ x: u8(0, 4), y: u8(0, 4) }, 4), /"y" begins at 0, within/],
    ["a gap", fileOf({ x: u8(0, 2), y: u8(3, 5) }, 5), /bytes 2 to 3, before "y", belong to no tensor/],
    ["a gap at the start", fileOf({ x: u8(1, 2) }, 2), /bytes 0 to 1/],
    ["trailing bytes", fileOf({ x: u8(0, 2) }, 3), /2 bytes of tensors, but the file has 3/],
    ["a duplicate name", fileOf('{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\\u0078":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1), /duplicate key "x"/], // biome-ignore format: one line
    [
      "a duplicate key",
      fileOf('{"x":{"dtype":"U8","shape":[1],"shape":[2],"data_offsets":[0,2]}}', 2),
      /duplicate key "shape"/,
    ],
    ["an unknown key", fileOf({ x: { ...u8(0, 1), strides: [1] } }, 1), /an unknown key "strides"/],
    ["metadata that is not an object", fileOf({ __metadata__: "x" }), /__metadata__ must be an object of strings/],
    ["metadata that is not a string", fileOf({ __metadata__: { a: 1 } }), /__metadata__ must be an object of strings/],
  ];
  test.each(cases)("%s", async (_, file, why) => {
    for (const read of [readSafetensors, inspectSafetensors])
      expect(() => read(file)).toThrow(
        expect.objectContaining({ name: "FormatError", message: expect.stringMatching(why) }),
      );
    await expect(readSafetensorsStream(new Blob([file as Uint8Array<ArrayBuffer>]))).rejects.toThrow(FormatError);
    await expect(readSafetensorsStream(inChunks(file as Uint8Array<ArrayBuffer>, 5))).rejects.toThrow(FormatError);
    expect(leaked()).toEqual({ tensors: 0, bytes: 0 });
  });

  test("an integer that int32 cannot represent is rejected", () => {
    const file = fileOf({ a: u8(0, 2), x: { dtype: "I64", shape: [1], data_offsets: [2, 10] } }, 10);
    file[file.length - 1] = 1;
    expect(() => readSafetensors(file)).toThrow(
      /^readSafetensors: "x"\[0\] is 72057594037927936, which int32 cannot hold/,
    );
    expect(leaked()).toEqual({ tensors: 0, bytes: 0 });
  });
  test("deep nesting is rejected without recursion", () => {
    const deep = `{"x":${"[".repeat(100_000)}${"]".repeat(100_000)}}`;
    expect(() => readSafetensors(fileOf(deep))).toThrow(/the header is nested more than 16 levels deep/);
    const shallow = `{"x":${"[".repeat(15)}${"]".repeat(15)}}`;
    expect(() => readSafetensors(fileOf(shallow))).toThrow(/the entry of "x"/);
    // Brackets in names and strings do not count as nesting.
    const named = `{"__metadata__":{"${"[".repeat(99)}":"${"{".repeat(99)}\\"${"[".repeat(99)}"}}`;
    expect(inspectSafetensors(fileOf(named)).entries.size).toBe(0);
  });
  test("a stream that fails or ends early leaves no tensors behind", async () => {
    const file = writeSafetensors(own({ a: ones([100]), b: ones([100]) }));
    for (const end of [4, 20, 300, file.length - 1])
      await expect(readSafetensorsStream(inChunks(file.slice(0, end), 64))).rejects.toThrow(/ends \d+ bytes too early/);
    let pulls = 0;
    const failing = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (pulls++) controller.error(new Error("the network is gone"));
        else controller.enqueue(file.slice(0, 300));
      },
    });
    await expect(readSafetensorsStream(failing)).rejects.toThrow("the network is gone");
    await new Promise((resolve) => setTimeout(resolve));
    // Only the two tensors that the test created are left.
    expect(leaked().tensors).toBe(2);
  });
  test.each(["F32", "F64"])(
    "a stream that claims gigabytes of %s and ends early allocates no memory",
    async (dtype) => {
      const file = fileOf(
        { x: { dtype, shape: [2 ** 28], data_offsets: [0, 2 ** 28 * (dtype === "F32" ? 4 : 8)] } },
        100,
      );
      const { capacity } = memory();
      const { arrayBuffers } = process.memoryUsage();
      await expect(readSafetensorsStream(inChunks(file, 1000))).rejects.toThrow(/ends \d+ bytes too early/);
      expect(memory().capacity).toBe(capacity);
      expect(process.memoryUsage().arrayBuffers - arrayBuffers).toBeLessThan(2 ** 24);
    },
  );
  test("arguments that are not files or streams of bytes are rejected", async () => {
    for (const file of ["path", {}, new Blob([])])
      expect(() => readSafetensors(file as unknown as Uint8Array)).toThrow(
        /^readSafetensors: file must be an ArrayBuffer or a Uint8Array, got /,
      );
    await expect(readSafetensorsStream(new Uint8Array(9) as unknown as Blob)).rejects.toThrow(
      /must be a ReadableStream/,
    );
    const texts = new ReadableStream({ start: (controller) => controller.enqueue("text") });
    await expect(readSafetensorsStream(texts)).rejects.toThrow(/must yield Uint8Arrays, got /);
  });
  test("a stream that exceeds maxBytes is cancelled before any of it is stored", async () => {
    const file = fileOf({ x: u8(0, 3 * 2 ** 30) });
    let cancelled = "";
    const stream = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(file),
      cancel: (why) => void (cancelled = String(why)),
    });
    await expect(readSafetensorsStream(stream, { maxBytes: 2 ** 20 })).rejects.toThrow(/but maxBytes is 1048576/);
    expect(cancelled).toContain("maxBytes");
    expect(leaked()).toEqual({ tensors: 0, bytes: 0 });
  });
  test("a response that is not a file is rejected", async () => {
    await expect(readSafetensorsStream(new Response("gone", { status: 404 }))).rejects.toThrow(/the response is 404/);
    await expect(readSafetensorsStream(new Response(null))).rejects.toThrow(/has no body/);
  });
});

describe("mutated files", () => {
  const RUNS = runs(5000);
  test(`each of ${RUNS} is either read or rejected with a FormatError, and leaks nothing`, () => {
    const small = { w: tensor([[1, 2], [3, 4]]), i: tensor([7], { dtype: "int32" }), m: tensor([true]) }; // biome-ignore format: small
    own(small);
    const file = writeSafetensors(small, { a: "b" });
    const length = Number(new DataView(file.buffer).getBigUint64(0, true));
    const text = new TextDecoder().decode(file.subarray(8, 8 + length));
    const data = file.subarray(8 + length);
    /** Changes, removes or inserts bytes anywhere. */
    const edits = fc.array(fc.tuple(fc.nat(file.length - 1), fc.nat(255), fc.constantFrom("set", "delete", "insert")), {
      minLength: 1,
      maxLength: 4,
    });
    const bytewise = edits.map((list) => {
      const bytes = [...file];
      for (const [at, byte, how] of list)
        bytes.splice(at, how === "insert" ? 0 : 1, ...(how === "delete" ? [] : [byte]));
      return Uint8Array.from(bytes);
    });
    /** Replaces tokens of the header with others and corrects the length of the header. */
    const tokens = [...text.matchAll(/"[^"]*"|\d+|[[\]{}:,]/g)].map((match) => [match.index, match[0].length] as const);
    const replacement = fc.oneof(
      fc.json({ maxDepth: 2 }),
      fc.constantFrom(
        '{"toString":1}',
        "-1",
        "1e99",
        "18446744073709551616",
        "null",
        '"F64"',
        '"__proto__"',
        "[",
        "}",
        "",
        '"w"',
        "[[[[",
        "\u0000",
      ),
      fc.integer({ min: 0, max: 64 }).map(String),
    );
    const tokenwise = fc
      .array(fc.tuple(fc.nat(tokens.length - 1), replacement), { minLength: 1, maxLength: 3 })
      .map((list) => {
        let mutated = text;
        for (const [token, by] of list.sort(([a], [b]) => b - a)) {
          const [at, size] = tokens[token]!;
          mutated = mutated.slice(0, at) + by + mutated.slice(at + size);
        }
        const changed = fileOf(mutated.trimEnd(), data.length);
        changed.set(data, changed.length - data.length);
        return changed;
      });
    /** Replaces only elements, so the file stays valid. */
    const elementwise = fc.uint8Array({ minLength: data.length, maxLength: data.length }).map((elements) => {
      const changed = file.slice();
      changed.set(elements, 8 + length);
      return changed;
    });
    const seen = { read: 0, refused: 0 };
    const { tensors, bytes } = memory();
    const check = (mutated: Uint8Array): void => {
      try {
        for (const x of Object.values(readSafetensors(mutated).tensors)) x.dispose();
        seen.read++;
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
        seen.refused++;
      }
      const now = memory();
      if (now.tensors !== tensors || now.bytes !== bytes)
        throw new Error(`leaked: ${now.tensors - tensors} tensors, ${now.bytes - bytes} bytes`);
    };
    fc.assert(
      fc.property(
        fc.oneof({ weight: 4, arbitrary: bytewise }, { weight: 4, arbitrary: tokenwise }, elementwise),
        check,
      ),
      { numRuns: RUNS, seed: 20261126 },
    );
    expect(seen.read).toBeGreaterThan(RUNS / 20);
    expect(seen.refused).toBeGreaterThan(RUNS / 2);
  }, 600_000);
});

describe("readSafetensorsStream rejects", () => {
  let bytes: Uint8Array<ArrayBuffer>;
  beforeEach(() => {
    bytes = writeSafetensors(own({ x: tensor([1]) }));
  });
  test("a response whose body was already read", async () => {
    const response = new Response(bytes);
    await response.arrayBuffer();
    await expect(readSafetensorsStream(response)).rejects.toThrow(
      /^readSafetensorsStream: the response's body is locked or has already been read\. Pass response\.clone\(\)/,
    );
  });
  test("a response that is being read, but not its clone", async () => {
    const response = new Response(bytes);
    const clone = response.clone();
    response.body!.getReader();
    await expect(readSafetensorsStream(response)).rejects.toThrow(
      /^readSafetensorsStream: the response's body is locked/,
    );
    expect((await readSafetensorsStream(clone)).tensors.x!.item()).toBe(1);
  });
  test("a stream that is being read", async () => {
    const stream = new Blob([bytes]).stream();
    stream.getReader();
    await expect(readSafetensorsStream(stream)).rejects.toThrow(/^readSafetensorsStream: the stream is locked/);
  });
  test("a response that is not a file, with and without a status text", async () => {
    for (const [init, text] of [
      [{ status: 404 }, "404"],
      [{ status: 404, statusText: "Not Found" }, "404 Not Found"],
    ] as const)
      await expect(readSafetensorsStream(new Response("x", init))).rejects.toThrow(
        `readSafetensorsStream: the response is ${text}, not a file. Check the URL.`,
      );
  });
});
