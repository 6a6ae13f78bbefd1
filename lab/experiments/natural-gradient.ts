/**
 * With F = diag(100, 1), the natural gradient divides each partial derivative by the model's sensitivity to the parameter.
 * Its steps do not depend on the parametrization.
 */
import { noGrad, type Tensor, tensor, tidy } from "nabla";
import { fisherMatrix, naturalGradient, objective } from "nabla/gradients";
import { experiment } from "../experiment.ts";

/** The learning rate of the natural gradient. */
const NATURAL = 0.3;

export default experiment({
  name: "natural-gradient",
  title: "The natural gradient",
  section: "The Natural Gradient: Descending in Information Space",
  claim:
    "If the Fisher matrix is diag(100, 1), a plain gradient step is a leap in the first direction. Multiplied by F⁻¹, it becomes a step that changes the model only a little: F⁻¹ divides the first component by 100. In the second view, each ellipse joins the steps that change the model equally. The natural gradient does not depend on the coordinates of the model, but the plain gradient does: with stretched coordinates φ, the same rate leads to a different step.",
  formula:
    "\\tilde\\nabla L=F^{-1}\\nabla L,\\qquad F=\\begin{pmatrix}100&0\\\\0&1\\end{pmatrix},\\qquad \\theta=B\\varphi\\ \\Rightarrow\\ B\\,\\tilde\\nabla_{\\!\\varphi}L=\\tilde\\nabla_{\\!\\theta}L",
  functions: ["naturalGradient", "fisherMatrix", "objective"],
  parameters: {
    theta1: { kind: "number", label: "θ₁", min: -1, max: 1, default: 0.5, step: 0.05 },
    theta2: { kind: "number", label: "θ₂", min: -2, max: 2, default: 1.5, step: 0.05 },
    f1: { kind: "number", label: "F₁₁", min: 1, max: 1000, default: 100, scale: "log" },
    lr: {
      kind: "number",
      label: "plain rate, relative to its limit",
      min: 0.1,
      max: 1.2,
      default: 0.9,
      step: 0.05,
    },
    stretch: { kind: "number", label: "stretch of the coordinates", min: 0.2, max: 5, default: 3, step: 0.1 },
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
    const loss = (t: Tensor): Tensor => t.mul(scale).square().sum().mul(0.5);
    const walk = (
      rule: (at: readonly number[]) => ArrayLike<number>,
      by: number,
      steps: number,
    ): [number, number][] => {
      const path: [number, number][] = [[theta1, theta2]];
      for (let i = 0; i < steps; i++) {
        const [p, q] = path.at(-1)!;
        const direction = rule([p, q]);
        path.push([p - by * direction[0]!, q - by * direction[1]!]);
      }
      return path;
    };
    const at = objective(loss, [theta1, theta2]);
    const naturalAt = (point: readonly number[]): ArrayLike<number> => {
      noGrad(() => theta.copyFrom([...point]));
      return naturalGradient([theta], outputs, target, options).direction;
    };
    const paths = { plain: walk((point) => at.gradient(point), rate, 30), natural: walk(naturalAt, NATURAL, 8) };
    // How much a step changes the model: for outputs with variance 1, KL(p‖q) is half the squared distance between the outputs.
    const outputsAt = (point: readonly number[]): ArrayLike<number> => {
      noGrad(() => theta.copyFrom([...point]));
      return tidy(() => noGrad(() => outputs().data));
    };
    const divergence = ([, after]: readonly (readonly number[])[]): number => {
      const [p, q] = [outputsAt([theta1, theta2]), outputsAt(after!)];
      return 0.5 * ((p[0]! - q[0]!) ** 2 + (p[1]! - q[1]!) ** 2);
    };
    /**
     * Ellipses around the point: all steps that end on the same ellipse change the model equally. The natural step ends on the second ellipse.
     */
    const ellipses = [0.5, 1, 2].map((times) => {
      const radius = times * NATURAL * Math.hypot(Math.sqrt(f1) * theta1, theta2);
      return Array.from({ length: 73 }, (_, i): [number, number] => [
        theta1 + (radius / Math.sqrt(f1)) * Math.cos((i * Math.PI) / 36),
        theta2 + radius * Math.sin((i * Math.PI) / 36),
      ]);
    });
    const [other1, other2] = toTheta(byPhi.gradient);
    // Shorten the arrow to the plot's edge, because the step often ends outside the plot.
    const share = Math.min(1, ...[other1, other2].map((g, i) => roomFor([theta1, theta2][i]!, -rate * g)));
    const otherStep = [
      [theta1, theta2],
      [theta1 - share * rate * other1, theta2 - share * rate * other2],
    ] as const;
    const changes = { plain: divergence(paths.plain), natural: divergence(paths.natural) };
    const norm = (x: number, y: number): number => Math.hypot(x, y);
    const grid = (from: number, to: number) => Array.from({ length: 45 }, (_, i) => from + ((to - from) * i) / 44);
    const value = (p: number, q: number): number => 0.5 * (f1 * p * p + q * q);
    // √F₁₁, θ, the outputs and the products with F are rounded to float32. Conjugate gradients stop at a relative
    // residual of 10⁻¹⁰, which leaves an error of up to F₁₁·10⁻¹⁰·‖θ‖.
    const withinOf = (value: number): number => 2 ** -21 * Math.abs(value) + 1e-10 * f1 * norm(theta1, theta2);
    // The condition number of Fφ = BᵀFB, from its determinant and trace, amplifies the rounding of Fφ and of the
    // gradient.
    const kappa = (f1 * (stretch ** 2 + 0.25) + 1) ** 2 / (f1 * stretch ** 2);
    // ∇φL = Bᵀ∇L. θ₁ = stretch·φ₁ + φ₂/2 can cancel, so its rounding error is relative to the terms.
    const moved = toTheta([stretch * plain[0]!, 0.5 * plain[0]! + plain[1]!]);
    const size = norm(plain[0]!, plain[1]!);
    // The error of half the squared distance between outputs that are rounded to float32.
    const rounding = (step: number): number => 2 ** -20 * (value(theta1, theta2) + step) + 2 ** -30;
    const predicted = {
      plain: 0.5 * rate ** 2 * (f1 ** 3 * theta1 ** 2 + theta2 ** 2),
      natural: 0.5 * NATURAL ** 2 * (f1 * theta1 ** 2 + theta2 ** 2),
    };
    const field = {
      x: [-2.2, 2.2],
      y: [-2.2, 2.2],
      columns: 45,
      values: grid(-2.2, 2.2).flatMap((q) => grid(-2.2, 2.2).map((p) => Math.sqrt(value(p, q)))),
      label: "√loss",
    } as const;
    const handles = [{ name: "the point θ", at: [theta1, theta2], sets: { x: "theta1", y: "theta2" } }] as const;
    return {
      findings: [
        {
          text: "F₁₁",
          measured: fisher[0]!,
          // √F₁₁ and two products are rounded.
          expected: { equals: f1, within: 2 ** -22 * f1 },
          theory: "JᵀJ of the outputs (√F₁₁·θ₁, θ₂)",
        },
        { text: "F₂₂", measured: fisher[3]!, expected: { equals: 1, within: 2 ** -23 }, theory: "JᵀJ, as for F₁₁" },
        {
          text: "natural gradient, first component",
          measured: natural.direction[0]!,
          expected: { equals: theta1, within: withinOf(theta1) },
          theory: "F₁₁·θ₁ divided by F₁₁",
        },
        {
          text: "natural gradient, second component",
          measured: natural.direction[1]!,
          expected: { equals: theta2, within: withinOf(theta2) },
          theory: "θ₂ divided by 1",
        },
        {
          text: "relative distance between the natural steps with parameters φ and θ",
          measured: between(toTheta(byPhi.direction), natural.direction),
          expected: { equals: 0, within: 2 ** -23 * kappa },
          theory: "0 in exact arithmetic: F transforms so that the step is invariant",
        },
        ...(norm(theta1, theta2) > 0.1
          ? [
              {
                text: "relative distance between the plain steps with parameters φ and θ",
                measured: between(toTheta(byPhi.gradient), plain),
                expected: {
                  equals: between(moved, plain),
                  within: (2 ** -21 * (stretch ** 2 + 1.25) * f1 * norm(theta1, theta2)) / size,
                },
                theory: "∇φL = Bᵀ∇L, so the step moves by BBᵀ∇L instead of ∇L",
              },
            ]
          : []),
        {
          text: "θ₁ after one step of the plain gradient",
          measured: paths.plain[1]![0],
          expected: { equals: (1 - 2 * lr) * theta1, within: 2 ** -20 * Math.abs(theta1) },
          theory: lr > 0.5 ? "(1 − ηF₁₁)θ₁: it overshoots, because η > 1/F₁₁" : "(1 − ηF₁₁)θ₁, without overshoot",
        },
        {
          text: "KL divergence between the models before and after a plain step",
          measured: changes.plain,
          expected: { equals: predicted.plain, within: rounding(predicted.plain) },
          theory: "½δᵀFδ with δ = −ηF·θ: ½η²(F₁₁³θ₁² + θ₂²)",
        },
        {
          text: "KL divergence between the models before and after a natural step",
          measured: changes.natural,
          expected: { equals: predicted.natural, within: rounding(predicted.natural) },
          theory: "½δᵀFδ with δ = −ηθ: ½η²(F₁₁θ₁² + θ₂²)",
        },
      ],
      plots: [
        {
          title: "Steps over the loss",
          ignores: ["stretch"],
          x: { label: "θ₁" },
          y: { label: "θ₂" },
          equal: true,
          field,
          series: [
            {
              name: "plain gradient",
              points: paths.plain.filter(([p]) => Math.abs(p) < 2.2),
              style: "path",
              grows: true,
            },
            { name: `natural gradient, rate ${NATURAL}`, points: paths.natural, style: "path", grows: true },
          ],
          handles,
        },
        {
          title: "The first step",
          x: { label: "θ₁" },
          y: { label: "θ₂" },
          equal: true,
          field,
          series: [
            { name: "plain gradient", points: paths.plain.slice(0, 2), style: "arrow" },
            { name: "natural gradient", points: paths.natural.slice(0, 2), style: "arrow" },
            {
              name: `plain gradient, stretched${share < 1 ? " (leaves the plot)" : ""}`,
              points: otherStep,
              style: "arrow",
            },
            ...ellipses.map(
              (points, i) =>
                ({
                  name: "equal change of the model",
                  points,
                  style: "reference",
                  ...(i && { sameAs: 3 }),
                }) as const,
            ),
          ],
          handles,
        },
        {
          title: "Loss by step",
          ignores: ["stretch"],
          x: { label: "step", integer: true },
          y: { label: "L", scale: "log" },
          series: [
            { name: "plain gradient", points: paths.plain.map(([p, q], t) => [t, value(p, q)]), grows: true },
            {
              name: `natural gradient, rate ${NATURAL}`,
              points: paths.natural.map(([p, q], t) => [t, value(p, q)]),
              grows: true,
            },
          ],
        },
      ],
    };
  },
});

/** The factor by which to scale a step along one axis so that it ends at the plot's edge; 1 for a step of 0. */
const roomFor = (from: number, by: number): number => (by ? (Math.sign(by) * 2.15 - from) / by : 1);
