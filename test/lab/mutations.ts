/**
 * Mistakes in the functions that the concept table lists. test/lab/mutations.test.ts makes each mistake and requires that one of the
 * concept's findings fails.
 */
import { type Mutation, within } from "../support/mutation.ts";

const closedForms = "gradients/backpropagation/closedForms.ts";
const confusion = "gradients/confusion/confusion.ts";
const differences = "gradients/sensitivities/differences.ts";
const fisher = "gradients/natural/fisher.ts";
const flow = "gradients/dynamics/flow.ts";
const landscape = "gradients/landscape/landscape.ts";
const escaping = "gradients/landscape/escape.ts";
const recurrence = "gradients/vanishing/recurrence.ts";
const sensitivity = "gradients/sensitivities/sensitivity.ts";
const scaling = "gradients/landscape/scaling.ts";
const stabilityFile = "gradients/dynamics/stability.ts";

/** At least two mistakes for each function in the concept table. */
export const mutations: Readonly<Record<string, readonly Mutation[]>> = {
  // The Gradient: A Vector of Sensitivities
  finiteDifference: within(
    differences,
    ["sign", "(f(x + step) - f(x)) / step", "(f(x) - f(x + step)) / step"],
    ["factor ½", "(f(x + step) - f(x - step)) / (2 * step)", "(f(x + step) - f(x - step)) / (4 * step)"],
    ["missing term", "(f(x + step) - f(x - step)) / (2 * step)", "(f(x + step) - f(x)) / step"],
  ),
  complexStep: within(
    differences,
    ["sign", "f(new Complex(x, step)).im / step", "-f(new Complex(x, step)).im / step"],
    ["factor ½", "f(new Complex(x, step)).im / step", "f(new Complex(x, step)).im / (2 * step)"],
  ),
  errorCurve: within(
    differences,
    ["missing term", "Math.abs(d - derivative)]", "Math.abs(d)]"],
    ["factor ½", "Math.abs(d - derivative)]", "Math.abs(d - derivative / 2)]"],
    ["off by one", 'method === "forward" ? 2 : 3', 'method === "forward" ? 1 : 2'],
  ),
  logSlope: within(
    differences,
    ["sign", "[Math.log(x), Math.log(y)]", "[Math.log(x), -Math.log(y)]"],
    ["factor ½", "[Math.log(x), Math.log(y)]", "[Math.log(x), Math.log(y) / 2]"],
  ),
  objective: within(
    "gradients/objective.ts",
    [
      "sign",
      "this.collect(this.backward([[y, onesLike(y)]], false))",
      "this.collect(this.backward([[y, onesLike(y)]], false)).map((g) => -g)",
    ],
    [
      "factor ½",
      "this.collect(this.backward([[y, onesLike(y)]], false))",
      "this.collect(this.backward([[y, onesLike(y)]], false)).map((g) => g / 2)",
    ],
    [
      "off by one",
      "g?.live() ?? new Float32Array(p.size)",
      "g?.live().map((v, i) => (i ? v : 0)) ?? new Float32Array(p.size)",
    ],
  ),
  sensitivities: within(
    sensitivity,
    ["sign", "Math.abs(gradient[b]!) - Math.abs(gradient[a]!)", "Math.abs(gradient[a]!) - Math.abs(gradient[b]!)"],
    ["factor ½", "derivative: gradient[i]!", "derivative: gradient[i]! / 2"],
    ["off by one", "const digit = rest % n;", "const digit = (rest + 1) % n;"],
  ),
  directionalDerivative: within(
    sensitivity,
    ["sign", "dot(objective.gradient(theta), unit(vector(u)))", "-dot(objective.gradient(theta), unit(vector(u)))"],
    [
      "factor ½",
      "dot(objective.gradient(theta), unit(vector(u)))",
      "dot(objective.gradient(theta), unit(vector(u))) / 2",
    ],
    [
      "missing term",
      "dot(objective.gradient(theta), unit(vector(u)))",
      "objective.gradient(theta)[0]! * unit(vector(u))[0]!",
    ],
  ),
  steepestDescent: within(
    sensitivity,
    ["sign", "scale(unit(gradient), -1)", "scale(unit(gradient), 1)"],
    ["missing term", "scale(unit(gradient), -1)", "unit(gradient).map((v, i) => (i ? -v : 0))"],
    ["factor ½", "slope: norm(gradient)", "slope: norm(gradient) / 2"],
  ),
  // The Chain Rule and Backpropagation
  logisticPulls: within(
    closedForms,
    ["sign", ".sigmoid().sub(y)", ".sigmoid().add(y)"],
    ["factor ½", "pulls.mean(0)", "pulls.mean(0).mul(0.5)"],
    ["missing term", ".matmul(w).sigmoid().sub(y)", ".matmul(w).sigmoid()"],
  ),
  linearGradients: within(
    closedForms,
    ["sign", "bias: g.sum(0)", "bias: g.sum(0).neg()"],
    ["factor ½", "weight: g.t().matmul(x)", "weight: g.t().matmul(x).mul(0.5)"],
    [
      "missing term",
      "weight: g.t().matmul(x)",
      "weight: g.narrow(0, 1, g.shape[0]! - 1).t().matmul(x.narrow(0, 1, g.shape[0]! - 1))",
    ],
  ),
  gradcheck: within(
    "gradients/sensitivities/gradcheck.ts",
    ["sign", "comparison.add(where, dot(gradient, u),", "comparison.add(where, -dot(gradient, u),"],
    ["factor ½", "const wide = (above[i]! - below[i]!) / (2 * h);", "const wide = (above[i]! - below[i]!) / (4 * h);"],
    ["missing term", "- wide) / 3", ") / 3"],
  ),
  "Tensor.sigmoid": within(
    "ops/pointwise/activation.ts",
    ["sign", "[sigmoidGrad(dy, y)]", "[neg(sigmoidGrad(dy, y))]"],
    ["factor ½", "[sigmoidGrad(dy, y)]", "[mul(sigmoidGrad(dy, y), 0.5)]"],
    ["missing term", "[sigmoidGrad(dy, y)]", "[mul(dy, y)]"],
  ),
  "Tensor.mul": within(
    "ops/pointwise/arithmetic.ts",
    ["factor ½", "[needs[0] ? mul(dy, b) : null", "[needs[0] ? mul(mul(dy, b), 0.5) : null"],
    ["sign", "[needs[0] ? mul(dy, b) : null", "[needs[0] ? neg(mul(dy, b)) : null"],
    ["missing term", "[needs[0] ? mul(dy, b) : null", "[needs[0] ? dy : null"],
  ),
  customGradient: within(
    "autograd/backward.ts",
    ["sign", "return gradients;\n      }", "return gradients.map((g) => g && g.neg());\n      }"],
    ["factor ½", "return gradients;\n      }", "return gradients.map((g) => g && g.mul(0.5));\n      }"],
    [
      "missing term",
      "const sum = before ? (add(before, g) as Tensor) : g.alias(g.shape);",
      "const sum = g.alias(g.shape);",
    ],
  ),
  // Vanishing and Exploding Gradients
  grad: within(
    "autograd/transforms.ts",
    ["sign", "[x, gradients.get(x.edge!) ?? zerosLike(x)]", "[x, (gradients.get(x.edge!) ?? zerosLike(x)).neg()]"],
    [
      "factor ½",
      "[x, gradients.get(x.edge!) ?? zerosLike(x)]",
      "[x, (gradients.get(x.edge!) ?? zerosLike(x)).mul(0.5)]",
    ],
  ),
  gradientByDepth: within(
    "gradients/vanishing/depth.ts",
    ["factor ½", "norm(Float64Array.from(gradients[i]!.live()))", "norm(Float64Array.from(gradients[i]!.live())) / 2"],
    [
      "missing term",
      "norm(Float64Array.from(gradients[i]!.live()))",
      "norm(Float64Array.from(gradients[i]!.live())) ** 2",
    ],
    ["off by one", "gradients[i]!.live()", "gradients[Math.max(0, i - 1)]!.live()"],
  ),
  diagnose: [
    ...within("gradients/vanishing/verdict.ts", [
      "inverse",
      "first.gradient / last.gradient",
      "last.gradient / first.gradient",
    ]),
    ...within(
      "gradients/vanishing/watch.ts",
      ["missing term", "y.sub(0.5).abs().gt(0.49)", "y.sub(0.5).gt(0.49)"],
      ["factor ½", "y.sub(0.5).abs().gt(0.49)", "y.sub(0.5).abs().gt(0.245)"],
      [
        "off by one",
        "gradientByDepth(model, loss, { which: hasWeights })",
        "gradientByDepth(model, loss, { which: hasWeights }).slice(1)",
      ],
    ),
  ],
  spectralNorm: within(
    "gradients/vanishing/spectral.ts",
    ["factor ½", "return Math.sqrt(lanczos(", "return 0.5 * Math.sqrt(lanczos("],
    ["missing term", "return Math.sqrt(lanczos(", "return 1 * (lanczos("],
    ["off by one", ".values.at(-1)!", ".values.at(-2)!"],
  ),
  gradientThroughTime: within(
    recurrence,
    ["factor ½", "norm(vector(g.live())) ** 2 : 0", "norm(vector(g.live())) ** 2 / 2 : 0"],
    ["missing term", "part.add(added[i]!)", "part.detach().add(added[i]!)"],
    ["off by one", "addProbe(step(state, x)), addProbe(initial)", "step(addProbe(state), x), addProbe(initial)"],
  ),
  growthPerStep: within(
    recurrence,
    ["sign", "[[last - t, Math.log(n)]]", "[[t - last, Math.log(n)]]"],
    ["factor ½", "[[last - t, Math.log(n)]]", "[[last - t, Math.log(n) / 2]]"],
    ["missing term", "[[last - t, Math.log(n)]]", "[[last - t, n]]"],
  ),
  "optim.clipGradNorm": within(
    "optim/clip.ts",
    ["factor ½", "g.mul(first).mul(second)", "g.mul(first).mul(second).mul(0.5)"],
    ["missing term", "div(maxNorm, size).clamp(null, 1)", "div(maxNorm, size)"],
    ["inverse", "g.mul(first).mul(second)", "g.div(first).div(second)"],
  ),
  "nn.LSTM": within(
    "nn/recurrent.ts",
    ["factor ½", "return [y, [hn!, cn!]];", "return [y, [hn!, cn!.mul(0.5)]];"],
    ["sign", "return [y, [hn!, cn!]];", "return [y, [hn!, cn!.neg()]];"],
  ),
  // The Geometry of Non-Convex Landscapes
  classifyCriticalPoint: within(
    landscape,
    ["sign", "values.filter((v) => v < -curvatureTolerance)", "values.filter((v) => v > curvatureTolerance)"],
    ["condition", "if (index && above)", "if (!index && above)"],
    ["off by one", "gradientNorm, index, exact", "gradientNorm, index: index + 1, exact"],
  ),
  denseHessian: within(
    landscape,
    ["factor ½", "h[(k % n) * n + Math.floor(k / n)]!) / 2", "h[(k % n) * n + Math.floor(k / n)]!) / 4"],
    ["sign", "(v + h[(k % n) * n + Math.floor(k / n)]!) / 2", "(-v - h[(k % n) * n + Math.floor(k / n)]!) / 2"],
    ["off by one", "objective.hvp(basis(n, i)), i * n", "objective.hvp(basis(n, i)), (n - 1 - i) * n"],
  ),
  denseEigen: within(
    landscape,
    ["factor ½", "h[(k % n) * n + Math.floor(k / n)]!) / 2", "h[(k % n) * n + Math.floor(k / n)]!) / 4"],
    ["sign", "(v + h[(k % n) * n + Math.floor(k / n)]!) / 2", "(-v - h[(k % n) * n + Math.floor(k / n)]!) / 2"],
  ),
  hessianExtremes: within(
    landscape,
    ["sign", "value: values[i]!, direction: ritz.vector(i)", "value: -values[i]!, direction: ritz.vector(i)"],
    ["factor ½", "value: values[i]!, direction: ritz.vector(i)", "value: values[i]! / 2, direction: ritz.vector(i)"],
    ["off by one", "at(values.length - 1 - i)", "at(values.length - 2 - i)"],
  ),
  hessianTrace: within(
    landscape,
    ["sign", "return dot(v, objective.hvp(v));", "return -dot(v, objective.hvp(v));"],
    ["factor ½", "return { value: mean(products),", "return { value: mean(products) / 2,"],
  ),
  spectralDensity: within(
    landscape,
    ["factor ½", "Math.exp(-0.5 * ((x - v) / sigma) ** 2)", "Math.exp(-1 * ((x - v) / sigma) ** 2)"],
    ["sign", "((x - v) / sigma) ** 2", "((x + v) / sigma) ** 2"],
    ["missing term", "total / (probes * sigma * Math.sqrt(2 * Math.PI))", "total / (probes * Math.sqrt(2 * Math.PI))"],
  ),
  plane: within(
    "gradients/landscape/slices.ts",
    ["sign", "plus(plus(origin, a, s), b, t)", "plus(plus(origin, a, s), b, -t)"],
    ["missing term", "plus(plus(origin, a, s), b, t)", "plus(origin, a, s)"],
  ),
  escape: within(
    escaping,
    ["sign", ": gradient, -lr)", ": gradient, lr)"],
    ["factor ½", "randomVector(objective.size), noise)", "randomVector(objective.size), noise / 2)"],
    ["factor ½", "distances.push(norm(minus(theta, start)))", "distances.push(norm(minus(theta, start)) / 2)"],
  ),
  predictedEscape: within(
    escaping,
    ["factor ½", "Math.log1p(growth) / (2 * Math.log(a))", "Math.log1p(growth) / Math.log(a)"],
    ["missing term", "(a * a - 1)) / (lr * noise) ** 2", "(a * a - 1)) / lr ** 2"],
  ),
  ravine: within(
    landscape,
    ["factor ½", "slope: dot(gradient, direction), curvature", "slope: dot(gradient, direction) / 2, curvature"],
    ["order", "[measure(largest), measure(smallest)]", "[measure(smallest), measure(largest)]"],
    ["missing term", "slope: dot(gradient, direction), curvature", "slope: gradient[0]! * direction[0]!, curvature"],
  ),
  conditionNumber: within(
    landscape,
    ["inverse", "largest.value / smallest.value : Infinity", "smallest.value / largest.value : Infinity"],
    ["factor ½", "largest.value / smallest.value : Infinity", "largest.value / smallest.value / 2 : Infinity"],
  ),
  partialsUnderScaling: within(
    scaling,
    ["missing term", "objectiveOf(x.mul(tensor([...factors])))", "objectiveOf(x)"],
    ["inverse", "objectiveOf(x.mul(tensor([...factors])))", "objectiveOf(x.div(tensor([...factors])))"],
    ["factor ½", "before: objectiveOf(x).gradient()", "before: objectiveOf(x).gradient().map((g) => g / 2)"],
  ),
  conditioning: within(
    scaling,
    ["factor ½", "j < d ? covariance[i * d + j]! : 0", "j < d ? covariance[i * d + j]! / 2 : 0"],
    ["missing term", "j < d ? covariance[i * d + j]! : 0", "j < d && i === j ? covariance[i * d + j]! : 0"],
    ["factor ½", "bar[i]! * bar[j]! + (i < d", "0.5 * bar[i]! * bar[j]! + (i < d"],
  ),
  standardize: within(
    scaling,
    ["missing term", "z.sub(tensor(mean)).mul(tensor(factors))", "z.mul(tensor(factors))"],
    ["factor ½", "(s > 0 ? 1 / s : 0)", "(s > 0 ? 0.5 / s : 0)"],
    ["sign", "z.sub(tensor(mean)).mul(tensor(factors))", "z.add(tensor(mean)).mul(tensor(factors))"],
  ),
  whiten: within(
    scaling,
    ["missing term", "1 / Math.sqrt(v + added)", "1 / (v + added)"],
    ["factor ½", "1 / Math.sqrt(v + added)", "0.5 / Math.sqrt(v + added)"],
    ["sign", "z.sub(tensor(mean)).matmul(", "z.add(tensor(mean)).matmul("],
  ),
  // Stochasticity and Gradient Confusion
  batchGradients: within(
    confusion,
    ["sign", "loss(batch)).gradient()", "loss(batch)).gradient().map((g) => Math.abs(g))"],
    ["factor ½", "loss(batch)).gradient()", "loss(batch)).gradient().map((g) => g / 2)"],
    [
      "off by one",
      "batches.map((batch) => objective",
      "batches.map((_, i) => batches[i >> 1]!).map((batch) => objective",
    ],
  ),
  signFlips: within(
    confusion,
    ["sign", "a[i]! * b[i]! < 0", "a[i]! * b[i]! > 0"],
    ["factor ½", "return flips / a.length;", "return flips / (2 * a.length);"],
    ["off by one", "let flips = 0;", "let flips = 1;"],
  ),
  gradientConfusion: within(
    confusion,
    ["sign", "total += cosine;", "total -= cosine;"],
    ["factor ½", "(gradients.length * (gradients.length - 1)) / 2", "gradients.length * (gradients.length - 1)"],
    ["off by one", "signFlips(gradients[i]!, g)", "signFlips(gradients[i + 1]!, g)"],
  ),
  gradientNoiseScale: within(
    confusion,
    ["sign", "(all * big - b * small) / (all - b)", "(all * big + b * small) / (all - b)"],
    ["factor ½", "(small - big) / (1 / b - 1 / all)", "(small - big) / (2 / b - 2 / all)"],
    ["missing term", "(small - big) / (1 / b - 1 / all)", "small / (1 / b - 1 / all)"],
  ),
  perSampleGradients: within(
    "gradients/backpropagation/perSample.ts",
    [
      "factor ½",
      "return slow ? loop(model, losses, inputs) : compiled(...inputs);",
      "return Object.fromEntries(Object.entries(slow ? loop(model, losses, inputs) : compiled(...inputs)).map(([name, g]) => [name, g.mul(0.5)]));",
    ],
    [
      "missing term",
      "return slow ? loop(model, losses, inputs) : compiled(...inputs);",
      "return Object.fromEntries(Object.entries(slow ? loop(model, losses, inputs) : compiled(...inputs)).slice(1));",
    ],
  ),
  curriculum: within(
    confusion,
    ["sign", "if (distance < least)", "if (-distance < least)"],
    ["off by one", "at = nearest(gradients[at]!)", "at = nearest(gradients[order[0]!]!)"],
  ),
  weightsAgainstBiases: within(
    "gradients/confusion/weightsAgainstBiases.ts",
    ["factor ½", "lengthOf(gradients.sum(0))]", "lengthOf(gradients.sum(0)) / 2]"],
    ["missing term", "lengthOf(rows) / Math.sqrt(rows.shape[0]!)", "lengthOf(rows)"],
    ["inverse", "ratio: weight / bias", "ratio: bias / weight"],
  ),
  // Gradients as a Dynamical System
  gradientFlow: within(
    flow,
    ["factor ½", ".map((g) => -g)", ".map((g) => -g / 2)"],
    ["missing term", ".map((g) => -g)", ".map((g, i) => (i ? -g : 0))"],
  ),
  gradientDescent: within(
    flow,
    ["sign", "plus(states[k]!, b, -lr)", "plus(states[k]!, b, lr)"],
    ["factor ½", "plus(states[k]!, b, -lr)", "plus(states[k]!, b, -lr / 2)"],
    ["off by one", "potential.gradient(states[k]!)", "potential.gradient(states[Math.max(0, k - 1)]!)"],
  ),
  discretizationError: within(
    flow,
    ["factor ½", "minus(state, exact.states[k]!)", "minus(state, exact.states[k >> 1]!)"],
    ["off by one", "minus(state, exact.states[k]!)", "minus(state, exact.states[Math.max(0, k - 1)]!)"],
  ),
  heavyBall: within(
    flow,
    ["sign", "-(friction * vi + g[i]!) / mass", "(friction * vi - g[i]!) / mass"],
    ["factor ½", "-(friction * vi + g[i]!) / mass", "-(friction * vi + g[i]! / 2) / mass"],
    ["missing term", "-(friction * vi + g[i]!) / mass", "-g[i]! / mass"],
  ),
  heavyBallOf: within(
    flow,
    ["factor ½", "friction: (1 - momentum) / step }", "friction: (1 - momentum) / (2 * step) }"],
    ["sign", "friction: (1 - momentum) / step }", "friction: (1 + momentum) / step }"],
  ),
  stability: within(
    stabilityFile,
    ["sign", "flow: -h,", "flow: h,"],
    ["factor ½", "roots(friction, h, ({ re }) => re)", "roots(friction / 2, h, ({ re }) => re)"],
    ["factor ½", "roots(-(1 + momentum - lr * h)", "roots(-(1 + momentum - (lr * h) / 2)"],
    ["off by one", "1 - lr * h,", "2 - lr * h,"],
  ),
  escapeRate: within(
    stabilityFile,
    ["sign", "[[t, Math.log(distance)]]", "[[-t, Math.log(distance)]]"],
    ["factor ½", "[[t, Math.log(distance)]]", "[[t, Math.log(distance) / 2]]"],
    ["missing term", "[[t, Math.log(distance)]]", "[[t, distance]]"],
  ),
  // The Natural Gradient: Descending in Information Space
  fisherMatrix: within(
    fisher,
    ["sign", "at.product(basis(layout.size, i))", "at.product(basis(layout.size, i)).map((v) => -v)"],
    ["factor ½", "at.product(basis(layout.size, i))", "at.product(basis(layout.size, i)).map((v) => v / 2)"],
    ["off by one", "basis(layout.size, i)", "basis(layout.size, (i + 1) % layout.size)"],
  ),
  naturalGradient: within(
    fisher,
    ["sign", "direction: solution.x, gradient, loss", "direction: solution.x.map((v) => -v), gradient, loss"],
    ["factor ½", "direction: solution.x, gradient, loss", "direction: solution.x.map((v) => v / 2), gradient, loss"],
    ["missing term", "direction: solution.x, gradient, loss", "direction: gradient, gradient, loss"],
  ),
};

/** Functions from nabla itself that the concept table does not name, each with an experiment that uses it. */
export const users: Readonly<Record<string, string>> = { "optim.clipGradNorm": "clipping" };
