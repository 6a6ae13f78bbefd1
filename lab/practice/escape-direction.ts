/** Exercise: find the direction of the most negative curvature, which leads away from a saddle point. */
import type { Code, Exercise, Mistake } from "./exercise.ts";
import { close, draw, fail, format, matrixText, read } from "./values.ts";

type Hessian = readonly [readonly [number, number], readonly [number, number]];

const symmetric = (a: number, b: number, c: number): Hessian => [
  [a, b],
  [b, c],
];
/** RΛRᵀ for a rotation R by the angle and Λ = diag(first, second). */
function rotated(first: number, second: number, angle: number): Hessian {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  return symmetric(first * c * c + second * s * s, (first - second) * c * s, first * s * s + second * c * c);
}
const curvature = ([[a, b], [, c]]: Hessian, [x, y]: readonly number[]): number =>
  a * x! * x! + 2 * b * x! * y! + c * y! * y!;
/** The eigenvalues, smallest first. */
function eigenvalues([[a, b], [, c]]: Hessian): [number, number] {
  const [middle, radius] = [(a + c) / 2, Math.hypot((a - c) / 2, b)];
  return [middle - radius, middle + radius];
}

/** Checks the direction that `escapeDirection` returns at a saddle point. */
function checkDirection(code: Code, hessian: Hessian): void {
  const what = `\`escapeDirection(${matrixText(hessian)})\``;
  const returned = code.escapeDirection!(hessian.map((row) => [...row]));
  if (returned === null) fail(`${what} is null, but the point is a saddle: its smallest curvature is negative.`);
  const v = read(returned, [2], what);
  const [smallest, greatest] = eigenvalues(hessian);
  const length = Math.hypot(...v);
  if (length < 1e-9) fail(`${what} is the zero vector. If b = 0, the eigenvectors are the axes: handle that case.`);
  const along = curvature(hessian, v) / length ** 2;
  const near = (value: number): boolean => close([along], [value], 1e-6);
  const here = `Along ${what}, the curvature vᵀHv/‖v‖² is ${format(along)}`;
  if (near(greatest)) fail(`${here}, the largest: there the loss rises. Take the other eigenvector.`);
  if (!near(smallest))
    fail(
      `${here}, but the most negative one is ${format(smallest)}. ${
        along > 0 ? "The loss rises along this direction." : "The loss falls, but another direction is steeper."
      } Is it an eigenvector of H?`,
    );
  if (!close([length], [1], 1e-6))
    fail(`${what} has length ${format(length)}. Divide it by its length: \`Math.hypot(...v)\`.`);
}

export default {
  name: "escape-direction",
  title: "Find the escape direction of a saddle",
  section: "The Geometry of Non-Convex Landscapes",
  concept: "the gradient is zero at a saddle; the Hessian shows the way out",
  prediction: {
    kind: "choice",
    question:
      "Gradient descent on $L=\\theta_1^2-\\theta_2^2$ starts at $(1,\\,10^{-6})$, almost on the ridge, with rate 0.1. After how many steps is $|\\theta_2|$ above 1?",
    options: ["8", "76", "About 1,000,000"],
    answer: "76",
    explanation:
      "Each step multiplies $\\theta_2$ by $1+2\\cdot0.1=1.2$, and $1.2^{76}>10^6$. The escape is exponential, but slow at first: in most of these steps, the gradient is almost zero and the loss hardly moves.",
  },
  statement: [
    "Near a critical point, the loss changes by $\\frac12v^\\top Hv$ along $v$. At a saddle point the Hessian $H$ has a negative eigenvalue, and its eigenvector is the direction in which the loss falls fastest.",
    "Write `escapeDirection(hessian)` for two parameters, where `hessian` is a symmetric matrix $\\begin{pmatrix}a&b\\\\b&c\\end{pmatrix}$, given as `[[a, b], [b, c]]`. Return the eigenvector of the smallest eigenvalue as an array of two numbers with length 1; its sign does not matter. If no eigenvalue is negative, there is no escape: return `null`.",
  ],
  exports: ["escapeDirection"],
  starter: `export function escapeDirection(hessian) {
  const [[a, b], [, c]] = hessian;
  return [1, 0];
}
`,
  hints: [
    "Find the smallest eigenvalue first. If it is not negative, you are done.",
    "The eigenvalues are $\\frac{a+c}2\\pm\\sqrt{\\bigl(\\frac{a-c}2\\bigr)^2+b^2}$. An eigenvector for $\\lambda$ is $(b,\\ \\lambda-a)$, but that is zero if $b=0$ and $\\lambda=a$. A formula with an angle has no such gap.",
    "The eigenvector of the *larger* eigenvalue has the angle $\\varphi=\\frac12\\mathrm{atan2}(2b,\\ a-c)$. The other one is perpendicular to it: `[-Math.sin(phi), Math.cos(phi)]`.",
  ],
  solution: `export function escapeDirection(hessian) {
  const [[a, b], [, c]] = hessian;
  const smallest = (a + c) / 2 - Math.hypot((a - c) / 2, b);
  if (smallest >= 0) return null;
  const phi = Math.atan2(2 * b, a - c) / 2;
  return [-Math.sin(phi), Math.cos(phi)];
}
`,
  checks: [
    {
      title: "The escape direction of the saddle θ₁² − θ₂² is the θ₂ axis.",
      run: (code) => checkDirection(code, symmetric(2, 0, -2)),
    },
    {
      title: "At random saddles, the direction has the most negative curvature and length 1.",
      run(code) {
        for (let i = 0; i < 20; i++) {
          const [up, down, angle] = [draw(1, 0.5, 3)[0]!, draw(1, -3, -0.5)[0]!, draw(1, -1.4, 1.4)[0]!];
          checkDirection(code, rotated(up, down, angle));
        }
      },
    },
    {
      title: "Diagonal matrices work too, with the eigenvalues in either order.",
      run(code) {
        checkDirection(code, symmetric(-1.5, 0, 3));
        checkDirection(code, symmetric(3, 0, -1.5));
        checkDirection(code, symmetric(-3, 0, -1));
      },
    },
    {
      title: "At a minimum, `escapeDirection` returns null.",
      run(code) {
        for (let i = 0; i < 10; i++) {
          const [first, second, angle] = [draw(1, 0.2, 3)[0]!, draw(1, 0.2, 3)[0]!, draw(1, -1.4, 1.4)[0]!];
          const hessian = rotated(first, second, angle);
          if (code.escapeDirection!(hessian.map((row) => [...row])) !== null)
            fail(
              `\`escapeDirection(${matrixText(hessian)})\` must be null: both eigenvalues are positive, so the point is a minimum and the loss rises in every direction.`,
            );
        }
      },
    },
  ],
} satisfies Exercise;

export const mistakes: readonly Mistake[] = [
  { replace: "[-Math.sin(phi), Math.cos(phi)]", by: "[Math.cos(phi), Math.sin(phi)]", hint: "there the loss rises" },
  { replace: "  if (smallest >= 0) return null;\n", by: "", hint: "the point is a minimum" },
  {
    replace: "[-Math.sin(phi), Math.cos(phi)]",
    by: "[b, smallest - a]",
    hint: "Divide it by its length",
  },
  {
    replace: "[-Math.sin(phi), Math.cos(phi)]",
    by: "[b / Math.hypot(b, smallest - a), (smallest - a) / Math.hypot(b, smallest - a)]",
    hint: "division by zero",
  },
];
