/**
 * In a chain of sigmoids, each sigmoid passes on at most a quarter of the gradient. The experiment also compares
 * remedies.
 */
import { grad, linspace, losses, manualSeed, nn, randn, type Tensor, tensor, tidy } from "nabla";
import { diagnose, gradientByDepth, growthPerStep, spectralNorm } from "nabla/gradients";
import { experiment } from "../experiment.ts";

const activations: Record<string, () => nn.Module> = {
  sigmoid: () => new nn.Sigmoid(),
  tanh: () => new nn.Tanh(),
  relu: () => new nn.ReLU(),
  gelu: () => new nn.GELU(),
};
const WIDTH = 32;

/** Initial weights by name. */
const inits: Record<string, (w: Tensor) => void> = {
  small: (w) => void nn.init.normal(w, 0, 0.05),
  xavier: (w) => void nn.init.xavierNormal(w),
  kaiming: (w) => void nn.init.kaimingNormal(w, { nonlinearity: "relu" }),
  large: (w) => void nn.init.normal(w, 0, 1),
};

/** x + f(x). */
class Residual extends nn.Module {
  constructor(readonly inner: nn.Module) {
    super();
  }
  forward(x: Tensor): Tensor {
    return (this.inner.forward(x) as Tensor).add(x);
  }
}

