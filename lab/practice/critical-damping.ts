/** Exercise: find the momentum at which the heavy ball is critically damped on a quadratic, μ = (1 − √(ηh))². */
import { showNumber } from "../experiment.ts";
import type { Code, Exercise, Mistake } from "./exercise.ts";
import { agree, draw, fail, format, read } from "./values.ts";

/** θ after each step of the heavy ball on ½hθ², which starts at rest at θ = 1. */
function ball(lr: number, curvature: number, mu: number, steps: number): number[] {
  const path = [1, 1];
  for (let t = 0; t < steps; t++) {
    const [before, now] = path.slice(-2) as [number, number];
    path.push(now - lr * curvature * now + mu * (now - before));
  }
  return path.slice(2);
}

function momentum(code: Code, lr: number, curvature: number): number {
  const what = `\`momentum(${showNumber(lr)}, ${showNumber(curvature)})\``;
  return read(code.momentum!(lr, curvature), [], what)[0]!;
}

/** A learning rate and a curvature with ηh from 0.01 to 0.5. */
function random(): [lr: number, curvature: number] {
  const [curvature] = draw(1, 0.5, 20) as [number];
  return [draw(1, 0.01, 0.5)[0]! / curvature, curvature];
}

export default {
  name: "critical-damping",
  title: "Tune momentum to critical damping",
  section: "Gradients as a Dynamical System",
  concept: "momentum is a damped oscillator",
  prediction: {
    kind: "choice",
    question:
      "On a quadratic loss, the heavy ball reaches the minimum fastest at one value of the momentum $\\mu$, at critical damping. What happens if $\\mu$ is larger?",
    options: [
      "It overshoots the minimum and oscillates.",
      "It creeps towards the minimum from one side.",
      "It diverges.",
    ],
    answer: "It overshoots the minimum and oscillates.",
    explanation:
      "More momentum means less friction: the ball arrives with speed and swings back and forth. Each step multiplies the amplitude by $\\sqrt\\mu$, so it still converges for any $\\mu<1$.",
  },
  statement: [
    "The heavy ball on $L=\\frac12h\\theta^2$ with learning rate $\\eta$ and momentum $\\mu$ moves by",
    "$$\\theta_{t+1}=\\theta_t-\\eta h\\theta_t+\\mu(\\theta_t-\\theta_{t-1})$$",
    "Solutions are combinations of $r_1^t$ and $r_2^t$, where $r_1$ and $r_2$ solve $r^2-(1+\\mu-\\eta h)\\,r+\\mu=0$. If they are complex, the ball oscillates. If they are real and differ, the larger one makes it creep. Damping is critical where they are equal.",
    "Write `momentum(lr, curvature)`, which returns the critical $\\mu$ below 1 for $\\eta$ = `lr` and $h$ = `curvature`. You may assume $0<\\eta h<1$.",
  ],
  exports: ["momentum"],
  starter: `export function momentum(lr, curvature) {
  return 0.9;
}
`,
  hints: [
    "When does a quadratic equation $r^2-pr+q=0$ have two equal roots?",
    "The discriminant must be zero: $(1+\\mu-\\eta h)^2=4\\mu$. Take the square root, and let $s=\\sqrt\\mu$.",
    "$1+s^2-\\eta h=2s$ means $(1-s)^2=\\eta h$. So $s=1-\\sqrt{\\eta h}$, and $\\mu=s^2$.",
  ],
  solution: `export function momentum(lr, curvature) {
  return (1 - Math.sqrt(lr * curvature)) ** 2;
}
`,
  checks: [
    {
      title: "The two roots are equal: (1 + μ − ηh)² = 4μ, with μ below 1.",
      run(code) {
        for (let i = 0; i < 10; i++) {
          const [lr, curvature] = random();
          const product = lr * curvature;
          const root = Math.sqrt(product);
          const what = `\`momentum(${showNumber(lr)}, ${showNumber(curvature)})\``;
          agree([momentum(code, lr, curvature)], {
            what,
            want: [(1 - root) ** 2],
            within: 1e-6,
            slips: [
              [
                "That is the other solution, above 1: with it, the ball diverges. Take the one below 1.",
                [(1 + root) ** 2],
              ],
              ["That is √μ, the size of the root r. Square it.", [1 - root]],
              ["You forgot the square root: μ = (1 − √(ηh))².", [(1 - product) ** 2]],
              [
                "That is the friction 2√h of the continuous system, which is right only for tiny steps. Solve the equation for r exactly.",
                [1 - 2 * root],
              ],
              ["For this μ the roots are 1 and μ: check the term ηh.", [1]],
            ],
          });
        }
      },
    },
    {
      title: "The ball comes to rest without overshooting the minimum.",
      run(code) {
        for (let i = 0; i < 10; i++) {
          const [lr, curvature] = random();
          const mu = momentum(code, lr, curvature);
          const path = ball(lr, curvature, mu, 60);
          const crossed = path.findIndex((theta) => theta < 0);
          if (crossed >= 0 || !path.every(Number.isFinite))
            fail(
              `With η = ${format(lr)}, h = ${format(curvature)} and your μ = ${format(mu)}, the ball crosses the minimum in step ${crossed + 1}: the momentum is too large.`,
            );
        }
      },
    },
    {
      title: "The ball is as fast as theory allows: θₜ = (1 + (1 − r)t) rᵗ with r = 1 − √(ηh).",
      run(code) {
        for (let i = 0; i < 10; i++) {
          const [lr, curvature] = random();
          const mu = momentum(code, lr, curvature);
          const r = 1 - Math.sqrt(lr * curvature);
          const steps = Math.ceil(-6 / Math.log(r));
          const want = (1 + (1 - r) * steps) * r ** steps;
          const got = ball(lr, curvature, mu, steps).at(-1)!;
          // θ depends smoothly on μ, even at the double root, so rounding errors in μ do not matter.
          if (!(Math.abs(got / want - 1) < 1e-3))
            fail(
              `With η = ${format(lr)}, h = ${format(curvature)} and your μ = ${format(mu)}, θ is ${format(got)} after ${steps} steps, but critical damping reaches ${format(want)}. ${
                got > want
                  ? "The momentum is too small: the ball creeps."
                  : "The momentum is too large: the ball overshoots."
              }`,
            );
        }
      },
    },
  ],
} satisfies Exercise;

export const mistakes: readonly Mistake[] = [
  { replace: "(1 - Math.sqrt(lr * curvature)) ** 2", by: "1 - Math.sqrt(lr * curvature)", hint: "That is √μ" },
  { replace: "1 - Math.sqrt", by: "1 + Math.sqrt", hint: "the other solution" },
  { replace: "Math.sqrt(lr * curvature)", by: "lr * curvature", hint: "forgot the square root" },
  {
    replace: "(1 - Math.sqrt(lr * curvature)) ** 2",
    by: "1 - 2 * Math.sqrt(lr * curvature)",
    hint: "only for tiny steps",
  },
];
