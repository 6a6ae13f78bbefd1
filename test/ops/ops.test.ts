/**
 * A suite that is generated from the op table and the oracles: it compares every op with its oracle, and its gradients
 * with finite differences.
 */
import { existsSync } from "node:fs";
import { grad, mul, sum, type Tensor, tensor, tidy } from "nabla";
import { describe, expect, test } from "vitest";
import { type AnyOp, applyAll } from "../../src/ops/definition/op.ts";
import { bytesPerElement } from "../../src/ops/definition/value.ts";
import { table } from "../../src/ops/table.ts";
import { engine } from "../../src/runtime/engine.ts";
import {
  addressOf,
  basis,
  differentiable,
  draw,
  expectClose,
  moved,
  objective,
  SplitEncoder,
  seeded,
  toTensor,
} from "../support/oracle.ts";
import { oracleOf, oracles, referenceOf, samplesOf } from "./oracles/index.ts";
import type { Reference, Sample } from "./oracles/oracle.ts";

// The tolerance for results, which allows for float32 rounding of values from 1 to 100 in sums of up to a thousand terms.
const FORWARD = 3e-6;
// The tolerance for gradients, which allows for the rounding of several ops. The finite differences have an error of about 1e-8.
const GRADIENT = 2e-5;
const SECOND = 2e-4;

const ops = Object.values(table) as AnyOp[];

test("the table maps every code to the entry with that code", () => {
  for (const [code, op] of Object.entries(table)) expect(op.code, op.name).toBe(Number(code));
});

test("an op without an oracle names an existing test file that checks it", () => {
  for (const oracle of Object.values(oracles)) {
    if ("testedBy" in oracle) expect(existsSync(oracle.testedBy), oracle.testedBy).toBe(true);
    else expect(oracle.samples.length).toBeGreaterThan(0);
  }
});

const label = (sample: Sample<unknown>) => sample.inputs.map((x) => `${x.dtype ?? ""}[${x.shape}]`).join(" × ");

/** A sample's inputs, as float64 arrays and as tensors. */
function prepare(sample: Sample<unknown>, seed: number) {
  const random = seeded(seed);
  const inputs = sample.inputs.map((input) => draw(input, random));
  return {
    random,
    inputs,
    tensors: inputs.map((x, i) => toTensor(x, sample.inputs[i]!)),
  };
}

/** A random upstream gradient for each differentiable output. */
function upstream(op: AnyOp, inputs: Reference[], attributes: unknown, random: () => number): Reference[] {
  return referenceOf(op, inputs, attributes)
    .slice(0, op.differentiable ?? 1)
    .map(({ shape, data }) => ({ shape, data: Float64Array.from(data, () => Math.fround(2 * random() - 1)) }));
}

/** Σ u·op(x), summed over the differentiable outputs. */
function weighted(op: AnyOp, xs: Tensor[], attributes: unknown, u: Reference[]): Tensor {
  const ys = applyAll(op, xs, attributes) as Tensor[];
  const parts = u.map(({ shape, data }, k) => sum(mul(ys[k]!, tensor(Float32Array.from(data), shape))));
  return parts.reduce((a, b) => a.add(b));
}

const alone = new SplitEncoder(1);
const split = [new SplitEncoder(2), new SplitEncoder(3)];

