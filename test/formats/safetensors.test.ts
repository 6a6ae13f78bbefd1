/** safetensors files: what is written is read, whole or in pieces; what is malformed or hostile is refused before anything is made. */
import fc from "fast-check";
import { memory, ones, type Tensor, tensor } from "nabla";
import {
  FormatError,
  inspectSafetensors,
  readSafetensors,
  readSafetensorsStream,
  streamSafetensors,
  writeSafetensors,
} from "nabla/formats";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { runs } from "../support/runs.ts";

/** A file with this header, as text or as what JSON makes of it, and so many bytes behind it. */
function fileOf(header: unknown, bytes = 0, length?: bigint): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + json.length + bytes);
  new DataView(file.buffer).setBigUint64(0, length ?? BigInt(json.length), true);
  file.set(json, 8);
  return file;
}

/** What a test has made. */
const made: Tensor[] = [];
function mine<T extends Record<string, Tensor>>(tensors: T): T {
  made.push(...Object.values(tensors));
  return tensors;
}
afterEach(() => {
  for (const x of made.splice(0)) x.dispose();
});

const sample = (): Record<string, Tensor> =>
  mine({
    "layer.weight": tensor([[1.5, -2], [Number.NaN, 1e-40]]), // biome-ignore format: a matrix
    labels: tensor([1, 2, -3], { dtype: "int32" }),
    pixels: tensor(new Uint8Array([0, 255, 7])),
    mask: tensor([true, false]),
    scalar: tensor(3),
    empty: ones([0, 4]),
    __proto__x: tensor([1]),
    "ünï\n\"'": tensor([2]),
  });

function expectSame(found: Record<string, Tensor>, expected: Record<string, Tensor>): void {
  mine(found);
  expect(Object.keys(found).sort()).toEqual(Object.keys(expected).sort());
  for (const [name, { dtype, shape, data }] of Object.entries(expected)) {
    expect(found[name], name).toMatchObject({ dtype, shape });
    expect(new Uint8Array(found[name]!.data.buffer), name).toEqual(new Uint8Array(data.buffer));
  }
}

/** A stream of the bytes in pieces of these sizes, in turns. */
function inPieces(bytes: Uint8Array<ArrayBuffer>, ...sizes: number[]): ReadableStream<Uint8Array<ArrayBuffer>> {
  let [at, turn] = [0, 0];
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      const next = at + sizes[turn++ % sizes.length]!;
      controller.enqueue(bytes.slice(at, next));
      at = next;
    },
  });
}

async function collect(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const bytes: number[] = [];
  const reader = stream.getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) bytes.push(...read.value);
  return Uint8Array.from(bytes);
}

let before: ReturnType<typeof memory>;
beforeEach(() => {
  ones([1]).dispose();
  before = memory();
});
/** Nothing is held that was not before. */
const expectNothingHeld = (): void => {
  const { tensors, bytes } = memory();
  expect({ tensors, bytes }).toEqual({ tensors: before.tensors, bytes: before.bytes });
};

