/** Grad-CAM and occlusion against closed forms, central differences and loops. */
import { manualSeed, nn, ones, rand, randn, type Tensor, tensor, tidy } from "nabla";
import { describe, expect, test } from "vitest";
import { gradCam, occlusion } from "../../src/gradients/interpretation/maps.ts";
import { expectClose } from "../support/oracle.ts";
import { convolutional, X } from "./interpretation.ts";

describe("Grad-CAM", () => {
  test("equals max(0, Σ α_c·A_c), where α is the mean gradient from central differences", () => {
    const model = convolutional();
    const x = randn([2, 6, 6, 2]);
    const targets = [2, 0];
    for (const at of [0, 1, 2, 3, 4]) {
      const layer = model.layers[at]!;
      const got = gradCam(model, layer, x, { target: tensor(targets, { dtype: "int32" }) });
      const A = model.layers.slice(0, at + 1).reduce((z, l) => l.forward(z) as Tensor, x) as Tensor;
      const [, h, w, channels] = A.shape as unknown as [number, number, number, number];
      expect(got.shape).toEqual([2, h, w]);
      const a = A.data;
      // ∂score/∂A by central differences.
      const step = 1 / 64;
      const rest = (z: Float32Array, sample: number): number =>
        (
          model.layers
            .slice(at + 1)
            .reduce((y, l) => l.forward(y) as Tensor, tensor(z, A.shape))
            .toArray() as number[][]
        )[sample]![targets[sample]!]!;
      const expected = tidy(() =>
        Array.from({ length: 2 }, (_, sample) => {
          const alpha = Array.from({ length: channels }, (_, c) => {
            // α_c = 1/(hw)·Σ ∂score/∂A over the pixels of channel c.
            const from = sample * h * w * channels;
            let total = 0;
            for (let pixel = 0; pixel < h * w; pixel++) {
              const [up, down] = [1, -1].map((sign) => {
                const moved = Float32Array.from(a);
                moved[from + pixel * channels + c]! += sign * step;
                return rest(moved, sample);
              });
              total += (up! - down!) / (2 * step);
            }
            return total / (h * w);
          });
          return Array.from({ length: h * w }, (_, pixel) =>
            Math.max(
              0,
              alpha.reduce((sum, weight, c) => sum + weight * a[sample * h * w * channels + pixel * channels + c]!, 0),
            ),
          );
        }).flat(),
      );
      // After the ReLU, the rest of the model is linear. For earlier layers, the ReLU's kinks make central differences less accurate.
      if (at >= 4) expectClose(got.data, expected, 1e-4, `layer ${at}`);
      else expect(Math.max(...expected.map((v, i) => Math.abs(v - got.data[i]!)))).toBeLessThan(0.02);
    }
    model.dispose();
  });

  test("equals the class activation map w_c·A_c/(hw) before global average pooling (Zhou et al. 2016)", () => {
    manualSeed(8);
    const conv = new nn.Conv2d(1, 3, 3, { padding: "same" });
    const head = new nn.Linear(3, 2);
    const model = new nn.Sequential(conv, new nn.ReLU(), new nn.GlobalAvgPool2d(), head);
    const x = rand([2, 5, 4, 1]);
    const map = conv
      .forward(x)
      .relu()
      .mul(head.weight.narrow(0, 1, 1).reshape([1, 1, 1, 3]))
      .sum(-1)
      .relu()
      .div(20);
    expectClose(gradCam(model, model.layers[1]!, x, { target: 1 }).data, map.data, 1e-6);
  });

  test("resize interpolates the map to the size of the inputs", () => {
    const model = convolutional();
    const x = randn([2, 6, 6, 2]);
    const small = gradCam(model, model.layers[4]!, x, { target: 1 });
    const large = gradCam(model, model.layers[4]!, x, { target: 1, resize: true });
    expect([small.shape, large.shape]).toEqual([
      [2, 3, 3],
      [2, 6, 6],
    ]);
    const expected = nn.interpolate(small.unsqueeze(-1), { size: [6, 6], mode: "bilinear" });
    expect(large.data).toEqual(expected.data);
    model.dispose();
  });

  test("restores the layer's forward, even after errors", () => {
    const model = convolutional();
    const layer = model.layers[0]!;
    const x = randn([1, 6, 6, 2]);
    gradCam(model, layer, x);
    expect(Object.hasOwn(layer, "forward")).toBe(false);
    const own = layer.forward.bind(layer);
    layer.forward = own;
    gradCam(model, layer, x);
    expect(layer.forward).toBe(own);
    expect(() => gradCam(model, layer, x, { target: 9 })).toThrow(/target must be a class in 0 … \d+, got 9/);
    expect(layer.forward).toBe(own);
    expect(() => gradCam(model, model.layers[6]!, x)).toThrow(
      literally("Linear must be an image, [batch, h, w, channels], got a float32 tensor [1, 3]"),
    );
    expect(Object.hasOwn(model.layers[6]!, "forward")).toBe(false);
    model.dispose();
  });

  test("works with frozen parameters", () => {
    const model = convolutional();
    const x = randn([1, 6, 6, 2]);
    const before = gradCam(model, model.layers[1]!, x).data;
    for (const p of model.parameters()) p.requiresGrad = false;
    expect(gradCam(model, model.layers[1]!, x).data).toEqual(before);
    model.dispose();
  });
});

