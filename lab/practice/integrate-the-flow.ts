/** Exercise: write a step of the classical Runge–Kutta method, and integrate the gradient flow with it. */
import type { Code, Exercise, Mistake } from "./exercise.ts";
import { agree, draw, drawAwayFromZero, fail, format, read, show } from "./values.ts";

type Field = (theta: readonly number[]) => number[];
type Weights = readonly [number, number, number, number];

/**
 * One step of a four-stage method for θ′ = f(θ). Stage k evaluates f at θ + nodes[k]·h times the slope of the previous
 * stage.
 */
function step(f: Field, theta: readonly number[], h: number, weights: Weights, nodes: Weights): number[] {
  let slope: number[] = theta.map(() => 0);
  const result = [...theta];
  weights.forEach((weight, k) => {
    slope = f(theta.map((value, i) => value + nodes[k]! * h * slope[i]!));
    slope.forEach((value, i) => void (result[i]! += weight * h * value));
  });
  return result;
}
const NODES: Weights = [0, 0.5, 0.5, 1];
const rk4 = (f: Field, theta: readonly number[], h: number): number[] =>
  step(f, theta, h, [1 / 6, 1 / 3, 1 / 3, 1 / 6], NODES);

/** A hint for each common mistake, and the result of a step with this mistake. */
const slips = (f: Field, theta: readonly number[], h: number): [string, number[]][] => [
  ["That is a step of Euler's method, which uses only the slope at the start.", step(f, theta, h, [1, 0, 0, 0], NODES)],
  ["That is the midpoint method, whose order is 2. Use all four slopes.", step(f, theta, h, [0, 1, 0, 0], NODES)],
  [
    "You weighted the four slopes equally. The two in the middle count twice: (k₁ + 2k₂ + 2k₃ + k₄)/6.",
    step(f, theta, h, [0.25, 0.25, 0.25, 0.25], NODES),
  ],
  [
    "The weights must add up to 1: k₂ and k₃ count twice in (k₁ + 2k₂ + 2k₃ + k₄)/6.",
    step(f, theta, h, [1 / 6, 1 / 6, 1 / 6, 1 / 6], NODES),
  ],
  ["You forgot to divide the sum of the slopes by 6.", step(f, theta, h, [1, 2, 2, 1], NODES)],
  [
    "k₄ is the slope after a full step: evaluate f at θ + h·k₃, not at θ + h/2·k₃.",
    step(f, theta, h, [1 / 6, 1 / 3, 1 / 3, 1 / 6], [0, 0.5, 0.5, 0.5]),
  ],
  [
    "k₂ and k₃ are slopes in the middle of the step: use h/2.",
    step(f, theta, h, [1 / 6, 1 / 3, 1 / 3, 1 / 6], [0, 1, 1, 1]),
  ],
  [
    "You subtracted the slopes. The step goes along f: θ + h/6 (…). Only the flow needs a minus sign, before the gradient.",
    step(f, theta, -h, [1 / 6, 1 / 3, 1 / 3, 1 / 6], NODES.map((node) => -node) as unknown as Weights),
  ],
];

function checkStep(code: Code, f: Field, theta: readonly number[], h: number, name: string): void {
  const what = `\`rk4\` for ${name} at θ = ${show(theta)} with h = ${format(h)}`;
  const given = [...theta];
  const got = read(
    code.rk4!((at: readonly number[]) => f([...at]), given, h),
    [theta.length],
    what,
  );
  if (given.some((value, i) => value !== theta[i])) fail("`rk4` changed the array `theta`. Return a new array.");
  agree(got, { what, want: rk4(f, theta, h), within: 1e-9, slips: slips(f, theta, h) });
}

const flow = (code: Code, gradient: Field, theta: readonly number[], time: number, steps: number): number[] =>
  read(
    code.flow!((at: readonly number[]) => gradient([...at]), [...theta], time, steps),
    [theta.length],
    "The result of `flow`",
  );

