/** Kernels that copy whole rows, for every row length around the sizes of vectors and of unrolled loops. */
import { type DType, tensor, tidy } from "nabla";
import { expect, test } from "vitest";

test.each<[DType, number]>([
  ["float32", 70],
  ["bool", 200],
])("%s: indexSelect and narrow copy rows of 1 to %i elements, and nothing else", (dtype, longest) => {
  for (let length = 1; length <= longest; length++)
    tidy(() => {
      const value = (row: number, i: number): number => (dtype === "bool" ? (row * 7 + i * i) & 1 : 1000 * row + i);
      const row = (r: number): number[] => Array.from({ length }, (_, i) => value(r, i));
      const x = tensor([0, 1, 2, 3].flatMap(row), [4, length], { dtype });
      const read = (t: typeof x): number[] => Array.from(t.data, Number);
      const order = tensor([3, 0, 3, 2], { dtype: "int32" });
      expect(read(x.indexSelect(0, order)), `indexSelect, ${length}`).toEqual([3, 0, 3, 2].flatMap(row));
      const inner = Math.ceil(length / 2);
      expect(read(x.narrow(1, length - inner, inner)), `narrow, ${length}`).toEqual(
        [0, 1, 2, 3].flatMap((r) => row(r).slice(length - inner)),
      );
    });
});
