/** Exercise: write central differences, and a gradient check that uses them. */
import type { Code, Exercise, Mistake } from "./exercise.ts";
import { agree, draw, drawAwayFromZero, fail, read, show } from "./values.ts";

type Field = (theta: readonly number[]) => number;
type Gradient = (theta: readonly number[]) => number[];
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** Calls the reader's `numericalGradient`, and checks that it leaves `theta` unchanged. */
function differences(code: Code, f: Field, theta: readonly number[], h: number, what: string): number[] {
  const given = [...theta];
  const returned = code.numericalGradient!((at: readonly number[]) => f([...at]), given, h);
  if (given.some((value, i) => value !== theta[i]))
    fail(
      "`numericalGradient` changed the array `theta`, so the caller's parameters have moved. Change a copy: `const above = [...theta]`.",
    );
  return read(returned, [theta.length], what);
}

/** The same function and its gradient at three scales. */
const CASES: readonly (readonly [string, Field, Gradient])[] = [1, 1e6, 1e-6].map((size) => [
  `${size} · Σ sin θᵢ`,
  (theta) => size * sum(theta.map(Math.sin)),
  (theta) => theta.map((value) => size * Math.cos(value)),
]);

export default {
  name: "write-gradcheck",
  title: "Write gradcheck",
  section: "The Gradient: A Vector of Sensitivities",
  concept: "the definition of the derivative tests any gradient",
  prediction: {
    kind: "number",
    question:
      "The central difference $\\frac{L(\\theta+h)-L(\\theta-h)}{2h}$ approximates $L'(\\theta)$. You halve $h$, which is small, but not so small that rounding matters. By what factor does the error shrink?",
    answer: 4,
    within: 0.2,
    explanation:
      "The error is about $\\frac{h^2}{6}L'''(\\theta)$: halving $h$ leaves a quarter of it. For the forward difference $\\frac{L(\\theta+h)-L(\\theta)}{h}$ the error is proportional to $h$ and only halves.",
  },
  statement: [
    "Every gradient that you derive by hand can be tested against the definition of the derivative. Write two functions.",
    "`numericalGradient(f, theta, h)` returns the central differences of `f` at the array `theta`, one for each parameter:",
    "$$d_i=\\frac{f(\\theta+h\\,e_i)-f(\\theta-h\\,e_i)}{2h}$$",
    "`gradcheck(f, gradient, theta)` compares `gradient(theta)`, called $g$, with the central differences $d$ for $h=10^{-4}$. It returns the relative error, or 0 if both are zero:",
    "$$\\frac{\\|g-d\\|}{\\|g\\|+\\|d\\|}$$",
  ],
  exports: ["numericalGradient", "gradcheck"],
  byHand: true,
  starter: `export function numericalGradient(f, theta, h) {
  return theta.map((value, i) => 0);
}

export function gradcheck(f, gradient, theta) {
  return 0;
}
`,
  hints: [
    "Change one parameter at a time, in a copy of `theta`: `const above = [...theta]`.",
    "For parameter `i`, make two copies, add `h` to element `i` of the first and subtract it from the second. The two points are $2h$ apart. For the error, `Math.hypot(...v)` is the length of `v`.",
    "The difference is `(f(above) - f(below)) / (2 * h)`. The error is `Math.hypot(...g.map((value, i) => value - d[i]))`, divided by `Math.hypot(...g) + Math.hypot(...d)`. If that sum is 0, return 0.",
  ],
  solution: `export function numericalGradient(f, theta, h) {
  return theta.map((value, i) => {
    const above = [...theta];
    const below = [...theta];
    above[i] += h;
    below[i] -= h;
    return (f(above) - f(below)) / (2 * h);
  });
}

export function gradcheck(f, gradient, theta) {
  const g = gradient(theta);
  const d = numericalGradient(f, theta, 1e-4);
  const size = Math.hypot(...g) + Math.hypot(...d);
  return size === 0 ? 0 : Math.hypot(...g.map((value, i) => value - d[i])) / size;
}
`,
  checks: [
    {
      title: "For f(θ) = Σ θᵢ³, the central difference is exactly 3θᵢ² + h².",
      run(code) {
        const h = 0.125;
        const theta = drawAwayFromZero(3);
        const what = `\`numericalGradient\` of Σ θᵢ³ at θ = ${show(theta)} with h = ${h}`;
        const f: Field = (at) => sum(at.map((value) => value ** 3));
        const got = differences(code, f, theta, h, what);
        const want = theta.map((value) => 3 * value ** 2 + h ** 2);
        agree(got, {
          what,
          want,
          within: 1e-9,
          slips: [
            [
              "That is a forward difference, whose error is proportional to h. Evaluate f on both sides of θ.",
              theta.map((value) => 3 * value ** 2 + 3 * value * h + h ** 2),
            ],
            [
              "That is a backward difference, whose error is proportional to h. Evaluate f on both sides of θ.",
              theta.map((value) => 3 * value ** 2 - 3 * value * h + h ** 2),
            ],
            ["The two points are 2h apart: divide by 2h, not by h.", want.map((value) => 2 * value)],
            ["Divide by the distance 2h between the two points.", want.map((value) => 2 * h * value)],
            ["The sign is wrong: subtract the value below from the value above.", want.map((value) => -value)],
          ],
        });
      },
    },
    {
      title: "numericalGradient varies one parameter at a time, and leaves theta unchanged.",
      run(code) {
        const theta = drawAwayFromZero(3);
        const f: Field = ([a, b, c]) => a! * b! * c!;
        const what = `\`numericalGradient\` of θ₁θ₂θ₃ at θ = ${show(theta)}`;
        const got = differences(code, f, theta, 0.0625, what);
        const [a, b, c] = theta as [number, number, number];
        const at = (h: number): number => f(theta.map((value) => value + h));
        const all = (at(0.0625) - at(-0.0625)) / 0.125;
        agree(got, {
          what,
          want: [b * c, a * c, a * b],
          within: 1e-9,
          slips: [
            ["You changed all parameters together. Change only element i, and keep the others.", [all, all, all]],
          ],
        });
      },
    },
    {
      title: "gradcheck accepts correct gradients, large and small: the error is below 10⁻⁶.",
      run(code) {
        for (const [name, f, gradient] of CASES) {
          const what = `\`gradcheck\` of the right gradient of ${name}`;
          const [error] = read(code.gradcheck!(f, gradient, draw(4)), [], what);
          if (!(error! >= 0 && error! < 1e-6))
            fail(
              `${what} is ${show([error!])}, but should be below 1e-6. ${
                error! < 0
                  ? "An error is a length, which is never negative."
                  : error! < 1e-3
                    ? "Is d a central difference with h = 1e-4?"
                    : "Is the difference divided by ‖g‖ + ‖d‖?"
              }`,
            );
        }
      },
    },
    {
      title: "gradcheck rejects wrong gradients, with the error that theory predicts.",
      run(code) {
        const theta = draw(4, 0.2, 1.2);
        const [, f, gradient] = CASES[1]!;
        const g = gradient(theta);
        const size = Math.hypot(...g);
        const wrong: readonly (readonly [string, number[], string])[] = [
          [
            "with the wrong sign",
            g.map((value) => -value),
            "Compare the components, not only the lengths ‖g‖ and ‖d‖.",
          ],
          ["that is too large by a factor of 2", g.map((value) => 2 * value), "Divide ‖g − d‖ by the sum ‖g‖ + ‖d‖."],
          ["without its last component", g.map((value, i) => (i < 3 ? value : 0)), "Compare all components."],
        ];
        for (const [name, values, hint] of wrong) {
          const what = `\`gradcheck\` of a gradient ${name}`;
          const [error] = read(
            code.gradcheck!(f, () => [...values], [...theta]),
            [],
            what,
          );
          const difference = Math.hypot(...values.map((value, i) => value - g[i]!));
          const want = difference / (Math.hypot(...values) + size);
          agree([error!], {
            what,
            want: [want],
            within: 1e-5,
            slips: [
              [
                "That is the absolute error. Divide it by ‖g‖ + ‖d‖, so that the size of f does not matter.",
                [difference],
              ],
              [
                Math.abs(error! - want) < 1e-3 ? "That is close. Is d a central difference with h = 1e-4?" : hint,
                [error!],
              ],
            ],
          });
        }
      },
    },
    {
      title: "If both gradients are zero, the error is 0.",
      run(code) {
        const what = "`gradcheck` of a constant function";
        const got: unknown = code.gradcheck!(
          () => 3,
          () => [0, 0],
          [1, 2],
        );
        if (Number.isNaN(got)) fail(`${what} is NaN, because 0 is divided by 0. Return 0 if ‖g‖ + ‖d‖ is 0.`);
        agree(read(got, [], what), { what, want: [0], within: 1e-9 });
      },
    },
  ],
} satisfies Exercise;

export const mistakes: readonly Mistake[] = [
  { replace: "(f(above) - f(below)) / (2 * h)", by: "(f(above) - f(theta)) / h", hint: "forward difference" },
  { replace: "const above = [...theta];", by: "const above = theta;", hint: "Change a copy" },
  { replace: "value - d[i])) / size", by: "value - d[i]))", hint: "divided by ‖g‖ + ‖d‖" },
  { replace: "/ (2 * h)", by: "/ h", hint: "divide by 2h, not by h" },
];
