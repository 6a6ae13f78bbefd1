/**
 * In a chain of sigmoids, each sigmoid passes on at most a quarter of the gradient. The experiment also compares
 * remedies.
 */
import { grad, linspace, losses, manualSeed, type nn, randn, type Tensor, tensor, tidy } from "nabla";
import { diagnose, gradientByDepth, spectralNorm, type Verdict } from "nabla/gradients";
import { type Matrix, norm, product, transpose } from "../algebra.ts";
import { activations, build, nameOf, type Setup, WIDTH } from "../deepNetwork.ts";
import { experiment, type Finding, showNumber } from "../experiment.ts";
import { significant } from "../statistics.ts";

export default experiment({
  name: "vanishing",
  title: "Vanishing gradients",
  section: "Vanishing and Exploding Gradients",
  claim:
    "The derivative of the sigmoid is at most ¼, so the gradient shrinks exponentially on its way back through a deep network. Large biases saturate the neurons, which makes it shrink even faster. Large weights saturate them too, but they also amplify the gradient, which compensates for the saturation.",
  formula:
    "\\sigma'(z)=\\sigma(z)(1-\\sigma(z))\\le\\tfrac14,\\qquad \\mathbb E\\Bigl\\|\\frac{\\partial L}{\\partial x_{l}}\\Bigr\\|^2\\approx\\frac{\\|W_{l+1}\\|_F^2}{n}\\,\\mathbb E[\\sigma'(z_{l+1})^2]\\;\\mathbb E\\Bigl\\|\\frac{\\partial L}{\\partial x_{l+1}}\\Bigr\\|^2",
  functions: ["gradientByDepth", "diagnose", "spectralNorm"],
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
    bias: { kind: "number", label: "standard deviation of the biases", min: 0, max: 10, default: 0, step: 0.5 },
    remedy: { kind: "choice", label: "remedy", options: ["none", "residual", "layer norm"], default: "none" },
    seed: { kind: "number", label: "seed", min: 1, max: 99, default: 1, integer: true },
  },
  run({ depth, activation, init, bias, remedy, seed }) {
    manualSeed(seed);
    const [x, y] = [randn([64, WIDTH]), randn([64, WIDTH])];
    const measure = (setup: Setup) => {
      const model = build(depth, setup);
      const loss = () => losses.mse(model.forward(x) as Tensor, y);
      const rows = gradientByDepth(model, loss, { which: (module) => model.layers.includes(module) });
      const points = rows.map(({ gradient }, i): [number, number] => [i + 1, gradient]);
      const isRemedied = setup.remedy !== "none";
      return {
        name: nameOf(setup),
        remedy: setup.remedy,
        model,
        loss,
        points,
        isRemedied,
        ...logRatio(model, points, x, setup),
      };
    };
    const own: Setup = { activation, init, bias, remedy };
    const chosen = measure(own);
    const compared = [
      { activation: "sigmoid", init: "xavier", bias: 0, remedy: "none" },
      BIASED,
      { activation: "sigmoid", init: "large", bias: 0, remedy: "none" },
      { activation: "tanh", init: "xavier", bias: 0, remedy: "none" },
      { activation: "relu", init: "kaiming", bias: 0, remedy: "none" },
      { ...own, remedy: "residual" },
      { ...own, remedy: "layer norm" },
    ]
      .filter((setup) => nameOf(setup) !== chosen.name)
      .map(measure);
    // The largest slope of the activation. This slope times the weight's norm bounds the factor by which each block
    // scales the gradient.
    const limit = { sigmoid: 0.25, tanh: 1, relu: 1, gelu: 1.13 }[activation];
    const norms = [...chosen.model.namedParameters()]
      .filter(([name]) => name.endsWith("weight") && !/norm/.test(name))
      .map(([, w]) => spectralNorm(w));
    // Gradients outside the normal range of float32 are inaccurate.
    const seen = chosen.points.filter(([, g]) => isAccurate(g));
    const steps = seen.slice(1).map(([layer, g], i) => seen[i]![1] / g / (limit * norms[layer - 1]!));
    const excess = Math.max(...steps);
    const report = tidy(() => diagnose(chosen.model, chosen.loss));
    const biased = [chosen, ...compared].find(({ name }) => name === nameOf(BIASED))!;
    const saturated = tidy(() => diagnose(biased.model, biased.loss)).last.activations[0]!;
    const [first] = (biased.model.layers[0] as nn.Sequential).layers as [nn.Linear];
    const predicted = [chosen, ...compared].filter(({ within }) => within > 0);
    // Networks that keep the gradient come first: their curves lie close together and need the colours that differ most.
    const shown = [
      ...compared.filter(({ isRemedied }) => isRemedied),
      ...compared.filter(({ isRemedied }) => !isRemedied).reverse(),
    ];
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
        text: "factor per layer of a chain of sigmoids with weights 1, at the fixed point of σ",
        measured: chainFactor(FIXED_POINT, depth),
        // Float32 rounding changes each factor by about 2⁻²⁴.
        expected: { equals: FIXED_POINT * (1 - FIXED_POINT), within: 1e-6 },
        theory: "σ′ = σ(1 − σ), and σ(x) = x at x = 0.659",
      },
      {
        text: "gradient at the last layer, divided by the derivative of the mean squared error",
        measured:
          chosen.points.at(-1)![1] /
          tidy(() => {
            const errors = (chosen.model.forward(x) as Tensor).sub(y);
            return (2 * errors.norm().item()) / errors.size;
          }),
        expected: { equals: 1, within: 1e-5 },
        theory: "∂L/∂ŷ = 2(ŷ − y)/n",
      },
      ...(remedy === "none"
        ? [
            {
              text: `largest growth of the gradient through a layer, divided by ${limit}·‖W‖₂`,
              measured: excess,
              expected: { atMost: 1 + 1e-4 } as const,
              theory: "a factor of the chain rule is at most the activation's slope times the weight's norm",
            },
            ...diagnosisFindings(
              report,
              tidy(() => chainRule(chosen.model, x, y, activation)),
            ),
          ]
        : []),
      {
        text: `saturated outputs of the first layer, for biases with std ${BIASED.bias}, according to diagnose`,
        measured: saturated.saturated * x.size,
        expected: saturatedOutputs(first, x),
        theory: "those with |σ − ½| > 0.49: |z| > ln 99, with z = Wx + b in float64",
      },
      ...predicted.map(({ name, from, log, mean, within }) => ({
        text: `log of the ratio of layer ${from}'s gradient to the last layer's: ${name}`,
        measured: log,
        expected: { equals: mean, within },
        theory: "mean-field theory: each layer scales the squared norm by ‖W‖²_F/n·E[φ′(z)²] (Schoenholz et al. 2017)",
      })),
    ];
    return {
      findings,
      plots: [
        {
          title: "The gradient at each layer",
          x: { label: "layer", integer: true },
          y: { label: "‖∂L/∂y‖", scale: "log" },
          series: [
            {
              name: chosen.name,
              points: chosen.points,
            },
            // Draw remedies as dots, because seven curves cannot be distinguished by colour alone.
            ...shown.map(({ name, remedy, points, isRemedied }) => ({
              name: isRemedied ? `+ ${remedy}` : name,
              points,
              style: isRemedied ? ("dots" as const) : ("reference" as const),
            })),
          ],
        },
      ],
      tables: [
        {
          title: "Verdict",
          columns: ["observation", "what to try"],
          rows: verdictRows(report.verdicts, chosen.points),
        },
        {
          title: "First layer divided by last",
          columns: ["network", "layer", "measured", "theory", "tolerance"],
          rows: [chosen, ...shown].map(({ name, points, from, mean, within }) => [
            name,
            from,
            twoDigits(points[from - 1]![1] / points.at(-1)![1]),
            within > 0 ? twoDigits(Math.exp(mean)) : "–",
            within > 0 ? `${twoDigits(Math.exp(mean - within))} to ${twoDigits(Math.exp(mean + within))}` : "–",
          ]),
        },
      ],
    };
  },
});

