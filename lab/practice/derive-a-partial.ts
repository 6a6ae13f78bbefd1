/** Exercise: derive the partial derivatives of ½(θ₁x₁ + θ₂x₂ − y)², the article's first example. */
import type { Exercise, Mistake } from "./exercise.ts";
import { agree, draw, drawAwayFromZero, read, show } from "./values.ts";

type Pair = readonly [number, number];
const loss = (theta: readonly number[], x: readonly number[], y: number): number =>
  0.5 * (theta[0]! * x[0]! + theta[1]! * x[1]! - y) ** 2;

/** A hint for each common mistake, and the result that code with this mistake returns. */
function slips(theta: Pair, x: Pair, y: number): [string, number[]][] {
  const error = theta[0] * x[0] + theta[1] * x[1] - y;
  return [
    [
      "Your gradient has the wrong sign. The error is the prediction minus the target: θ₁x₁ + θ₂x₂ − y.",
      x.map((value) => -error * value),
    ],
    [
      "You differentiated the square, but not what is inside. The chain rule multiplies the error by the derivative of θᵢxᵢ, which is xᵢ.",
      [error, error],
    ],
    [
      "Your gradient is twice the right value: the factor ½ cancels the 2 from the square.",
      x.map((value) => 2 * error * value),
    ],
    ["The two partial derivatives are swapped.", [error * x[1], error * x[0]]],
    [
      "You multiplied the error by θᵢ. The derivative of θᵢxᵢ with respect to θᵢ is xᵢ.",
      theta.map((value) => error * value),
    ],
  ];
}

export default {
  name: "derive-a-partial",
  title: "Derive a partial derivative",
  section: "The Gradient: A Vector of Sensitivities",
  concept: "partial derivatives are sensitivities",
  prediction: {
    kind: "choice",
    question:
      "A model predicts $\\theta_1x_1+\\theta_2x_2$, and its loss is half the squared error. Let $x=(2,-1)$, $y=3$ and $\\theta=(1,1)$. What happens to the loss if $\\theta_2$ grows a little?",
    options: ["It grows.", "It shrinks.", "It stays the same."],
    answer: "It grows.",
    explanation:
      "The prediction 1 is below the target 3. Because $x_2$ is negative, a larger $\\theta_2$ makes the prediction even smaller: $\\partial L/\\partial\\theta_2=(1-3)\\cdot(-1)=2$ is positive.",
  },
  statement: [
    "A linear model with two parameters has the loss",
    "$$L(\\theta)=\\frac12(\\theta_1x_1+\\theta_2x_2-y)^2$$",
    "Write `gradient(theta, x, y)`, which returns both partial derivatives, $[\\partial L/\\partial\\theta_1,\\ \\partial L/\\partial\\theta_2]$. `theta` and `x` are arrays of two numbers, and `y` is a number.",
  ],
  exports: ["gradient"],
  byHand: true,
  starter: `export function gradient(theta, x, y) {
  return [0, 0];
}
`,
  hints: [
    "Hold $\\theta_2$ constant. The loss is then the square of a function of $\\theta_1$ alone: use the chain rule.",
    "The derivative of $\\frac12e^2$ is $e\\cdot e'$, where $e=\\theta_1x_1+\\theta_2x_2-y$. What is the derivative of $e$ with respect to $\\theta_1$?",
    "$\\partial L/\\partial\\theta_1=(\\theta_1x_1+\\theta_2x_2-y)\\,x_1$, and likewise for $\\theta_2$. Compute the error once, and multiply it by each input.",
  ],
  solution: `export function gradient(theta, x, y) {
  const error = theta[0] * x[0] + theta[1] * x[1] - y;
  return [error * x[0], error * x[1]];
}
`,
  checks: [
    {
      title: "In the article's example, x = (3, 1), y = 8 and θ = (1, 1), the gradient is (−12, −4).",
      run(code) {
        const what = "`gradient([1, 1], [3, 1], 8)`";
        const got = read(code.gradient!([1, 1], [3, 1], 8), [2], what);
        agree(got, { what, want: [-12, -4], within: 1e-9, slips: slips([1, 1], [3, 1], 8) });
      },
    },
    {
      title: "At random points, the gradient agrees with difference quotients.",
      run(code) {
        for (let i = 0; i < 20; i++) {
          const [theta, x] = [draw(2) as unknown as Pair, drawAwayFromZero(2) as unknown as Pair];
          const y = draw(1, 5, 9)[0]!;
          // Central differences are exact for a quadratic, up to rounding.
          const along = (j: number): number => {
            const at = (h: number): number =>
              loss(
                theta.map((value, k) => (k === j ? value + h : value)),
                x,
                y,
              );
            return at(0.5) - at(-0.5);
          };
          const what = `\`gradient\` at θ = ${show(theta)}, x = ${show(x)}, y = ${show([y])}`;
          const got = read(code.gradient!([...theta], [...x], y), [2], what);
          agree(got, { what, want: [along(0), along(1)], within: 1e-9, slips: slips(theta, x, y) });
        }
      },
    },
    {
      title: "Where the model fits the data, the gradient is zero.",
      run(code) {
        const [theta, x] = [draw(2), draw(2)];
        const what = "`gradient` at a point where the prediction equals y";
        const got = read(code.gradient!(theta, x, theta[0]! * x[0]! + theta[1]! * x[1]!), [2], what);
        agree(got, { what, want: [0, 0], within: 1e-3 });
      },
    },
  ],
} satisfies Exercise;

export const mistakes: readonly Mistake[] = [
  { replace: "theta[0] * x[0] + theta[1] * x[1] - y", by: "y - theta[0] * x[0] - theta[1] * x[1]", hint: "wrong sign" },
  { replace: "[error * x[0], error * x[1]]", by: "[error, error]", hint: "not what is inside" },
  {
    replace: "[error * x[0], error * x[1]]",
    by: "[2 * error * x[0], 2 * error * x[1]]",
    hint: "twice the right value",
  },
];