export default {
  name: "integrate-the-flow",
  title: "Integrate the flow with RK4",
  section: "Gradients as a Dynamical System",
  concept: "gradient descent discretizes the gradient flow",
  prediction: {
    kind: "number",
    question:
      "RK4 is a method of order 4: for a fixed time, its error is proportional to $h^4$. You use steps that are half as long. By what factor does the error shrink?",
    answer: 16,
    within: 0.1,
    explanation:
      "$2^4=16$, for twice the work. Gradient descent is Euler's method, of order 1: twice the work only halves the distance from the flow.",
  },
  statement: [
    "The gradient flow $\\dot\\theta=-\\nabla L(\\theta)$ is an ordinary differential equation. For $\\dot\\theta=f(\\theta)$, one step of the classical Runge–Kutta method is",
    "$$k_1=f(\\theta),\\qquad k_2=f\\bigl(\\theta+\\tfrac h2k_1\\bigr)$$",
    "$$k_3=f\\bigl(\\theta+\\tfrac h2k_2\\bigr),\\qquad k_4=f(\\theta+hk_3)$$",
    "$$\\theta\\leftarrow\\theta+\\frac h6\\,(k_1+2k_2+2k_3+k_4)$$",
    "Write `rk4(f, theta, h)`, which returns $\\theta$ after one step. Then write `flow(gradient, theta, time, steps)`, which follows the gradient flow for the given time in equal steps and returns the last point. Points and slopes are arrays of numbers.",
  ],
  exports: ["rk4", "flow"],
  starter: `export function rk4(f, theta, h) {
  return theta;
}

export function flow(gradient, theta, time, steps) {
  return theta;
}
`,
  hints: [
    "Write a small function for $\\theta+s\\,k$ with arrays: `const along = (theta, s, k) => theta.map((value, i) => value + s * k[i])`.",
    "The four slopes are `f(theta)`, `f(along(theta, h / 2, k1))`, `f(along(theta, h / 2, k2))` and `f(along(theta, h, k3))`. For the flow, $f=-\\nabla L$ and $h$ is the time divided by the number of steps.",
    "The step is `theta.map((value, i) => value + (h / 6) * (k1[i] + 2 * k2[i] + 2 * k3[i] + k4[i]))`. In `flow`, let `const f = (at) => gradient(at).map((g) => -g)` and repeat `theta = rk4(f, theta, time / steps)`.",
  ],
  solution: `const along = (theta, s, k) => theta.map((value, i) => value + s * k[i]);

export function rk4(f, theta, h) {
  const k1 = f(theta);
  const k2 = f(along(theta, h / 2, k1));
  const k3 = f(along(theta, h / 2, k2));
  const k4 = f(along(theta, h, k3));
  return theta.map((value, i) => value + (h / 6) * (k1[i] + 2 * k2[i] + 2 * k3[i] + k4[i]));
}

export function flow(gradient, theta, time, steps) {
  const f = (at) => gradient(at).map((g) => -g);
  for (let i = 0; i < steps; i++) theta = rk4(f, theta, time / steps);
  return theta;
}
`,
  checks: [
    {
      title: "For θ′ = −aθ, a step with z = ah multiplies θ by 1 − z + z²/2 − z³/6 + z⁴/24.",
      run(code) {
        for (let i = 0; i < 5; i++) {
          const [a, h] = [draw(1, 0.5, 2)[0]!, draw(1, 0.2, 0.6)[0]!];
          checkStep(code, ([value]) => [-a * value!], drawAwayFromZero(1), h, `θ′ = −${format(a)} θ`);
        }
      },
    },
    {
      title: "`rk4` steps all parameters together, even if they depend on each other.",
      run(code) {
        for (let i = 0; i < 5; i++)
          checkStep(code, ([x, y]) => [y! - x! ** 3, -x!], drawAwayFromZero(2), 0.3, "θ′ = (θ₂ − θ₁³, −θ₁)");
      },
    },
    {
      title: "The flow on L = ½ Σ aᵢθᵢ² ends at exp(−aᵢt) θᵢ.",
      run(code) {
        const [a, theta] = [[0.5, 1, 2], drawAwayFromZero(3)];
        const gradient: Field = (at) => at.map((value, i) => a[i]! * value);
        const [time, steps] = [1.5, 30];
        const at = (t: number): number[] => theta.map((value, i) => value * Math.exp(-a[i]! * t));
        // The relative error after all steps is about (ah)⁴·at/120 < 4·10⁻⁶ for h = 0.05.
        agree(flow(code, gradient, theta, time, steps), {
          what: "The result of `flow`",
          want: at(time),
          within: 1e-4,
          slips: [
            ["It climbs: the flow goes against the gradient, θ′ = −∇L.", at(-time)],
            [
              "You followed Euler's method. Each step of `flow` is a step of `rk4`, which uses four slopes.",
              theta.map((value, i) => value * (1 - (a[i]! * time) / steps) ** steps),
            ],
            ["You made a single step of length time/steps. Repeat it `steps` times.", at(time / steps)],
            ["You returned the start: `theta` was never updated.", theta],
            ["One step has the length time/steps.", at(time * steps)],
            ["You lost or repeated a step: there are exactly `steps` of them.", at(time - time / steps)],
            ["You lost or repeated a step: there are exactly `steps` of them.", at(time + time / steps)],
          ],
        });
      },
    },
    {
      title: "With half the step, the error on L = log cosh θ is 16 times smaller.",
      run(code) {
        // θ′ = −tanh θ has the solution sinh θ(t) = e⁻ᵗ sinh θ. For these steps and starts, the ratio is 16.2 to 16.4.
        const [theta] = draw(1, 0.8, 2) as [number];
        const exact = Math.asinh(Math.exp(-1) * Math.sinh(theta));
        const error = (steps: number): number =>
          Math.abs(flow(code, (at) => at.map(Math.tanh), [theta], 1, steps)[0]! - exact);
        const ratio = error(10) / error(20);
        if (!(ratio > 15 && ratio < 18))
          fail(
            `The error shrinks by a factor of ${format(ratio)}, but with a method of order 4 it shrinks by 2⁴ = 16. A factor of 2 means order 1, and 4 means order 2.`,
          );
      },
    },
  ],
} satisfies Exercise;

export const mistakes: readonly Mistake[] = [
  { replace: "(h / 6) * (k1[i] + 2 * k2[i] + 2 * k3[i] + k4[i])", by: "h * k1[i]", hint: "Euler's method" },
  {
    replace: "(h / 6) * (k1[i] + 2 * k2[i] + 2 * k3[i] + k4[i])",
    by: "(h / 4) * (k1[i] + k2[i] + k3[i] + k4[i])",
    hint: "weighted the four slopes equally",
  },
  { replace: "(g) => -g", by: "(g) => g", hint: "It climbs" },
  { replace: "along(theta, h, k3)", by: "along(theta, h / 2, k3)", hint: "after a full step" },
];