const twoDigits = (value: number): string => showNumber(significant(value, 2));

/** Table rows that put a diagnosis's verdicts into words, with one row for all layers that have the same problem. */
function verdictRows(verdicts: readonly Verdict[], points: readonly [layer: number, gradient: number][]): string[][] {
  const [first, last] = [points[0]!, points.at(-1)!];
  const change = Number.isFinite(first[1])
    ? `it goes from ${showNumber(last[1])} at layer ${last[0]} to ${showNumber(first[1])} at layer ${first[0]}`
    : "it grows until 32-bit numbers cannot hold it";
  const remedy =
    "Initial weights that suit the activation (Xavier for tanh, Kaiming for ReLU), ReLU or GELU instead of the sigmoid, residual connections, or layer norm.";
  return [...new Set(verdicts.map(({ kind }) => kind))].map((kind) => {
    const same = verdicts.filter((verdict) => verdict.kind === kind);
    const layers = `${same.length} of ${points.length} layers`;
    switch (kind) {
      case "vanishing":
        return [`The gradient vanishes on its way back: ${change}.`, remedy];
      case "no gradient":
        return ["The gradient vanishes on its way back until 32-bit numbers cannot hold it.", remedy];
      case "exploding":
        return [
          `The gradient explodes: ${change}.`,
          "Smaller initial weights, layer norm, or a limit on the gradient's length.",
        ];
      case "saturated":
        return [
          `In ${layers}, more than half of the outputs are saturated and pass on little gradient.`,
          "Smaller initial weights and biases, or layer norm.",
        ];
      case "dead":
        return [
          `In ${layers}, more than half of the units are flat for all samples and learn nothing.`,
          "Smaller initial weights and biases, or GELU.",
        ];
      default:
        return [same[0]!.text, same[0]!.remedy];
    }
  });
}