describe("what is written is read", () => {
  test("all types, names and shapes, with metadata", () => {
    const [tensors, metadata] = [sample(), { format: "pt", note: '{"a": "ü"}' }];
    const read = readSafetensors(writeSafetensors(tensors, metadata));
    expectSame(read.tensors, tensors);
    expect(read.metadata).toEqual(metadata);
  });
  test("the file lies as the format says: aligned, without holes, four-byte types first", () => {
    const file = writeSafetensors(sample());
    const length = Number(new DataView(file.buffer).getBigUint64(0, true));
    expect(length % 8).toBe(0);
    const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length)));
    expect(header["layer.weight"]).toMatchObject({ dtype: "F32", shape: [2, 2] });
    for (const { data_offsets, dtype } of Object.values(header) as { data_offsets: number[]; dtype: string }[])
      if (dtype === "F32" || dtype === "I32") expect(data_offsets[0]! % 4).toBe(0);
    expect(Object.values(header).at(-1)).toMatchObject({ data_offsets: [expect.anything(), file.length - 8 - length] });
  });
  test("no tensors at all", () => {
    expect(readSafetensors(writeSafetensors({}))).toEqual({ tensors: {}, metadata: {} });
  });
  test.each([[1], [7, 1, 64], [3], [100_000]])("as it arrives, in pieces of %o", async (...sizes) => {
    const tensors = sample();
    const file = writeSafetensors(tensors, { a: "b" });
    const read = await readSafetensorsStream(inPieces(file, ...sizes));
    expectSame(read.tensors, tensors);
    expect(read.metadata).toEqual({ a: "b" });
    expectSame((await readSafetensorsStream(new Blob([file]))).tensors, tensors);
    expectSame((await readSafetensorsStream(new Response(file))).tensors, tensors);
  });
  test("a stream of what is written is the same file, though memory grows meanwhile", async () => {
    const tensors = mine({ ...sample(), large: ones([300, 301]) });
    const stream = streamSafetensors(tensors, { a: "b" });
    const reader = stream.getReader();
    const first = (await reader.read()).value!;
    const ballast = ones([2 ** 21]);
    reader.releaseLock();
    const rest = await collect(stream);
    expect(new Uint8Array([...first, ...rest])).toEqual(writeSafetensors(tensors, { a: "b" }));
    ballast.dispose();
  });
  test("elements are a view of the file where they lie aligned, a copy where not", () => {
    const file = writeSafetensors(mine({ x: tensor([1, 2]), m: tensor([true]) }));
    const aligned = inspectSafetensors(file).entries.get("x")!.elements();
    expect(aligned.buffer).toBe(file.buffer);
    const shifted = new Uint8Array(file.length + 1);
    shifted.set(file, 1);
    const copy = inspectSafetensors(shifted.subarray(1)).entries.get("x")!.elements();
    expect(copy.buffer).not.toBe(shifted.buffer);
    expect(copy).toEqual(aligned);
  });
  test("names that objects have already are names like others", () => {
    const file = fileOf('{"__proto__": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}, "toString": {"dtype": "U8", "shape": [], "data_offsets": [1, 2]}}', 2); // biome-ignore format: one line
    const tensors = mine(readSafetensors(file).tensors);
    expect(Object.keys(tensors).sort()).toEqual(["__proto__", "toString"]);
    expect(({} as Record<string, unknown>).dtype).toBeUndefined();
  });
});

