/** Work shared among threads: every thread does its share, and all shares together produce the same bits as one thread. */
import { manualSeed, type Tensor, tidy } from "nabla";
import { expect, test } from "vitest";
import type { Op } from "../../assembly/opcodes.ts";
import { type AnyOp, applyAll } from "../../src/ops/definition/op.ts";
import { bytesPerElement } from "../../src/ops/definition/value.ts";
import { table } from "../../src/ops/table.ts";
import { cases, UPDATES, updateCases } from "../support/cases.ts";
import { addressOf, SplitEncoder } from "../support/oracle.ts";

const THREADS = 3;
const together = new SplitEncoder(THREADS);
const [first, second] = [new SplitEncoder(THREADS, 0), new SplitEncoder(THREADS, 1)];

for (const [key, op] of Object.entries(table) as [string, AnyOp][]) {
  const code = Number(key) as Op;
  if (!tidy(() => cases(code).length)) continue;
  test(`${op.name}: ${THREADS} threads give the bits of one thread`, () => {
    tidy(() => {
      manualSeed(3);
      for (const { inputs, attributes } of cases(code)) {
        manualSeed(4);
        const whole = applyAll(op, inputs, attributes) as Tensor[];
        const bytes = whole.map((y) => y.size * bytesPerElement[y.dtype]);
        /** Fills the outputs with a marker, runs the op with `encoder`, and returns the outputs' bytes. */
        const written = (encoder: SplitEncoder): Uint8Array[] => {
          manualSeed(4);
          const outputs = whole.map((y) => y.clone());
          for (const y of outputs)
            new Uint8Array(y.live().buffer, addressOf(y), y.size * bytesPerElement[y.dtype]).fill(0xab);
          const address = (value: unknown) => addressOf(outputs[whole.indexOf(value as Tensor)] ?? (value as Tensor));
          op.encode(encoder, { inputs, outputs: whole, attributes, address });
          return outputs.map((y, i) => new Uint8Array(y.data.buffer, 0, bytes[i]));
        };
        const expected = whole.map((y, i) => new Uint8Array(y.data.buffer, 0, bytes[i]));
        expect(written(together), "all shares together").toEqual(expected);
        // Each thread does a part of the work, but not all of it.
        for (const alone of [first, second]) {
          const part = written(alone)[0]!;
          expect(
            part.some((b) => b !== 0xab),
            "a thread does some work",
          ).toBe(true);
          expect(part, "a thread does not do all the work").not.toEqual(expected[0]);
        }
      }
    });
  });
}

test("optimizer updates: threads update each element once", () => {
  for (const code of UPDATES)
    for (const make of updateCases(code))
      tidy(() => {
        const op = table[code] as AnyOp;
        const run = (encoder: SplitEncoder): number[][] => {
          const { inputs, attributes } = make();
          op.encode(encoder, { inputs, outputs: [], attributes, address: addressOf });
          return inputs.map((x) => Array.from(x.data));
        };
        const [whole, cut] = [run(new SplitEncoder(1)), run(together)];
        expect(cut, op.name).toEqual(whole);
        expect(cut[1], `${op.name} changes the parameter`).not.toEqual(Array.from(make().inputs[1]!.data));
      });
});