/** x = σ(x). */
const FIXED_POINT = 0.659046068407;

/** A network with large biases, which saturate its neurons. */
const BIASED: Setup = { activation: "sigmoid", init: "xavier", bias: 10, remedy: "none" };

/** Whether float32 can represent a gradient to full precision. */
const isAccurate = (gradient: number): boolean => gradient > 1e-37 && gradient < 1e37;

/**
 * Compares the gradient at layer `from`, the first whose gradient is accurate, with the gradient at the last layer:
 * `log` is the log of their ratio, and `mean` is the log that mean-field theory predicts for layers of this width. If
 * the theory does not apply, `log`, `mean` and `within` are 0.
 *
 * A layer multiplies the squared norm by X = ‖W‖²_F/n·E[φ′(z)²]. For n independent units, X has the relative variance v
 * = 2κ/n, with κ = E[φ′⁴]/E[φ′²]². E[log X] is between log E[X] − v/2 (if X is the same for all samples) and log E[X].
 * `mean` uses the middle of this range, and `within` adds four standard errors to half its width.
 */
function logRatio(model: nn.Sequential, points: readonly [number, number][], x: Tensor, { remedy, activation }: Setup) {
  const first = points.findIndex(([, g]) => isAccurate(g));
  const last = points.length - 1;
  if (remedy !== "none" || first < 0 || first === last || !isAccurate(points[last]![1]))
    return { from: 1, log: 0, mean: 0, within: 0 };
  return tidy(() => {
    const slope = slopeOf(activation);
    let [mean, variances] = [0, 0];
    let h = x;
    for (const [i, layer] of model.layers.entries()) {
      const [linear] = (layer as nn.Sequential).layers as [nn.Linear];
      if (i > first) {
        const squares = slope(linear.forward(h)).square();
        const average = squares.mean().item();
        const kurtosis = squares.square().mean().item() / average ** 2;
        const relative = (2 * kurtosis) / WIDTH;
        mean += 0.5 * (Math.log((linear.weight.square().sum().item() / WIDTH) * average) - relative / 4);
        variances += relative;
      }
      h = layer.forward(h) as Tensor;
    }
    return {
      from: first + 1,
      log: Math.log(points[first]![1] / points[last]![1]),
      mean,
      within: variances / 8 + 4 * Math.sqrt(variances / 4),
    };
  });
}

/** φ′ of an activation φ. */
const slopeOf = (activation: string) =>
  grad((z: Tensor) => (activations[activation]!().forward(z) as Tensor).sum()) as (z: Tensor) => Tensor;

/**
 * The backward pass of a network without a remedy, in float64 and without autograd: ‖∂L/∂z‖ of each layer's z = Wx + b, and the largest ‖∂L/∂W‖
 * divided by ‖W‖, or by 1 if ‖W‖ is smaller. ∂L/∂z is φ′(z)·2(ŷ − y)/n at the last layer. Each step back through a layer multiplies by W, then
 * by φ′(z).
 */
