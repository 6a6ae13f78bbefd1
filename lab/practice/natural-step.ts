/** Exercise: take a natural-gradient step with a 2 × 2 Fisher matrix, θ − η F⁻¹∇L. */
import { type Matrix, product, solve, times, transpose, type Vector } from "../algebra.ts";
import type { Code, Exercise, Mistake } from "./exercise.ts";
import { agree, draw, drawAwayFromZero, format, matrixText, read, show } from "./values.ts";

const pair = (): Vector => drawAwayFromZero(2);

/** A symmetric positive definite matrix AᵀA + ½I. */
function fisherMatrix(): Matrix {
  const a = [pair(), pair()];
  return product(transpose(a), a).map((row, i) => row.map((value, j) => (i === j ? value + 0.5 : value)));
}

/** Calls the reader's `naturalStep`, and returns the new parameters. */
const step = (code: Code, theta: Vector, gradient: Vector, fisher: Matrix, lr: number, what: string): number[] =>
  read(
    code.naturalStep!(
      [...theta],
      [...gradient],
      fisher.map((row) => [...row]),
      lr,
    ),
    [2],
    what,
  );

function slips(theta: Vector, gradient: Vector, fisher: Matrix, lr: number): [string, number[]][] {
  const [[a, b], [c, d]] = fisher as [[number, number], [number, number]];
  const after = (direction: Vector, rate = lr): number[] => theta.map((value, i) => value - rate * direction[i]!);
  const natural = solve(fisher, gradient);
  return [
    ["You multiplied by F. The natural gradient multiplies by its inverse.", after(times(fisher, gradient))],
    ["That is a plain gradient step: F is missing.", after(gradient)],
    ["You went up: subtract the step.", after(natural, -lr)],
    ["You forgot the learning rate.", after(natural, 1)],
    [
      "You divided by the diagonal of F only. Its other elements matter too: invert the whole matrix.",
      after([gradient[0]! / a, gradient[1]! / d]),
    ],
    [
      "The off-diagonal elements of F⁻¹ have the wrong sign: they are −b and −c, divided by the determinant.",
      after(
        solve(
          [
            [a, -b],
            [-c, d],
          ],
          gradient,
        ),
      ),
    ],
    [
      "You forgot to divide by the determinant ad − bc.",
      after(
        times(
          [
            [d, -b],
            [-c, a],
          ],
          gradient,
        ),
      ),
    ],
    [
      "In F⁻¹, the diagonal elements a and d are swapped.",
      after(
        solve(
          [
            [d, b],
            [c, a],
          ],
          gradient,
        ),
      ),
    ],
    ["You returned the direction, not the new parameters θ − ηF⁻¹g.", [...natural]],
  ];
}