export default experiment({
  name: "vanishing",
  title: "Vanishing gradients",
  section: "Vanishing and Exploding Gradients",
  claim:
    "The derivative of the sigmoid is at most ¼, so the gradient shrinks exponentially on its way back through a deep network. Large weights saturate the neurons, which makes the gradient shrink even faster.",
  formula:
    "\\sigma'(z)=\\sigma(z)(1-\\sigma(z))\\le\\tfrac14,\\qquad \\Bigl\\|\\frac{\\partial L}{\\partial x_{l}}\\Bigr\\|\\le\\tfrac14\\,\\|W_{l+1}\\|_2\\,\\Bigl\\|\\frac{\\partial L}{\\partial x_{l+1}}\\Bigr\\|",
  functions: ["gradientByDepth", "growthPerStep", "diagnose", "spectralNorm"],
  parameters: {
    depth: { kind: "number", label: "layers", min: 2, max: 40, default: 16, integer: true },
    activation: {
      kind: "choice",
      label: "activation",
      options: ["sigmoid", "tanh", "relu", "gelu"],
      default: "sigmoid",
    },
    init: {
      kind: "choice",
      label: "initial weights",
      options: ["small", "xavier", "kaiming", "large"],
      default: "xavier",
    },
    remedy: { kind: "choice", label: "remedy", options: ["none", "residual", "layer norm"], default: "none" },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  run({ depth, activation, init, remedy, seed }) {
    manualSeed(seed);
    const [x, y] = [randn([64, WIDTH]), randn([64, WIDTH])];
    const measure = (kind: string, weights: string, help: string) => {
      const model = build(depth, kind, weights, help);
      const loss = () => losses.mse(model.forward(x) as Tensor, y);
      const rows = gradientByDepth(model, loss, { which: (module) => model.layers.includes(module) });
      return { model, loss, rows, points: rows.map(({ gradient }, i): [number, number] => [i + 1, gradient]) };
    };
    const chosen = measure(activation, init, remedy);
    const others = [
      ["sigmoid", "xavier", "none"],
      ["tanh", "xavier", "none"],
      ["relu", "kaiming", "none"],
      [activation, init, "residual"],
      [activation, init, "layer norm"],
    ].filter(([a, b, c]) => !(a === activation && b === init && c === remedy)) as [string, string, string][];
    const compared = others.map(([a, b, c]) => ({
      name: [a, b, c === "none" ? "" : c].filter(Boolean).join(", "),
      ...measure(a, b, c),
    }));
    // The largest slope of the activation. Times the weight's norm, it bounds the factor by which each block scales the
    // gradient.
    const limit = { sigmoid: 0.25, tanh: 1, relu: 1, gelu: 1.13 }[activation];
    const norms = [...chosen.model.namedParameters()]
      .filter(([name]) => name.endsWith("weight") && !/norm/.test(name))
      .map(([, w]) => spectralNorm(w));
    // Gradients outside the normal range of float32 are inaccurate.
    const seen = chosen.points.filter(([, g]) => g > 1e-37 && g < 1e37);
    const steps = seen.slice(1).map(([layer, g], i) => seen[i]![1] / g / (limit * norms[layer - 1]!));
    const excess = Math.max(...steps);
    const rate = Math.exp(growthPerStep(seen.map(([, g]) => g)));
    const report = tidy(() => diagnose(chosen.model, chosen.loss));
    const ratio = chosen.points[0]![1] / chosen.points.at(-1)![1];
    const residual = compared.find(({ name }) => name === "tanh, xavier");
    const findings = [
      {
        text: "largest value of the sigmoid's derivative on a fine grid",
        measured: tidy(() =>
          grad((z: Tensor) => z.sigmoid().sum())(linspace(-10, 10, 2001))
            .max()
            .item(),
        ),
        expected: { equals: 0.25, within: 1e-6 },
        theory: "σ(1 − σ) at σ = ½",
      },
      {
        text: "largest factor per layer of a chain of sigmoids with weights 1, over inputs from −5 to 5",
        measured: Math.max(...Array.from({ length: 21 }, (_, i) => chainFactor((i - 10) / 2, depth))),
        expected: { atMost: 0.25 },
        theory: "each layer passes at most ¼",
      },
      ...(remedy === "none"
        ? [
            {
              text: `largest growth of the gradient through a layer, divided by ${limit}·‖W‖₂`,
              measured: excess,
              expected: { atMost: 1 + 1e-4 } as const,
              theory: "a factor of the chain rule is at most the activation's slope times the weight's norm",
            },
          ]
        : []),
      ...(remedy === "none" && activation === "sigmoid"
        ? [
            {
              text: "factor of the gradient per layer, going backward",
              measured: rate,
              expected: { atMost: 0.25 * Math.max(...norms) } as const,
              theory: "at most ¼·‖W‖₂",
            },
          ]
        : []),
      ...(residual && activation === "sigmoid" && remedy === "none"
        ? [
            {
              text: "first layer's gradient relative to the last's: tanh with Xavier weights divided by sigmoid",
              measured: residual.points[0]![1] / residual.points.at(-1)![1] / ratio,
              expected: { atLeast: 1 } as const,
              theory: "tanh's slope at 0 is 1, four times sigmoid's (Glorot and Bengio 2010)",
            },
          ]
        : []),
    ];
    return {
      findings,
      plots: [
        {
          title: "The gradient at each layer",
          x: { label: "layer" },
          y: { label: "‖∂L/∂y‖", scale: "log" },
          series: [
            {
              name: [activation, init, remedy === "none" ? "" : remedy].filter(Boolean).join(", "),
              points: chosen.points,
            },
            ...compared.map(({ name, points }) => ({ name, points, style: "reference" as const })),
          ],
        },
      ],
      tables: [
        {
          title: "Verdict",
          columns: ["observation", "what to try"],
          rows: report.verdicts.map(({ text, remedy: help }) => [text, help]),
        },
        {
          title: "Gradient at the first layer divided by the gradient at the last",
          columns: ["network", "ratio"],
          rows: [
            ["this network", ratio],
            ...compared.map(({ name, points }) => [name, points[0]![1] / points.at(-1)![1]]),
          ],
        },
      ],
    };
  },
});

/** The mean factor by which a chain σ(σ(…σ(x))) shrinks the gradient per layer. */
function chainFactor(x: number, depth: number): number {
  const chain = (z: Tensor): Tensor => {
    for (let i = 0; i < depth; i++) z = z.sigmoid();
    return z;
  };
  return tidy(() => grad(chain)(tensor(x)).item()) ** (1 / depth);
}

function build(depth: number, activation: string, init: string, remedy: string): nn.Sequential {
  const block = () => {
    const linear = new nn.Linear(WIDTH, WIDTH, { bias: false });
    inits[init]!(linear.weight);
    const inner = new nn.Sequential(
      ...(remedy === "layer norm" ? [new nn.LayerNorm(WIDTH, { elementwiseAffine: false })] : []),
      linear,
      activations[activation]!(),
    );
    return remedy === "residual" ? new Residual(inner) : inner;
  };
  return new nn.Sequential(...Array.from({ length: depth }, block));
}
