/** nn.quantize against PyTorch: the integers and scales that a layer stores, its rounded weight, and its result. */
import { nn, type Tensor, tidy } from "nabla";
import { describe, expect, test } from "vitest";
import { expectTorch, load, values } from "../support/torch.ts";

/** The integers that stand for a row of numbers. */
function numbersOf(bytes: Uint8Array, rows: number, columns: number, isInt4: boolean): number[] {
  const row = bytes.length / rows;
  return Array.from({ length: rows * columns }, (_, at) => {
    const [i, j] = [Math.floor(at / columns), at % columns];
    if (!isInt4) return bytes[at]! - 128;
    const byte = bytes[i * row + 16 * Math.floor(j / 32) + (j % 16)]!;
    return (j % 32 < 16 ? byte & 15 : byte >> 4) - 8;
  });
}

describe(`quantized layers agree with PyTorch ${values.torch}`, () => {
  test.each(values.quantized.map((one) => [one.name, one] as const))("%s", async (_, one) => {
    const { dtype, numbers, scale } = one;
    const [w, bias, x] = [one.w, one.bias, one.x].map(load) as [Tensor, Tensor, Tensor];
    const [rows, columns] = w.shape as [number, number];
    const layer = new nn.Linear(columns, rows);
    layer.loadStateDict({ weight: w, bias });
    const small = await nn.quantize(layer, { dtype });
    tidy(() => {
      const state = small.stateDict();
      if (numbers && scale) {
        const bytes = state[dtype]!.data as Uint8Array;
        expect(numbersOf(bytes, rows, columns, dtype === "int4")).toEqual(Array.from(load(numbers).data));
        expect(Array.from(state.scale!.data)).toEqual(Array.from(load(scale).data));
      }
      expectTorch(small.weight, one.weight, "weight");
      const y = small.forward(x);
      if (dtype !== "int8") return expectTorch(y, one.out, "result");
      // PyTorch does not round the activations. nabla rounds them to 14 bits, so each is off by at most half a step.
      const half = x
        .max(1)
        .maximum(0)
        .sub(x.min(1).minimum(0))
        .div(2 * 16_383);
      const bound = half.unsqueeze(1).mul(load(one.weight).abs().sum(1)).add(1e-5);
      expect(y.sub(load(one.out)).abs().le(bound).all().item()).toBe(1);
    });
    small.dispose();
  });
});