function chainRule(model: nn.Sequential, x: Tensor, y: Tensor, activation: string) {
  const slope = slopeOf(activation);
  const rows = (tensor: Tensor): Matrix => tensor.toArray() as number[][];
  let h = x;
  const layers = model.layers.map((layer) => {
    const [linear] = (layer as nn.Sequential).layers as [nn.Linear];
    const [input, slopes] = [h, slope(linear.forward(h))];
    h = layer.forward(h) as Tensor;
    return { weight: rows(linear.weight), input: rows(input), slopes: rows(slopes) };
  });
  let g = rows(h.sub(y).mul(2 / y.size));
  const norms: number[] = [];
  let overWeights = 0;
  for (const { weight, input, slopes } of layers.reverse()) {
    const delta = g.map((row, i) => row.map((value, j) => value * slopes[i]![j]!));
    norms.unshift(norm(delta.flat()));
    const change = norm(product(transpose(delta), input).flat());
    overWeights = Math.max(overWeights, change / Math.max(1, norm(weight.flat())));
    g = product(delta, weight);
  }
  return { norms, overWeights };
}

/**
 * Compares a diagnosis with the chain rule. Returns no findings if a gradient is outside the normal range of float32.
 */
function diagnosisFindings(
  { last, verdicts }: ReturnType<typeof diagnose>,
  { norms, overWeights }: ReturnType<typeof chainRule>,
): readonly Finding[] {
  if (!norms.every(isAccurate) || !isAccurate(overWeights)) return [];
  const ratio = norms[0]! / norms.at(-1)!;
  const found = (kind: string): boolean => verdicts.some((verdict) => verdict.kind === kind);
  const isClear = [ratio * 1e3, ratio / 1e3, overWeights / 1e3].every((value) => Math.abs(Math.log(value)) > 1e-3);
  return [
    {
      text: "‖∂L/∂z‖ of the first layer according to diagnose, divided by the chain rule's",
      measured: last.depth[0]!.gradient / norms[0]!,
      // Each layer rounds sums of 32 products, which gives a relative error of about √32·2⁻²⁴ with a random sign.
      // Across layers, the error grows like the square root of their number.
      expected: { equals: 1, within: 2 ** -20 * Math.sqrt(norms.length) },
      theory: "layer by layer, without autograd: each layer back multiplies by W, then by φ′(z)",
    },
    ...(isClear
      ? [
          {
            text: "verdict of diagnose: −1 for vanishing, 1 for exploding, 0 for neither",
            measured: Number(found("exploding")) - Number(found("vanishing")),
            expected: { equals: ratio > 1e3 || overWeights > 1e3 ? 1 : ratio < 1e-3 ? -1 : 0, within: 0 },
            theory:
              "from the chain rule: vanishing if ‖∂L/∂z‖ of the first layer is below a thousandth of the last layer's; exploding if it is above a thousand times the last layer's, or if ‖∂L/∂W‖ is above a thousand times ‖W‖",
          },
        ]
      : []),
  ];
}

/**
 * The number of outputs of a sigmoid layer in the flat part of the sigmoid. `within` is the number of outputs so close
 * to the flat part's border that rounding decides whether they count.
 */
function saturatedOutputs(
  { weight, bias }: nn.Linear,
  x: Tensor,
): { readonly equals: number; readonly within: number } {
  const outputs = product(x.toArray() as number[][], transpose(weight.toArray() as number[][]));
  const distances = outputs.flatMap((row) => row.map((z, j) => Math.abs(z + bias!.data[j]!) - Math.log(99)));
  // At the flat part's border, float32 σ has an error of about 2⁻²³, and its slope is 0.0099.
  const within = distances.filter((d) => Math.abs(d) < 2e-5).length;
  return { equals: distances.filter((d) => d > 0).length, within };
}

/** The geometric mean of the factors by which the layers of a chain σ(σ(…σ(x))) multiply the gradient. */
function chainFactor(x: number, depth: number): number {
  const chain = (z: Tensor): Tensor => {
    for (let i = 0; i < depth; i++) z = z.sigmoid();
    return z;
  };
  return tidy(() => grad(chain)(tensor(x)).item()) ** (1 / depth);
}