const literally = (text: string): RegExp => new RegExp(text.replace(/[[\]]/g, "\\$&"));

describe("occlusion", () => {
  test("agrees with a naive loop: the mean decrease in the score over the windows that cover a pixel", () => {
    const model = convolutional();
    const x = randn([3, 6, 6, 2]);
    const targets = [0, 2, 1];
    for (const [window, stride] of [
      [
        [1, 1],
        [1, 1],
      ],
      [
        [3, 2],
        [2, 1],
      ],
      [
        [4, 4],
        [4, 4],
      ],
      [
        [6, 6],
        [6, 6],
      ],
    ] as const) {
      const fill = tensor([0.5, -0.25]);
      const got = occlusion(model, x, {
        target: tensor(targets, { dtype: "int32" }),
        window,
        stride,
        fill,
        batchSize: 7,
      });
      expect(got.shape).toEqual([3, 6, 6]);
      const score = (values: Float32Array, i: number): number =>
        tidy(() => (model.forward(tensor(values, x.shape)).toArray() as number[][])[i]![targets[i]!]!);
      const starts = (w: number, s: number): number[] => {
        const list: number[] = [];
        for (let at = 0; at < 6 - w; at += s) list.push(at);
        return [...list, 6 - w];
      };
      const expected = targets.flatMap((_, i) => {
        const [sums, counts] = [new Float64Array(36), new Float64Array(36)];
        for (const top of starts(window[0], stride[0])) {
          for (const left of starts(window[1], stride[1])) {
            const covered = Float32Array.from(x.data);
            for (let r = top; r < top + window[0]; r++)
              for (let c = left; c < left + window[1]; c++)
                for (const [k, v] of [0.5, -0.25].entries()) covered[((i * 6 + r) * 6 + c) * 2 + k] = v;
            const fall = score(Float32Array.from(x.data), i) - score(covered, i);
            for (let r = top; r < top + window[0]; r++)
              for (let c = left; c < left + window[1]; c++) {
                sums[r * 6 + c]! += fall;
                counts[r * 6 + c]!++;
              }
          }
        }
        return Array.from(sums, (v, at) => v / counts[at]!);
      });
      expectClose(got.data, expected, 1e-5, `window ${window}`);
    }
    model.dispose();
  });

  test("maps sequences [batch, length, channels] to [batch, length]", () => {
    const f = (z: Tensor) => z.sum([1, 2]);
    const drops = occlusion(f, ones([2, 5, 3]), { window: 2, stride: 2 });
    expect(drops.toArray()).toEqual(Array.from({ length: 2 }, () => [6, 6, 6, 6, 6]));
  });
});

describe("errors say how to fix the call", () => {
  const image = () => randn([1, 6, 6, 2]);
  const model = convolutional();
  test.each<[string, () => unknown, string]>([
    [
      "a layer that does not run",
      () => gradCam(model, new nn.ReLU(), image()),
      "gradCam: Sequential must run the layer ReLU once, got 0 runs. Pass a layer whose forward() the model calls, such as model.layers[0]",
    ],
    [
      "a layer whose output is not an image",
      () => gradCam(model, model.layers[5]!, image()),
      "gradCam: the output of Flatten must be an image, [batch, h, w, channels], got a float32 tensor [1, 27].",
    ],
    [
      "resize for inputs that are not images",
      () => gradCam(model, model.layers[0]!, tensor(X), { resize: true }),
      "gradCam: x must be images [batch, height, width, channels] for resize, got [2, 4]. Omit resize.",
    ],
    [
      "window",
      () => occlusion(model, image(), { window: [7, 1] }),
      "occlusion: window must have one whole number per dimension, each between 1 and that dimension's size in [6, 6], got [7, 1].",
    ],
    ["windows", () => occlusion(model, image(), { window: [1] }), "that dimension's size in [6, 6], got [1]."],
    [
      "gaps",
      () => occlusion(model, image(), { window: 2, stride: 3 }),
      "occlusion: stride must be at most the window size 2, to leave no gaps, got 3.",
    ],
    [
      "fill",
      () => occlusion(model, image(), { fill: tensor([1, 2, 3]) }),
      "occlusion: fill must be a number or broadcast to [6, 6, 2], got [3].",
    ],
  ])("%s", (_, f, message) => expect(f).toThrow(message));

  test("a layer that does not affect the score", () => {
    class Aside extends nn.Module {
      aside = new nn.Conv2d(2, 2, 1);
      forward(z: Tensor): Tensor {
        this.aside.forward(z);
        return z.sum([1, 2]);
      }
    }
    const odd = new Aside();
    expect(() => gradCam(odd, odd.aside, image())).toThrow(
      "gradCam: the score does not depend on the output of Conv2d. Pass a layer between inputs and scores.",
    );
  });
});