for (const op of ops.filter((o) => oracleOf(o))) {
  describe(op.name, () => {
    const samples = samplesOf(op);
    const smooth = samples.filter((sample) => differentiable(sample).length);
    test(`agrees with the float64 oracle on ${samples.length} samples: on one thread, in place, and on 2 and 3 threads`, () => {
      samples.forEach((sample, s) => {
        tidy(() => {
          const { inputs, tensors } = prepare(sample, 100 + s);
          const what = `${op.name} ${label(sample)}`;
          const expected = referenceOf(op, inputs, sample.attributes);
          const outputs = applyAll(op, tensors, sample.attributes) as Tensor[];
          expected.forEach((e, i) => {
            expect(outputs[i]!.shape, what).toEqual(e.shape);
            expectClose(outputs[i]!.data, e.data, FORWARD, what);
          });
          // The inputs must not change.
          for (const [i, x] of tensors.entries()) expectClose(x.data, inputs[i]!.data, 0, `${what}, input ${i}`);

          for (const encoder of split) {
            const again = outputs.map((y) => tensor(new Uint8Array(y.size * bytesPerElement[y.dtype] + 64).fill(0xab)));
            const address = (value: unknown) => {
              const at = outputs.indexOf(value as Tensor);
              return addressOf(at < 0 ? (value as Tensor) : again[at]!);
            };
            op.encode(encoder, {
              inputs: tensors,
              outputs,
              attributes: sample.attributes,
              address,
            });
            again.forEach((bytes, i) => {
              const own = outputs[i]!.data;
              const length = own.byteLength;
              expect(bytes.data.slice(0, length), `${what} in ${encoder.threads} threads`).toEqual(
                new Uint8Array(own.buffer, 0, length),
              );
              expect(
                bytes.data.slice(length).every((b) => b === 0xab),
                `${what}: writes past its end`,
              ).toBe(true);
            });
          }

          for (const i of op.inPlace ?? []) {
            const [output] = outputs;
            if (!output || tensors[i]?.size !== output.size || tensors[i]!.dtype !== output.dtype) continue;
            const target = tensors[i]!.clone();
            const address = (value: unknown) =>
              addressOf(value === output || value === tensors[i] ? target : (value as Tensor));
            op.encode(alone, {
              inputs: tensors,
              outputs: [output, ...outputs.slice(1)],
              attributes: sample.attributes,
              address,
            });
            expect(target.data, `${what} in place of input ${i}`).toEqual(output.data);
          }
        });
      });
    });

    if (!op.vjp) return;
    test("gradient: agrees with finite differences of the oracle for a random upstream gradient", () => {
      smooth.forEach((sample, s) => {
        tidy(() => {
          const { random, inputs, tensors } = prepare(sample, 200 + s);
          const u = upstream(op, inputs, sample.attributes, random);
          const which = differentiable(sample);
          const gradients = grad((...xs: Tensor[]) => weighted(op, xs, sample.attributes, u), which)(...tensors);
          which.forEach((i, k) => {
            const h = 1e-5;
            const data = inputs[i]!.data as Float64Array;
            const expected = Array.from(data, (own, at) => {
              // Change the element in place, because copying all inputs for each element takes longer than the oracle.
              const [up, down] = [own + h, own - h].map((value) => {
                data[at] = value;
                return objective(op, inputs, sample.attributes, u);
              }) as [number, number];
              data[at] = own;
              return (up - down) / (2 * h);
            });
            expectClose(
              (gradients as Tensor[])[k]!.data,
              expected,
              GRADIENT,
              `${op.name} ${label(sample)}, gradient of input ${i}`,
            );
          });
        });
      });
    });

    test("second gradient: ∇(∇L·w) agrees with second differences of the oracle", () => {
      smooth.forEach((sample, s) => {
        const size = sample.inputs.reduce((total, x) => total + x.shape.reduce((a, b) => a * b, 1), 0);
        if (size > 120) return; // second differences of larger samples are slow and test nothing new
        tidy(() => {
          const { random, inputs, tensors } = prepare(sample, 300 + s);
          const u = upstream(op, inputs, sample.attributes, random);
          const which = differentiable(sample);
          const w = inputs.map((x, i) =>
            which.includes(i) ? Float64Array.from(x.data, () => Math.fround(2 * random() - 1)) : undefined,
          );
          const directions = which.map((i) => tensor(Float32Array.from(w[i]!), inputs[i]!.shape));
          const first = grad((...xs: Tensor[]) => weighted(op, xs, sample.attributes, u), which);
          const along = (...xs: Tensor[]) =>
            (first(...xs) as Tensor[]).map((g, k) => sum(mul(g, directions[k]!))).reduce((a, b) => a.add(b));
          const seconds = grad(along, which)(...tensors) as Tensor[];
          which.forEach((i, k) => {
            const h = 1e-4;
            const expected = Array.from(inputs[i]!.data, (_, at) => {
              const e = basis(inputs, i, at);
              const value = (a: number, b: number) =>
                objective(op, moved(moved(inputs, e, a * h), w, b * h), sample.attributes, u);
              return (value(1, 1) - value(-1, 1) - value(1, -1) + value(-1, -1)) / (4 * h * h);
            });
            expectClose(
              seconds[k]!.data,
              expected,
              SECOND,
              `${op.name} ${label(sample)}, second gradient of input ${i}`,
            );
          });
        });
      });
    });
  });
}

test("ops leave no tensors behind in tidy scopes", () => {
  // Encoders keep their scratch memory, which holds a convolution's blocks for each thread.
  const scratch = [alone, ...split].reduce((total, { scratchBytes }) => total + scratchBytes, 0);
  expect(engine().heap.inUse - scratch).toBeLessThan(4 << 20);
});
