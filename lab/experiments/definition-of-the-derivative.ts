/** The limit that defines a derivative, and the step size at which rounding errors stop the convergence. */
import { type Complex, complexStep, errorCurve, finiteDifference } from "nabla/gradients";
import { experiment } from "../experiment.ts";

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
    f: (x: number) => 1 / (1 + Math.exp(-x)),
    d: (x: number) => Math.exp(-x) / (1 + Math.exp(-x)) ** 2,
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
  functions: ["errorCurve", "finiteDifference", "complexStep"],
  parameters: {
    f: { kind: "choice", label: "function", options: ["exp(sin x)", "x³ tanh x", "sigmoid(x)"], default: "exp(sin x)" },
    x: { kind: "number", label: "x", min: 0.3, max: 1.3, default: 1, step: 0.05 },
  },
  run({ f: name, x }) {
    const { f, d, z } = functions[name];
    const exact = d(x);
    const forward = errorCurve(f, x, exact, { method: "forward" });
    const central = errorCurve(f, x, exact, { method: "central" });
    const complex = errorCurve(f, x, exact, { method: "complex", complex: z });
    const bound = (h: number): number =>
      (h / 2) * Math.abs(finiteDifference(d, x)) + (2 * 2 ** -52 * Math.abs(f(x))) / h;
    const relative = (approximation: number): number => Math.abs(approximation / exact - 1);
    return {
      findings: [
        {
          text: "order of forward differences, before rounding dominates",
          measured: forward.truncationSlope,
          expected: { equals: 1, within: 0.1 },
          theory: "Taylor: the error is h·f″/2",
        },
        {
          text: "order of central differences, before rounding dominates",
          measured: central.truncationSlope,
          expected: { equals: 2, within: 0.15 },
          theory: "Taylor: the error is h²·f‴/6",
        },
        {
          text: "order of forward differences where rounding dominates",
          measured: forward.roundingSlope,
          expected: { equals: -1, within: 0.25 },
          theory: "the rounding error ε·|f| of f is divided by h",
        },
        {
          text: "error of the forward difference at h = √ε, divided by h/2·|f″| + 2ε|f|/h",
          measured: Math.abs(finiteDifference(f, x, { method: "forward", step: 2 ** -26 }) - exact) / bound(2 ** -26),
          expected: { atMost: 2 },
          theory: "both terms are about equal there, and f is accurate to one or two ε",
        },
        {
          text: "relative error of the complex step at h = 10⁻²⁰",
          measured: relative(complexStep(z, x)),
          expected: { atMost: 1e-14 },
          theory: "nothing is subtracted, so nothing cancels (Squire and Trapp 1998)",
        },
        {
          text: "relative error of central differences at the default step",
          measured: relative(finiteDifference(f, x)),
          expected: { atMost: 1e-8 },
          theory: "ε^(2/3) ≈ 4·10⁻¹¹, times |f‴/f′|",
        },
      ],
      plots: [
        {
          title: "Error against step",
          x: { label: "h", scale: "log" },
          y: { label: "|error|", scale: "log" },
          series: [
            { name: "forward", points: forward.points },
            { name: "central", points: central.points },
            { name: "complex step", points: complex.points },
            {
              name: "h/2·|f″| + 2ε|f|/h",
              points: forward.points.map(([h]) => [h, bound(h)]),
              style: "theory",
            },
          ],
        },
      ],
    };
  },
});
