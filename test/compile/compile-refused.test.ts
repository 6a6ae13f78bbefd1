/** Functions that compile refuses to record, and the fix that each error names. */
import { compile, memory, nn, optim, type Tensor, TraceError, tensor, tidy, where, zeros } from "nabla";
import { describe, expect, test } from "vitest";

describe("functions that compile cannot record", () => {
  test("writes to arguments and to constants are rejected", () => {
    const lost = compile((x: Tensor) => x.copyFrom(x.add(1)));
    expect(() => lost(tensor([1]))).toThrow(
      "copyFrom: the compiled function would write to its own copy of an argument. Return the new value, or capture the tensor instead of passing it.",
    );
    const lasting = compile((x: Tensor) => tensor([0]).copyFrom(x));
    expect(() => lasting(tensor([1]))).toThrow(
      "copyFrom: values that the compiled function makes from numbers are constants, and a write would change them for all calls. Write to a clone().",
    );
    const clone = compile((x: Tensor) => {
      const sum = tensor([1]).clone();
      return sum.copyFrom(sum.add(x)).mul(1);
    });
    for (let i = 0; i < 3; i++) expect(clone(tensor([1])).item()).toBe(2);
  });
  test("tensors that outlive the function that made them are rejected", () => {
    let kept: Tensor | undefined;
    const f = compile((x: Tensor) => {
      kept ??= zeros([2]).keep();
      return kept.add(x);
    });
    f(tensor([1, 2]));
    expect(() => kept!.add(1)).toThrow(
      "add: a float32 tensor [2] was made while compile recorded a function, so it has no memory. Make it outside the function, or return it.",
    );
    expect(() => f(tensor([[1, 2]]))).toThrow("was made while compile recorded another function");
  });
  test("reading a value is rejected", () => {
    const f = compile((x: Tensor) => (x.sum().item() > 0 ? x : x.neg()));
    // The error says what to do instead, and names the line that made the value.
    expect(() => f(tensor([1]))).toThrow(TraceError);
    expect(() => f(tensor([1]))).toThrow(
      new RegExp(
        `^item: the float32 tensor \\[\\] made by sum at compile-refused\\.test\\.ts:\\d+:\\d+ has no value while compile records the function. ` +
          "Return it and read it outside, or choose between values with where\\(…\\)\\.$",
      ),
    );
    const g = compile((x: Tensor) => where(x.sum().gt(0), x, x.neg()));
    expect(g(tensor([-1, -2])).toArray()).toEqual([1, 2]);
  });
  test("gradients that accumulate across calls are rejected", () => {
    const w = nn.parameter(tensor([1]));
    const f = compile((x: Tensor) => w.mul(x).sum().backward());
    expect(() => f(tensor([1]))).toThrow(/Call optimizer.zeroGrad\(\) inside the function/);
    expect(w.grad).toBe(null);
    w.mul(2).sum().backward();
    expect(() => f(tensor([1]))).toThrow(/had a gradient before the compiled function ran/);
    expect(w.grad!.toArray()).toEqual([2]);
  });
  test("an outside tensor that was disposed after the recording is rejected", () => {
    const w = tensor([1]);
    const f = compile((x: Tensor) => x.add(w));
    f(tensor([1]));
    w.dispose();
    expect(() => f(tensor([1]))).toThrow(
      /^compile: a float32 tensor that the function used when it was recorded \(in add at compile-refused\.test\.ts:\d+:\d+\) was disposed\. Compile the function again\.$/,
    );
  });
  test("in-place writes of JavaScript values and arguments of unsupported types are rejected", () => {
    const x = zeros([1]);
    expect(() => compile(() => x.copyFrom([1]))()).toThrow("copyFrom: values from JavaScript would be written once");
    expect(() => compile((m: unknown) => m)(new Map())).toThrow(
      "compile(f): arguments must be tensors, typed arrays, numbers, strings, booleans",
    );
    const loop: unknown[] = [];
    loop.push(loop);
    expect(() => compile((m: unknown) => m)(loop)).toThrow("an argument contains itself");
    expect(() => compile((m: unknown) => m)(new DataView(new ArrayBuffer(4)))).toThrow("arguments must be tensors");
  });
  test("a function that throws frees everything", () => {
    const w = nn.parameter(tensor([1]));
    const optimizer = new optim.SGD([w], { lr: 1 });
    const f = compile(() => {
      optimizer.minimize(() => w.sum());
      throw new Error("stop");
    });
    const before = memory().bytes;
    for (let i = 0; i < 3; i++) expect(() => tidy(() => f())).toThrow("stop");
    expect([w.item(), w.grad]).toEqual([1, null]);
    expect(memory().bytes).toBeLessThanOrEqual(before + 128);
  });
});