export default {
  name: "natural-step",
  title: "A natural-gradient step",
  section: "The Natural Gradient: Descending in Information Space",
  concept: "steepest descent in the space of distributions",
  prediction: {
    kind: "number",
    question:
      "The Fisher matrix is $F=\\begin{pmatrix}100&0\\\\0&1\\end{pmatrix}$ and the gradient is $(50,\\,1)$. The plain gradient step goes mostly along $\\theta_1$. What is the first component of the natural gradient?",
    answer: 0.5,
    within: 0.001,
    explanation:
      "$F^{-1}\\nabla L=(50/100,\\ 1/1)=(0.5,\\,1)$. The model is very sensitive to $\\theta_1$, so the natural gradient goes mostly along $\\theta_2$.",
  },
  statement: [
    "The natural gradient $F^{-1}\\nabla L$ is the direction of steepest descent if the length of a step is measured by how much the model's distribution changes. One step with learning rate $\\eta$ is",
    "$$\\theta\\leftarrow\\theta-\\eta\\,F^{-1}\\nabla L(\\theta)$$",
    "Write `naturalStep(theta, gradient, fisher, lr)` for two parameters, which returns the new $\\theta$ as an array. `theta` and `gradient` are arrays of two numbers, and `fisher` is a matrix `[[a, b], [c, d]]` that is symmetric and positive definite, but not always diagonal.",
  ],
  exports: ["naturalStep"],
  starter: `export function naturalStep(theta, gradient, fisher, lr) {
  return theta.map((value, i) => value - lr * gradient[i]);
}
`,
  hints: [
    "You need $\\delta=F^{-1}g$: the solution of the two equations $F\\delta=g$.",
    "The inverse of $\\begin{pmatrix}a&b\\\\c&d\\end{pmatrix}$ is $\\frac1{ad-bc}\\begin{pmatrix}d&-b\\\\-c&a\\end{pmatrix}$.",
    "With `det = a * d - b * c` and the gradient `[g1, g2]`, the natural gradient is `[(d * g1 - b * g2) / det, (a * g2 - c * g1) / det]`. Subtract `lr` times it from `theta`.",
  ],
  solution: `export function naturalStep(theta, gradient, fisher, lr) {
  const [[a, b], [c, d]] = fisher;
  const [g1, g2] = gradient;
  const det = a * d - b * c;
  const natural = [(d * g1 - b * g2) / det, (a * g2 - c * g1) / det];
  return theta.map((value, i) => value - lr * natural[i]);
}
`,
  checks: [
    {
      title: "For F = diag(100, 1), the step in the first direction is 100 times smaller.",
      run(code) {
        const arguments_ = [
          [0.5, 1.5],
          [50, 1],
          [
            [100, 0],
            [0, 1],
          ],
          0.5,
        ] as const;
        const what = "`naturalStep` with F = diag(100, 1) and the gradient (50, 1)";
        agree(step(code, ...arguments_, what), { what, want: [0.25, 1], within: 1e-9, slips: slips(...arguments_) });
      },
    },
    {
      title: "For random F, the step δ solves Fδ = −η∇L.",
      run(code) {
        for (let i = 0; i < 10; i++) {
          const [theta, gradient, fisher, lr] = [pair(), pair(), fisherMatrix(), draw(1, 0.1, 0.9)[0]!];
          const what = `\`naturalStep\` with F = ${matrixText(fisher)}, ∇L = ${show(gradient)} and η = ${format(lr)}`;
          const want = solve(fisher, gradient).map((value, k) => theta[k]! - lr * value);
          agree(step(code, theta, gradient, fisher, lr, what), {
            what,
            want,
            within: 1e-9,
            slips: slips(theta, gradient, fisher, lr),
          });
        }
      },
    },
    {
      title: "The step does not depend on the coordinates: with θ = Bφ, the step in φ leads to the same model.",
      run(code) {
        for (let i = 0; i < 10; i++) {
          const [theta, gradient, fisher] = [pair(), pair(), fisherMatrix()];
          const b = [
            [2, 0.5],
            [draw(1, -1, 1)[0]!, 1.5],
          ];
          const phi = solve(b, theta);
          // ∇φL = Bᵀ∇L and Fφ = BᵀFB.
          const other = step(
            code,
            phi,
            times(transpose(b), gradient),
            product(transpose(b), product(fisher, b)),
            0.5,
            "`naturalStep` in φ",
          );
          const what = "The model after a step in the coordinates φ";
          const want = [...step(code, theta, gradient, fisher, 0.5, "`naturalStep` in θ")];
          agree(times(b, other), {
            what,
            want,
            within: 1e-6,
            slips: [
              [
                "A natural step does not depend on the coordinates. Does yours use the whole inverse of F?",
                times(b, other),
              ],
            ],
          });
        }
      },
    },
    {
      title: "If F is the Hessian of a quadratic loss, one step with η = 1 reaches the minimum.",
      run(code) {
        const [theta, minimum, fisher] = [pair(), pair(), fisherMatrix()];
        const gradient = times(
          fisher,
          theta.map((value, k) => value - minimum[k]!),
        );
        const what = "`naturalStep` with η = 1 on a quadratic loss";
        agree(step(code, theta, gradient, fisher, 1, what), {
          what,
          want: minimum,
          within: 1e-6,
          slips: slips(theta, gradient, fisher, 1),
        });
      },
    },
  ],
} satisfies Exercise;

export const mistakes: readonly Mistake[] = [
  {
    replace: "[(d * g1 - b * g2) / det, (a * g2 - c * g1) / det]",
    by: "[a * g1 + b * g2, c * g1 + d * g2]",
    hint: "You multiplied by F",
  },
  {
    replace: "[(d * g1 - b * g2) / det, (a * g2 - c * g1) / det]",
    by: "[g1 / a, g2 / d]",
    hint: "the diagonal of F only",
  },
  { replace: "value - lr * natural[i]", by: "value + lr * natural[i]", hint: "You went up" },
  {
    replace: "[(d * g1 - b * g2) / det, (a * g2 - c * g1) / det]",
    by: "[d * g1 - b * g2, a * g2 - c * g1]",
    hint: "divide by the determinant",
  },
];
