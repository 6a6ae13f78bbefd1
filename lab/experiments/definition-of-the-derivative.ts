/** Shows the limit that defines a derivative, and the step size at which rounding errors stop the convergence. */
import { bestStep, type Complex, complexStep, errorCurve, finiteDifference } from "nabla/gradients";
import { sigmoid, simpson } from "../algebra.ts";
import { experiment } from "../experiment.ts";

const EPSILON = 2 ** -52;

/** The functions to differentiate, each with its derivative and a version for complex arguments. */
const functions = {
  "exp(sin x)": {
    f: (x: number) => Math.exp(Math.sin(x)),
    d: (x: number) => Math.exp(Math.sin(x)) * Math.cos(x),
    z: (x: Complex) => x.sin().exp(),
  },
  "x³ tanh x": {
    f: (x: number) => x ** 3 * Math.tanh(x),
    d: (x: number) => 3 * x * x * Math.tanh(x) + x ** 3 / Math.cosh(x) ** 2,
    z: (x: Complex) => x.pow(3).mul(x.tanh()),
  },
  "sigmoid(x)": {
    f: sigmoid,
    d: (x: number) => sigmoid(x) * sigmoid(-x),
    z: (x: Complex) => x.sigmoid(),
  },
};

export default experiment({
  name: "definition-of-the-derivative",
  title: "The definition of the derivative",
  section: "The Gradient: A Vector of Sensitivities",
  claim:
    "A partial derivative is the limit of a difference quotient. A computer cannot take this limit: the error falls with the step h until the rounding error, which grows like 1/h, dominates.",
  formula:
    "\\frac{\\partial L}{\\partial \\theta_i} = \\lim_{h\\to 0}\\frac{L(\\theta_i+h)-L(\\theta_i)}{h},\\qquad \\text{error}(h)\\approx \\tfrac{h}{2}|L''| + \\frac{2\\varepsilon|L|}{h}",
  functions: ["errorCurve", "finiteDifference", "complexStep", "bestStep"],
  parameters: {
    f: { kind: "choice", label: "function", options: ["exp(sin x)", "x³ tanh x", "sigmoid(x)"], default: "exp(sin x)" },
    x: { kind: "number", label: "x", min: 0.3, max: 1.3, default: 1, step: 0.01 },
    h: { kind: "number", label: "step h", min: 1e-15, max: 1, default: 0.8, scale: "log" },
  },
  run({ f: name, x, h }) {
    const { f, d, z } = functions[name];
    const exact = d(x);
    const forward = errorCurve(f, x, exact, { method: "forward" });
    const central = errorCurve(f, x, exact, { method: "central" });
    const complex = errorCurve(f, x, exact, { method: "complex", complex: z });
    // f″ and f‴, as finite differences of f′.
    const second = finiteDifference(d, x);
    const third = finiteDifference((t) => finiteDifference(d, t, { step: 1e-3 }), x, { step: 1e-3 });
    const bound = (step: number): number => (step / 2) * Math.abs(second) + (2 * EPSILON * Math.abs(f(x))) / step;
    const secant = finiteDifference(f, x, { method: "forward", step: h });
    const [step, root] = [bestStep(x), 2 ** -26];
    // x, x + h and both values of f are rounded, and the difference quotient divides the rounding errors by h.
    const rounding = (2 * EPSILON * (Math.abs(f(x)) + Math.abs(f(x + h)) + Math.abs(x * exact))) / h;
    // The axis covers all values that x and x + h can have.
    const [start, end] = [0.3, 2.3];
    const curve = Array.from({ length: 65 }, (_, i): [number, number] => [start + i / 32, f(start + i / 32)]);
    const line = (slope: number, from: number, to: number): [number, number][] =>
      [from, to].map((t) => [t, f(x) + slope * (t - x)]);
    return {
      findings: [
        {
          text: "slope of the secant from x to x + h",
          measured: secant,
          expected: { equals: mean(d, x, x + h), within: rounding + 1e-9 },
          theory: "the mean of f′ between the two points (the fundamental theorem of calculus)",
        },
        // Where f″ is near 0, h²·f‴/6 dominates, and the order is between 1 and 2.
        ...(Math.abs(second) > 0.2 * Math.abs(third)
          ? [
              {
                text: "order of forward differences, before rounding dominates",
                measured: forward.truncationSlope,
                expected: { equals: 1, within: 0.05 },
                theory: "Taylor: the error is h·f″/2",
              },
            ]
          : []),
        {
          text: "order of central differences, before rounding dominates",
          measured: central.truncationSlope,
          expected: { equals: 2, within: 0.01 },
          theory: "Taylor: the error is h²·f‴/6",
        },
        {
          text: "order of forward differences where rounding dominates",
          measured: forward.roundingSlope,
          // The fit uses 23 random errors over 5.5 decades of h. Their logarithms have a standard deviation of about 1.1,
          // so the standard error of the slope is 0.063. Allow five standard errors.
          expected: { equals: -1, within: 0.32 },
          theory: "the rounding error ε·|f| of f is divided by h",
        },
        {
          text: "error of the forward difference at h = √ε, divided by h/2·|f″| + 2ε|f|/h",
          measured: Math.abs(finiteDifference(f, x, { method: "forward", step: root }) - exact) / bound(root),
          expected: { atMost: 1.5 },
          theory: "truncation plus rounding, where f is accurate to about one ε",
        },
        {
          text: "error of the complex step at h = 10⁻²⁰, in units of ε|f′|",
          measured: (complexStep(z, x) - exact) / (EPSILON * Math.abs(exact)),
          expected: { equals: 0, within: 8 },
          theory: "nothing is subtracted, so nothing cancels (Squire and Trapp 1998); each function rounds a few times",
        },
        {
          text: "error of central differences at the best step, divided by h²/6·|f‴| + ε|f|/h",
          measured:
            Math.abs(finiteDifference(f, x) - exact) /
            ((step ** 2 / 6) * Math.abs(third) + (EPSILON * Math.abs(f(x))) / step),
          expected: { atMost: 1.5 },
          theory: "truncation plus rounding, where f is accurate to about one ε",
        },
      ],
      plots: [
        {
          title: "Secant and tangent",
          x: { label: "x" },
          y: { label: "f" },
          series: [
            { name: "f", points: curve },
            { name: "secant", points: line(secant, Math.max(start, x - 0.3), Math.min(end, x + h + 0.3)) },
            { name: "tangent", points: line(exact, start, Math.min(end, x + 1)), style: "theory" },
            {
              name: "x and x + h",
              style: "dots",
              points: [
                [x, f(x)],
                [x + h, f(x + h)],
              ],
            },
          ],
          handles: [{ name: "the point x", at: [x, f(x)], sets: { x: "x" } }],
        },
        {
          title: "Error by step",
          x: { label: "h", scale: "log" },
          y: { label: "|error|", scale: "log" },
          series: [
            { name: "forward", points: forward.points },
            { name: "central", points: central.points },
            { name: "complex step", points: complex.points },
            {
              name: "predicted bound",
              points: forward.points.map(([h]) => [h, bound(h)]),
              style: "theory",
            },
            { name: "this h", points: [[h, Math.abs(secant - exact)]], style: "dots" },
          ],
          handles: [{ name: "the step h", at: [h, Math.max(1e-17, Math.abs(secant - exact))], sets: { x: "h" } }],
        },
      ],
    };
  },
});

/** The mean of f between two points. With 256 intervals, Simpson's rule has an error below 10⁻¹⁰ for these functions. */
const mean = (f: (x: number) => number, from: number, to: number): number =>
  simpson(Array.from({ length: 257 }, (_, i) => f(from + ((to - from) * i) / 256)));
