/** Exercise: clip gradients by their global norm. The checks use random gradients, and train an exploding RNN. */
import { normal, ones, type Tensor, tensor, valueAndGrad } from "nabla";
import type { Code, Exercise, Mistake } from "./exercise.ts";
import { agree, drawAwayFromZero, fail, format, read, show } from "./values.ts";

/**
 * Calls the reader's `clip` with tensors of the given values, checks that it leaves them unchanged, and returns the
 * clipped values.
 */
function clip(code: Code, gradients: readonly (readonly number[])[], maxNorm: number): number[][] {
  const given = gradients.map((g) => tensor([...g]));
  const clipped = code.clip!(given, maxNorm);
  if (!Array.isArray(clipped) || clipped.length !== gradients.length)
    fail(`\`clip\` must return an array of ${gradients.length} tensors, one for each gradient.`);
  gradients.forEach((g, i) => {
    if (given[i]!.data.some((value, k) => value !== Math.fround(g[k]!)))
      fail("`clip` changed the gradients that it was given. Return new tensors: `g.mul(factor)`.");
  });
  return clipped.map((value: unknown, i: number) =>
    read(value, [gradients[i]!.length], `Element ${i} of the result of \`clip\``),
  );
}

const scaled = (gradients: readonly (readonly number[])[], factor: number): number[] =>
  gradients.flat().map((value) => factor * value);

/**
 * Trains the recurrent weights of a linear RNN over 20 time steps, each of which multiplies the gradient's norm by 1.5.
 * Returns the loss of each training step.
 */
function train(clipped: (gradients: Tensor[]) => readonly Tensor[]): number[] {
  const steps = 20;
  const target = ones([4]);
  // 1.5 times a rotation: ‖W‖₂ = 1.5.
  const [c, s] = [1.5 * Math.cos(0.3), 1.5 * Math.sin(0.3)];
  let w: Tensor = tensor([
    [c, -s, 0, 0],
    [s, c, 0, 0],
    [0, 0, c, -s],
    [0, 0, s, c],
  ]);
  const start = normal([4], 0, 0.1);
  const loss = (weights: Tensor): Tensor => {
    let h: Tensor = start;
    for (let t = 0; t < steps; t++) h = weights.matmul(h);
    return h.sub(target).square().sum().mul(0.5);
  };
  return Array.from({ length: 100 }, () => {
    const [value, gradient] = valueAndGrad(loss)(w) as [Tensor, Tensor];
    w = w.sub(clipped([gradient])[0]!.mul(0.04));
    return value.item();
  });
}

