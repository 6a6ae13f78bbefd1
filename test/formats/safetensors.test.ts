/** Writing and reading safetensors files, whole or in chunks, and the errors that writers and readers throw. */
import { nn, noGrad, ones, randn, type Tensor, tensor } from "nabla";
import {
  FormatError,
  inspectSafetensors,
  readSafetensors,
  readSafetensorsStream,
  streamSafetensors,
  writeSafetensors,
} from "nabla/formats";
import { beforeEach, describe, expect, test } from "vitest";
import { fileOf, inChunks, trackTensors } from "./files.ts";

const { own } = trackTensors();

const sample = (): Record<string, Tensor> =>
  own({
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
  own(found);
  expect(Object.keys(found).sort()).toEqual(Object.keys(expected).sort());
  for (const [name, { dtype, shape, data }] of Object.entries(expected)) {
    expect(found[name], name).toMatchObject({ dtype, shape });
    expect(new Uint8Array(found[name]!.data.buffer), name).toEqual(new Uint8Array(data.buffer));
  }
}

async function collect(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const bytes: number[] = [];
  const reader = stream.getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) bytes.push(...read.value);
  return Uint8Array.from(bytes);
}

describe("reading returns what was written", () => {
  test("for all element types, names, shapes and metadata", () => {
    const [tensors, metadata] = [sample(), { format: "pt", note: '{"a": "ü"}' }];
    const read = readSafetensors(writeSafetensors(tensors, metadata));
    expectSame(read.tensors, tensors);
    expect(read.metadata).toEqual(metadata);
  });
  test("the file is aligned and has no gaps", () => {
    const file = writeSafetensors(sample());
    const length = Number(new DataView(file.buffer).getBigUint64(0, true));
    expect(length % 8).toBe(0);
    const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length)));
    expect(header["layer.weight"]).toMatchObject({ dtype: "F32", shape: [2, 2] });
    for (const { data_offsets, dtype } of Object.values(header) as { data_offsets: number[]; dtype: string }[])
      if (dtype === "F32" || dtype === "I32") expect(data_offsets[0]! % 4).toBe(0);
    expect(Object.values(header).at(-1)).toMatchObject({ data_offsets: [expect.anything(), file.length - 8 - length] });
  });
  test("for a file without tensors", () => {
    expect(readSafetensors(writeSafetensors({}))).toEqual({ tensors: {}, metadata: {} });
  });
  test.each([[1], [7, 1, 64], [3], [100_000]])("from streams, in chunks of %o", async (...sizes) => {
    const tensors = sample();
    const file = writeSafetensors(tensors, { a: "b" });
    const read = await readSafetensorsStream(inChunks(file, ...sizes));
    expectSame(read.tensors, tensors);
    expect(read.metadata).toEqual({ a: "b" });
    expectSame((await readSafetensorsStream(new Blob([file]))).tensors, tensors);
    expectSame((await readSafetensorsStream(new Response(file))).tensors, tensors);
  });
  test("streamSafetensors writes the same bytes as writeSafetensors, even if memory grows during the stream", async () => {
    const tensors = own({ ...sample(), large: ones([300, 301]) });
    const stream = streamSafetensors(tensors, { a: "b" });
    const reader = stream.getReader();
    const first = (await reader.read()).value!;
    const ballast = ones([2 ** 21]);
    reader.releaseLock();
    const rest = await collect(stream);
    expect(new Uint8Array([...first, ...rest])).toEqual(writeSafetensors(tensors, { a: "b" }));
    ballast.dispose();
  });
  test.each(["float16", "bfloat16"] as const)(
    "float32 tensors are written as %s, rounded to the nearest number",
    async (dtype) => {
      const tensors = own({ ...sample(), large: randn([300, 301]) });
      const file = writeSafetensors(tensors, {}, { dtype, checksum: true });
      expect(await collect(streamSafetensors(tensors, {}, { dtype, checksum: true }))).toEqual(file);
      const { entries } = inspectSafetensors(file);
      const read = readSafetensors(file).tensors;
      const step = dtype === "float16" ? 2 ** -11 : 2 ** -8;
      for (const [name, x] of Object.entries(tensors)) {
        const isFloat = x.dtype === "float32";
        expect(entries.get(name)!.bytes).toBe(isFloat ? 2 * x.size : x.data.byteLength);
        if (isFloat) expect(entries.get(name)!.dtype).toBe(dtype === "float16" ? "F16" : "BF16");
        else expect(read[name]!.data).toEqual(x.data);
      }
      read.large!.data.forEach((y, i) => {
        const x = tensors.large.data[i]!;
        expect(Math.abs(y - x)).toBeLessThanOrEqual(Math.max(step * Math.abs(x), 2 ** -25));
      });
      // A second file has the same numbers.
      expect(writeSafetensors(own(read), {}, { dtype, checksum: true })).toEqual(file);
      const huge = own({ x: tensor([1, dtype === "float16" ? -65_520 : 3.4e38]) });
      for (const write of [writeSafetensors, streamSafetensors])
        expect(() => write(huge, {}, { dtype })).toThrow(
          dtype === "float16"
            ? '"x" contains -65520, which float16 cannot hold. Use bfloat16, or leave out dtype.'
            : /"x" contains .*, which bfloat16 cannot hold\. Leave out dtype\./,
        );
      expect(() => writeSafetensors(huge, {}, { dtype: "half" as "float16" })).toThrow(
        /^writeSafetensors: dtype must be one of float16, bfloat16, got "half"\./,
      );
    },
  );
  test("numbers below the smallest float16 number are rounded, also to 0", () => {
    const file = writeSafetensors(
      own({ x: tensor([2 ** -24, 2 ** -25, 1.5 * 2 ** -25, -1e-30]) }),
      {},
      { dtype: "float16" },
    );
    expect(Array.from(readSafetensors(file).tensors.x!.data)).toEqual([2 ** -24, 0, 2 ** -24, -0]);
  });
  test.each(["float16", "bfloat16"] as const)(
    "the scales of quantized weights stay in float32 if other tensors are %s, also in a second file",
    async (dtype) => {
      const model = new nn.Sequential(
        new nn.Linear(40, 3),
        new nn.GRU(40, 12),
        new nn.MultiheadAttention(40, 2),
        new nn.LayerNorm(40),
      );
      noGrad(() => model.parameters().forEach((p) => void p.copyFrom(p.mul(1e-3))));
      for (const format of ["int8", "int4"] as const) {
        const small = await nn.quantize(model, { dtype: format });
        const first = readSafetensors(writeSafetensors(small.stateDict(), {}, { dtype })).tensors;
        const second = inspectSafetensors(writeSafetensors(own(first), {}, { dtype })).entries;
        const scales = Object.entries(small.stateDict()).filter(([name]) => name.endsWith("scale"));
        expect(scales).toHaveLength(5);
        for (const [name, scale] of scales) {
          expect(first[name]!.data).toEqual(scale.data);
          expect(second.get(name)!.dtype).toBe("F32");
        }
        expect(second.get("0.bias")!.dtype).toBe(dtype === "float16" ? "F16" : "BF16");
        small.dispose();
      }
      // A float32 tensor that is only named "scale" is not a scale.
      const { entries } = inspectSafetensors(
        writeSafetensors(own({ scale: ones([2]), weight: ones([2]) }), {}, { dtype }),
      );
      expect(entries.get("scale")!.dtype).not.toBe("F32");
      model.dispose();
    },
  );
  test("elements are a view of the file if they are aligned, and a copy otherwise", () => {
    const file = writeSafetensors(own({ x: tensor([1, 2]), m: tensor([true]) }));
    const aligned = inspectSafetensors(file).entries.get("x")!.elements();
    expect(aligned.buffer).toBe(file.buffer);
    const shifted = new Uint8Array(file.length + 1);
    shifted.set(file, 1);
    const copy = inspectSafetensors(shifted.subarray(1)).entries.get("x")!.elements();
    expect(copy.buffer).not.toBe(shifted.buffer);
    expect(copy).toEqual(aligned);
  });
  test("properties of Object are valid names", () => {
    const file = fileOf('{"__proto__": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}, "toString": {"dtype": "U8", "shape": [], "data_offsets": [1, 2]}}', 2); // biome-ignore format: one line
    const tensors = own(readSafetensors(file).tensors);
    expect(Object.keys(tensors).sort()).toEqual(["__proto__", "toString"]);
    expect(({} as Record<string, unknown>).dtype).toBeUndefined();
  });
});

test("writeSafetensors rejects invalid names, values, metadata and disposed tensors", () => {
  expect(() => writeSafetensors(own({ __metadata__: ones([1]) }))).toThrow(FormatError);
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

describe("errors name the function that was called", () => {
  let x: Tensor;
  beforeEach(() => {
    ({ x } = own({ x: tensor([1]) }));
  });
  test.each<[string, () => unknown, RegExp]>([
    ["a value that is not a tensor", () => [{ x: 1 }], /: "x" must be a tensor, got 1\./],
    ["a reserved name", () => [{ __metadata__: x }], /: "__metadata__" cannot be a tensor's name/],
    ["metadata that is not a string", () => [{ x }, { a: 1 }], /: metadata "a" must be a string, got 1/],
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
  test("readers are named in errors about options", async () => {
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
