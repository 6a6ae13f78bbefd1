/** F = diag(100, 1): the natural gradient divides by the model's sensitivity, and does not depend on the parametrization. */
import { noGrad, tensor } from "nabla";
import { fisherMatrix, naturalGradient } from "nabla/gradients";
import { experiment } from "../experiment.ts";

export default experiment({
  name: "natural-gradient",
  title: "The natural gradient",
  section: "The Natural Gradient: Descending in Information Space",
  claim:
    "If the Fisher matrix is diag(100, 1), a plain gradient step is a leap in the first direction. Multiplied by F⁻¹, it becomes a step that changes the model only a little. The natural gradient does not depend on the parametrization of the model.",
  formula:
    "\\tilde\\nabla L=F^{-1}\\nabla L,\\qquad F=\\begin{pmatrix}100&0\\\\0&1\\end{pmatrix},\\qquad \\theta=B\\varphi\\ \\Rightarrow\\ B\\,\\tilde\\nabla_{\\!\\varphi}L=\\tilde\\nabla_{\\!\\theta}L",
  functions: ["naturalGradient", "fisherMatrix"],
  parameters: {
    theta1: { kind: "number", label: "θ₁", min: -1, max: 1, default: 0.5, step: 0.05 },
    theta2: { kind: "number", label: "θ₂", min: -2, max: 2, default: 1.5, step: 0.05 },
    f1: { kind: "number", label: "F₁₁", min: 1, max: 1000, default: 100, scale: "log" },
    lr: {
      kind: "number",
      label: "learning rate of the plain gradient, relative to its limit 2/F₁₁",
      min: 0.1,
      max: 1.2,
      default: 0.9,
      step: 0.05,
    },
    stretch: { kind: "number", label: "other coordinates: stretch of φ₁", min: 0.2, max: 5, default: 3, step: 0.1 },
  },
  run({ theta1, theta2, f1, lr, stretch }) {
    // For outputs (√F₁₁·θ₁, θ₂) with variance 1, both the Fisher matrix and the Hessian of the loss are diag(F₁₁, 1).
    const scale = tensor([Math.sqrt(f1), 1]);
    const target = tensor([[0, 0]]);
    const theta = tensor([theta1, theta2], { requiresGrad: true });
    const outputs = () => theta.mul(scale).reshape([1, 2]);
    const options = { likelihood: "gaussian", tolerance: 1e-10 } as const;
    const fisher = fisherMatrix([theta], outputs, { likelihood: options.likelihood });
    const natural = naturalGradient([theta], outputs, target, options);
    // The same model with parameters φ, where θ = Bφ.
    const b = [
      [stretch, 0.5],
      [0, 1],
    ] as const;
    const phi = tensor([(theta1 - 0.5 * theta2) / stretch, theta2], { requiresGrad: true });
    const byPhi = naturalGradient(
      [phi],
      () =>
        tensor(b.map((row) => [...row]))
          .matmul(phi)
          .mul(scale)
          .reshape([1, 2]),
      target,
      options,
    );
    const toTheta = (v: ArrayLike<number>): [number, number] => [b[0][0] * v[0]! + b[0][1] * v[1]!, v[1]!];
    const between = (p: ArrayLike<number>, q: ArrayLike<number>): number =>
      Math.hypot(p[0]! - q[0]!, p[1]! - q[1]!) / Math.max(1e-12, Math.hypot(q[0]!, q[1]!));
    const plain = [f1 * theta1, theta2];
    const rate = (lr * 2) / f1;
    const walk = (which: "gradient" | "direction", by: number, steps: number): [number, number][] => {
      const path: [number, number][] = [[theta1, theta2]];
      for (let i = 0; i < steps; i++) {
        const found = naturalGradient([theta], outputs, target, options);
        const [p, q] = path.at(-1)!;
        path.push([p - by * found[which][0]!, q - by * found[which][1]!]);
        noGrad(() => theta.copyFrom(path.at(-1)!));
      }
      noGrad(() => theta.copyFrom([theta1, theta2]));
      return path;
    };
    const paths = { plain: walk("gradient", rate, 40), natural: walk("direction", 0.3, 12) };
    const norm = (x: number, y: number): number => Math.hypot(x, y);
    const grid = (from: number, to: number) => Array.from({ length: 41 }, (_, i) => from + ((to - from) * i) / 40);
    const value = (p: number, q: number): number => 0.5 * (f1 * p * p + q * q);
    const within = 1e-3 * norm(theta1, theta2) + 1e-6;
    return {
      findings: [
        {
          text: "F₁₁",
          measured: fisher[0]!,
          expected: { equals: f1, within: 1e-3 * f1 },
          theory: "JᵀJ of the outputs (√F₁₁·θ₁, θ₂)",
        },
        { text: "F₂₂", measured: fisher[3]!, expected: { equals: 1, within: 1e-4 }, theory: "the same" },
        {
          text: "natural gradient, first component",
          measured: natural.direction[0]!,
          expected: { equals: theta1, within },
          theory: "F₁₁·θ₁ divided by F₁₁",
        },
        {
          text: "natural gradient, second component",
          measured: natural.direction[1]!,
          expected: { equals: theta2, within },
          theory: "θ₂ divided by 1",
        },
        {
          text: "relative distance between the natural steps with parameters φ and θ",
          measured: between(toTheta(byPhi.direction), natural.direction),
          expected: { atMost: 5e-3 },
          theory: "0 in exact arithmetic: F transforms so that the step is invariant",
        },
        ...(norm(theta1, theta2) > 0.1
          ? [
              {
                text: "relative distance between the plain steps with parameters φ and θ",
                measured: between(toTheta(byPhi.gradient), plain),
                expected: { atLeast: 0.05 } as const,
                theory: "∇φL = Bᵀ∇L, so the step moves by BBᵀ∇L",
              },
            ]
          : []),
        {
          text: "change √(δᵀFδ) in the model after the natural step, divided by the change after a plain step of the same length",
          measured:
            Math.hypot(Math.sqrt(f1) * theta1, theta2) /
            (norm(theta1, theta2) * (Math.hypot(Math.sqrt(f1) * plain[0]!, plain[1]!) / norm(plain[0]!, plain[1]!))),
          expected: { atMost: 1 + 1e-9 },
          theory:
            "of all steps of equal length, a plain step may change the model the most; the natural step changes it the least for its gain",
        },
      ],
      plots: [
        {
          title: "Steps over the loss",
          x: { label: "θ₁" },
          y: { label: "θ₂" },
          field: {
            x: [-1.1, 1.1],
            y: [-2.2, 2.2],
            columns: 41,
            values: grid(-2.2, 2.2).flatMap((q) => grid(-1.1, 1.1).map((p) => Math.log1p(value(p, q)))),
          },
          series: [
            { name: "plain gradient", points: paths.plain.filter(([p]) => Math.abs(p) < 1.2), style: "path" },
            { name: "natural gradient", points: paths.natural, style: "path" },
          ],
        },
        {
          title: "The loss",
          x: { label: "step" },
          y: { label: "L", scale: "log" },
          series: [
            { name: "plain gradient", points: paths.plain.map(([p, q], t) => [t, value(p, q)]) },
            { name: "natural gradient, rate 0.3", points: paths.natural.map(([p, q], t) => [t, value(p, q)]) },
          ],
        },
      ],
    };
  },
});
