/** Edits turn one build into the other: tools/edits.mjs writes them, and src/runtime/load.ts applies them. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { applyEdits } from "../../src/runtime/load.ts";
import { editsOf } from "../../tools/edits.mjs";

const roundTrip = (base: Uint8Array, bytes: Uint8Array): Uint8Array =>
  applyEdits(base, editsOf(Buffer.from(base), Buffer.from(bytes)));

test.each<[string, number[], number[]]>([
  ["nothing into nothing", [], []],
  ["nothing into bytes", [], [1, 2, 3]],
  ["bytes into nothing", [1, 2, 3], []],
  ["bytes into bytes without a match", [1, 2, 3], [4, 5, 6]],
])("edits turn %s", (_, base, bytes) => {
  expect([...roundTrip(Uint8Array.from(base), Uint8Array.from(bytes))]).toEqual(bytes);
});

test("edits reproduce any sequence of pieces, in any order, with other bytes between them", () => {
  const piece = fc.record({ from: fc.nat(3000), length: fc.nat(400), fresh: fc.uint8Array({ maxLength: 200 }) });
  const base = Uint8Array.from({ length: 3000 }, (_, i) => (i * i * 2654435761) >>> 24);
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const bytes = Buffer.concat(
        pieces.flatMap(({ from, length, fresh }) => [fresh, base.subarray(from, from + length)]),
      );
      expect(Buffer.from(roundTrip(base, bytes)).equals(bytes)).toBe(true);
    }),
    { seed: 7, numRuns: 200 },
  );
});

test("a copy takes less space than the bytes that it copies", () => {
  const base = Uint8Array.from({ length: 3000 }, (_, i) => (i * i * 2654435761) >>> 24);
  const bytes = Buffer.concat([base.subarray(2000), base.subarray(0, 2000)]);
  expect(editsOf(Buffer.from(base), bytes).length).toBeLessThan(20);
});

test("truncated edits leave the missing bytes 0", () => {
  const base = Uint8Array.from({ length: 100 }, (_, i) => i + 1);
  const bytes = base.toReversed();
  const edits = editsOf(Buffer.from(base), Buffer.from(bytes));
  expect(edits.length).toBe(102); // the length, the number of new bytes, and the bytes
  for (let length = 2; length <= edits.length; length++)
    expect(applyEdits(base, edits.subarray(0, length))).toEqual(bytes.map((v, i) => (i < length - 2 ? v : 0)));
});