describe("what is malformed is refused, with what is wrong, and nothing is made", () => {
  const u8 = (begin: number, end: number, shape = [end - begin]) => ({
    dtype: "U8",
    shape,
    data_offsets: [begin, end],
  });
  const cases: [string, Uint8Array, RegExp][] = [
    ["nothing", new Uint8Array(0), /has 0 bytes, too few/],
    ["a few bytes", new Uint8Array(7), /has 7 bytes, too few/],
    ["a header of gigabytes", fileOf({}, 0, 2n ** 40n), /1099511627776 bytes, but the limit is 16777216/],
    ["a header of 2⁶⁴ − 1 bytes", fileOf({}, 0, 2n ** 64n - 1n), /but the limit is/],
    ["a header longer than the file", fileOf({}, 0, 3n), /claims 3 bytes, but the file has 10/],
    ["no JSON", fileOf("{nonsense}"), /not JSON/],
    ["JSON that is no object", fileOf("[1, 2]"), /does not begin with \{/],
    ["a header that begins with a space", fileOf(" {}"), /does not begin with \{/],
    ["no UTF-8", Uint8Array.of(4, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x22, 0xff, 0x22), /not JSON/],
    ["an entry that is no object", fileOf({ x: 3 }), /the entry of "x" must be an object/],
    ["an entry that is a list", fileOf({ x: [] }), /the entry of "x" must be an object/],
    ["an unknown type", fileOf({ x: { ...u8(0, 1), dtype: "FLOAT" } }, 1), /unknown dtype "FLOAT"/],
    ["a type that objects have", fileOf({ x: { ...u8(0, 1), dtype: "constructor" } }, 1), /dtype "constructor"/],
    ["a type that is no text", fileOf({ x: { ...u8(0, 1), dtype: { a: 1 } } }, 1), /dtype/],
    [
      "a type that cannot become a text",
      fileOf({ x: { ...u8(0, 1), dtype: { toString: 1, valueOf: 1 } } }, 1),
      /unknown dtype of type object/,
    ],
    [
      "a type nested deeply",
      fileOf(`{"x":{"dtype":${"[".repeat(100_000)}${"]".repeat(100_000)},"shape":[1],"data_offsets":[0,1]}}`, 1),
      /the header is nested more than 16 levels deep/,
    ],
    [
      "no shape",
      fileOf({ x: { dtype: "U8", data_offsets: [0, 1] } }, 1),
      /must have a shape of at most 32 whole numbers/,
    ],
    ["a negative size", fileOf({ x: u8(0, 1, [-1]) }, 1), /must have a shape of at most 32 whole numbers/],
    ["half a size", fileOf({ x: u8(0, 1, [0.5]) }, 1), /must have a shape of at most 32 whole numbers/],
    [
      "a size that is a text",
      fileOf({ x: u8(0, 1, ["1"] as unknown as number[]) }, 1),
      /must have a shape of at most 32 whole numbers/,
    ],
    ["a thousand dimensions", fileOf({ x: u8(0, 1, new Array(1000).fill(1)) }, 1), /at most 32 whole numbers/],
    ["a shape that overflows", fileOf({ x: u8(0, 1, [2 ** 40, 2 ** 40]) }, 1), /takes 1\.2\d+e\+24 bytes/],
    [
      "offsets that are none",
      fileOf({ x: { ...u8(0, 1), data_offsets: [0] } }, 1),
      /must have data_offsets of two whole numbers/,
    ],
    ["negative offsets", fileOf({ x: u8(-1, 0, [1]) }, 1), /must have data_offsets of two whole numbers/],
    ["offsets the wrong way round", fileOf({ x: u8(1, 0, [1]) }, 1), /data_offsets 1 to 0, but \[1\] of U8 takes 1/],
    ["offsets that do not fit the shape", fileOf({ x: u8(0, 4, [3]) }, 4), /0 to 4, but \[3\] of U8 takes 3 bytes/],
    ["offsets beyond the file", fileOf({ x: u8(0, 9) }, 4), /9 bytes of tensors, but the file has 4/],
    ["tensors that overlap", fileOf({ x: u8(0, 4), y: u8(2, 6) }, 6), /"y" begins at 2, within/],
    ["the same bytes twice", fileOf({ x: u8(0, 4), y: u8(0, 4) }, 4), /"y" begins at 0, within/],
    ["a hole", fileOf({ x: u8(0, 2), y: u8(3, 5) }, 5), /bytes 2 to 3, before "y", belong to no tensor/],
    ["a hole in front", fileOf({ x: u8(1, 2) }, 2), /bytes 0 to 1/],
    ["bytes left over", fileOf({ x: u8(0, 2) }, 3), /2 bytes of tensors, but the file has 3/],
    ["a name twice", fileOf('{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\\u0078":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1), /the name "x" twice/], // biome-ignore format: one line
    [
      "a key twice",
      fileOf('{"x":{"dtype":"U8","shape":[1],"shape":[2],"data_offsets":[0,2]}}', 2),
      /the name "shape" twice/,
    ],
    ["an unknown key", fileOf({ x: { ...u8(0, 1), strides: [1] } }, 1), /an unknown key "strides"/],
    ["metadata that is no object", fileOf({ __metadata__: "x" }), /__metadata__ must be an object of strings/],
    ["metadata that is no text", fileOf({ __metadata__: { a: 1 } }), /__metadata__ must be an object of strings/],
  ];
  test.each(cases)("%s", async (_, file, why) => {
    for (const read of [readSafetensors, inspectSafetensors])
      expect(() => read(file)).toThrow(
        expect.objectContaining({ name: "FormatError", message: expect.stringMatching(why) }),
      );
    await expect(readSafetensorsStream(new Blob([file as Uint8Array<ArrayBuffer>]))).rejects.toThrow(FormatError);
    await expect(readSafetensorsStream(inPieces(file as Uint8Array<ArrayBuffer>, 5))).rejects.toThrow(FormatError);
    expectNothingHeld();
  });

  test("an integer that int32 cannot hold", () => {
    const file = fileOf({ a: u8(0, 2), x: { dtype: "I64", shape: [1], data_offsets: [2, 10] } }, 10);
    file[file.length - 1] = 1;
    expect(() => readSafetensors(file)).toThrow(
      /^readSafetensors: "x"\[0\] is 72057594037927936, which int32 cannot hold/,
    );
    expectNothingHeld();
  });
  test("nesting without end takes no time to speak of, and no stack", () => {
    const deep = `{"x":${"[".repeat(100_000)}${"]".repeat(100_000)}}`;
    expect(() => readSafetensors(fileOf(deep))).toThrow(/the header is nested more than 16 levels deep/);
    const shallow = `{"x":${"[".repeat(15)}${"]".repeat(15)}}`;
    expect(() => readSafetensors(fileOf(shallow))).toThrow(/the entry of "x"/);
    // Brackets in names and strings do not count as nesting.
    const named = `{"__metadata__":{"${"[".repeat(99)}":"${"{".repeat(99)}\\"${"[".repeat(99)}"}}`;
    expect(inspectSafetensors(fileOf(named)).entries.size).toBe(0);
  });
  test("a stream that ends early, or fails: nothing is held", async () => {
    const file = writeSafetensors(mine({ a: ones([100]), b: ones([100]) }));
    for (const end of [4, 20, 300, file.length - 1])
      await expect(readSafetensorsStream(inPieces(file.slice(0, end), 64))).rejects.toThrow(/ends \d+ bytes too early/);
    let pulls = 0;
    const failing = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (pulls++) controller.error(new Error("the network is gone"));
        else controller.enqueue(file.slice(0, 300));
      },
    });
    await expect(readSafetensorsStream(failing)).rejects.toThrow("the network is gone");
    await new Promise((resolve) => setTimeout(resolve));
    // `ones` above are the test's own.
    expect(memory().tensors - before.tensors).toBe(2);
  });
  test.each(["F32", "F64"])("a stream that promises gigabytes of %s and ends takes no memory", async (dtype) => {
    const file = fileOf(
      { x: { dtype, shape: [2 ** 28], data_offsets: [0, 2 ** 28 * (dtype === "F32" ? 4 : 8)] } },
      100,
    );
    const { capacity } = memory();
    const { arrayBuffers } = process.memoryUsage();
    await expect(readSafetensorsStream(inPieces(file, 1000))).rejects.toThrow(/ends \d+ bytes too early/);
    expect(memory().capacity).toBe(capacity);
    expect(process.memoryUsage().arrayBuffers - arrayBuffers).toBeLessThan(2 ** 24);
  });
  test("what is no file, no stream, or a stream of something else is refused by name", async () => {
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
  test("a stream larger than is allowed is cancelled before anything of it is stored", async () => {
    const file = fileOf({ x: u8(0, 3 * 2 ** 30) });
    let cancelled = "";
    const stream = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(file),
      cancel: (why) => void (cancelled = String(why)),
    });
    await expect(readSafetensorsStream(stream, { maxBytes: 2 ** 20 })).rejects.toThrow(/but maxBytes is 1048576/);
    expect(cancelled).toContain("maxBytes");
    expectNothingHeld();
  });
  test("a response that is no file", async () => {
    await expect(readSafetensorsStream(new Response("gone", { status: 404 }))).rejects.toThrow(/the response is 404/);
    await expect(readSafetensorsStream(new Response(null))).rejects.toThrow(/has no body/);
  });
});

test("what cannot be written is refused", () => {
  expect(() => writeSafetensors(mine({ __metadata__: ones([1]) }))).toThrow(FormatError);
  expect(() => writeSafetensors({ x: [1] as unknown as Tensor })).toThrow(
    '"x" must be a tensor, got the array [1]. Pass a state dict.',
  );
  expect(() => writeSafetensors({}, { step: 3 as unknown as string })).toThrow(
    'writeSafetensors: metadata "step" must be a string, got 3. Use JSON.stringify(value).',
  );
  expect(() => writeSafetensors({}, { long: "x".repeat(2 ** 24) })).toThrow(
    /take \d+ bytes, but the limit is 16777216/,
  );
  const gone = ones([1]);
  gone.dispose();
  expect(() => writeSafetensors({ gone })).toThrow(expect.objectContaining({ name: "DisposedError" }));
});

describe("mutated files", () => {
  const RUNS = runs(5000);
  test(`of ${RUNS} each is read or refused by name, and nothing of it is held`, () => {
    const small = { w: tensor([[1, 2], [3, 4]]), i: tensor([7], { dtype: "int32" }), m: tensor([true]) }; // biome-ignore format: small
    mine(small);
    const file = writeSafetensors(small, { a: "b" });
    const length = Number(new DataView(file.buffer).getBigUint64(0, true));
    const text = new TextDecoder().decode(file.subarray(8, 8 + length));
    const data = file.subarray(8 + length);
    /** Some bytes changed, left out or put in, anywhere. */
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
    /** A part of the header replaced by something that JSON or the format could have there; its length is right again. */
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
    /** Other elements: right still. */
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
        throw new Error(`held: ${now.tensors} tensors, ${now.bytes} bytes`);
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

describe("errors name the function that was called", () => {
  let x: Tensor;
  beforeEach(() => {
    ({ x } = mine({ x: tensor([1]) }));
  });
  test.each<[string, () => unknown, RegExp]>([
    ["a tensor that is none", () => [{ x: 1 }], /: "x" must be a tensor, got 1\./],
    ["a reserved name", () => [{ __metadata__: x }], /: "__metadata__" cannot be a tensor's name/],
    ["metadata that is no string", () => [{ x }, { a: 1 }], /: metadata "a" must be a string, got 1/],
    ["a lone surrogate", () => [{ "\ud800": x }], /: the name .* has a lone surrogate/],
    [
      "metadata in options",
      () => [{ x }, { metadata: { a: "b" } }],
      /: the second argument is the metadata\. Pass \w+\(/,
    ],
  ])("%s", (_, args, why) => {
    const given = args() as [Record<string, never>];
    expect(() => writeSafetensors(...given)).toThrow(new RegExp(`^writeSafetensors${why.source}`));
    expect(() => streamSafetensors(...given)).toThrow(new RegExp(`^streamSafetensors${why.source}`));
  });
  test("readers name themselves when a number does not fit or an option is wrong", async () => {
    const bytes = writeSafetensors({ x });
    const overflow = "clip" as "error";
    expect(() => readSafetensors(bytes, { overflow })).toThrow(/^readSafetensors: overflow must be "error" or/);
    expect(() => inspectSafetensors(bytes).entries.get("x")!.elements({ overflow })).toThrow(
      /^inspectSafetensors: overflow must be "error" or/,
    );
    expect(() => readSafetensors(bytes, { names: ["y"] })).toThrow(/^readSafetensors: the file has no tensor "y"/);
    await expect(readSafetensorsStream(new Blob([bytes]), { names: ["y"] })).rejects.toThrow(
      /^readSafetensorsStream: the file has no tensor "y"/,
    );
  });
});

describe("readSafetensorsStream refuses", () => {
  let bytes: Uint8Array<ArrayBuffer>;
  beforeEach(() => {
    bytes = writeSafetensors(mine({ x: tensor([1]) }));
  });
  test("a response whose body was read", async () => {
    const response = new Response(bytes);
    await response.arrayBuffer();
    await expect(readSafetensorsStream(response)).rejects.toThrow(
      /^readSafetensorsStream: the response's body is locked or has already been read\. Pass response\.clone\(\)/,
    );
  });
  test("a response that is being read, and the clone still can be", async () => {
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