export default {
  name: "clip-an-rnn",
  title: "Clip an exploding RNN",
  section: "Vanishing and Exploding Gradients",
  concept: "clipping shortens a gradient and keeps its direction",
  prediction: {
    kind: "choice",
    question:
      "A linear RNN computes $h_t=Wh_{t-1}$, where $W$ is 1.5 times a rotation. By what factor does the norm of the gradient grow on its way back through 20 steps?",
    options: ["About 30", "About 3,300", "About 10²⁰"],
    answer: "About 3,300",
    explanation:
      "A rotation keeps lengths, so every step multiplies the norm by 1.5: $1.5^{20}\\approx3{,}325$. One step of gradient descent with such a gradient can destroy the weights.",
  },
  statement: [
    "Clipping limits the norm of the whole gradient. Let $\\|g\\|$ be the norm over the elements of all parameters together. If it is larger than the limit $c$, all elements are multiplied by the same factor; otherwise nothing changes:",
    "$$g\\leftarrow\\min\\Bigl(1,\\frac{c}{\\|g\\|}\\Bigr)\\,g$$",
    "Write `clip(gradients, maxNorm)`. `gradients` is an array of tensors, one for each parameter. Return an array of clipped tensors, and do not change the ones that you are given.",
    "Useful: `g.square().sum().item()` is a number, and `g.mul(0.5)` is a new tensor.",
  ],
  exports: ["clip"],
  starter: `export function clip(gradients, maxNorm) {
  return gradients;
}
`,
  hints: [
    "First compute one number: the norm of everything. Then scale every tensor by the same factor.",
    "The squared norms add up: $\\|g\\|^2=\\sum_i\\|g_i\\|^2$. Take the square root once, at the end. The factor must never be above 1.",
    "`let squares = 0; for (const g of gradients) squares += g.square().sum().item();` Then the factor is `Math.min(1, maxNorm / Math.sqrt(squares))`, which is 1 for a zero gradient because `maxNorm / 0` is `Infinity`.",
  ],
  solution: `export function clip(gradients, maxNorm) {
  let squares = 0;
  for (const g of gradients) squares += g.square().sum().item();
  const factor = Math.min(1, maxNorm / Math.sqrt(squares));
  return gradients.map((g) => g.mul(factor));
}
`,
  checks: [
    {
      title: "A gradient that is too long is scaled to norm maxNorm, and keeps its direction.",
      run(code) {
        for (let i = 0; i < 5; i++) {
          const gradients = [drawAwayFromZero(2, 1, 4), drawAwayFromZero(3, 2, 8)];
          const norms = gradients.map((g) => Math.hypot(...g));
          const norm = Math.hypot(...norms);
          const what = `\`clip\` of ${gradients.map(show).join(" and ")} with maxNorm = 1`;
          agree(clip(code, gradients, 1).flat(), {
            what,
            want: scaled(gradients, 1 / norm),
            within: 1e-4,
            slips: [
              [
                "You clipped every tensor on its own, which changes the direction of the gradient. Compute one norm over all tensors.",
                gradients.flatMap((g, k) => scaled([g], Math.min(1, 1 / norms[k]!))),
              ],
              [
                "You clipped every element on its own, which changes the direction. Multiply all elements by the same factor.",
                gradients.flat().map((value) => Math.max(-1, Math.min(1, value))),
              ],
              ["You divided by the squared norm. Take the square root.", scaled(gradients, Math.min(1, 1 / norm ** 2))],
              [
                "You added the norms of the tensors. Add their squares, then take the square root.",
                scaled(gradients, 1 / (norms[0]! + norms[1]!)),
              ],
              ["Nothing was clipped.", gradients.flat()],
            ],
          });
        }
      },
    },
    {
      title: "A gradient that is short enough does not change.",
      run(code) {
        const gradients = [drawAwayFromZero(2, 0.1, 0.2), drawAwayFromZero(3, 0.1, 0.2)];
        const norm = Math.hypot(...gradients.flat());
        agree(clip(code, gradients, 5).flat(), {
          what: `\`clip\` of a gradient of norm ${format(norm)} with maxNorm = 5`,
          want: gradients.flat(),
          within: 1e-4,
          slips: [
            [
              "You lengthened a short gradient. The factor must not be above 1: use `Math.min(1, …)`.",
              scaled(gradients, 5 / norm),
            ],
            [
              "You scaled a gradient that is short enough. The factor is 1 if the norm is below maxNorm.",
              scaled(gradients, 1 / norm),
            ],
          ],
        });
      },
    },
    {
      title: "A gradient of zeros stays zero.",
      run(code) {
        const what = "`clip` of zeros";
        agree(
          clip(
            code,
            [
              [0, 0],
              [0, 0, 0],
            ],
            1,
          ).flat(),
          { what, want: [0, 0, 0, 0, 0], within: 1e-6 },
        );
      },
    },
    {
      title: "An RNN with ‖W‖₂ = 1.5 trains over 20 time steps, and its weights stay finite.",
      run(code) {
        const losses = train((gradients) => code.clip!(gradients, 1) as Tensor[]);
        const [first, last] = [losses[0]!, losses.at(-1)!];
        if (!losses.every(Number.isFinite))
          fail(
            `The loss diverged in step ${losses.findIndex((loss) => !Number.isFinite(loss)) + 1}: the gradient was not clipped to norm 1.`,
          );
        if (!(last < 0.1 * first))
          fail(
            `The loss is ${format(last)} after 100 steps; at first it was ${format(first)}. Does the clipped gradient keep its direction and have norm 1?`,
          );
      },
    },
  ],
} satisfies Exercise;

export const mistakes: readonly Mistake[] = [
  {
    replace: "Math.min(1, maxNorm / Math.sqrt(squares))",
    by: "maxNorm / Math.sqrt(squares)",
    hint: "lengthened a short gradient",
  },
  { replace: "g.mul(factor)", by: "g.clamp(-maxNorm, maxNorm)", hint: "clipped every element on its own" },
  { replace: "Math.sqrt(squares)", by: "squares", hint: "divided by the squared norm" },
  {
    replace: "g.mul(factor)",
    by: "g.mul(Math.min(1, maxNorm / g.norm().item()))",
    hint: "clipped every tensor on its own",
  },
];
