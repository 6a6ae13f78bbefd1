/** Backpropagation on a small graph: values flow forward, gradients flow back, and a wrong local derivative spoils all gradients before it. */
import { customGradient, type Tensor, tensor, tidy } from "nabla";
import { finiteDifference, objective } from "nabla/gradients";
import { sigmoid } from "../algebra.ts";
import { experiment, type Finding, type Graph } from "../experiment.ts";

/** An operation on numbers, its derivative with respect to each input, and the same operation on tensors. */
interface Operation {
  readonly inputs: readonly string[];
  readonly value: (...inputs: readonly number[]) => number;
  readonly derivatives: (...inputs: readonly number[]) => readonly number[];
  readonly forward: (...inputs: readonly Tensor[]) => Tensor;
}

/** p = w₁x, z = p + b, a = σ(z), ŷ = w₂a, e = ŷ − y, L = ½e². `w2` is "w1" if both layers share one weight. */
const operationsOf = (w2: string): Readonly<Record<string, Operation>> => ({
  p: {
    inputs: ["w1", "x"],
    value: (w, x) => w! * x!,
    derivatives: (w, x) => [x!, w!],
    forward: (w, x) => w!.mul(x!),
  },
  z: { inputs: ["p", "b"], value: (p, b) => p! + b!, derivatives: () => [1, 1], forward: (p, b) => p!.add(b!) },
  a: {
    inputs: ["z"],
    value: (z) => sigmoid(z!),
    derivatives: (z) => [sigmoid(z!) * sigmoid(-z!)],
    forward: (z) => z!.sigmoid(),
  },
  ŷ: {
    inputs: [w2, "a"],
    value: (w, a) => w! * a!,
    derivatives: (w, a) => [a!, w!],
    forward: (w, a) => w!.mul(a!),
  },
  e: { inputs: ["ŷ", "y"], value: (o, y) => o! - y!, derivatives: () => [1, -1], forward: (o, y) => o!.sub(y!) },
  L: {
    inputs: ["e"],
    value: (e) => 0.5 * e! ** 2,
    derivatives: (e) => [e!],
    forward: (e) => e!.square().mul(0.5),
  },
});
const PLACES: Readonly<Record<string, readonly [x: number, y: number]>> = {
  x: [0, -1],
  w1: [0, 1],
  p: [1, 0],
  b: [1, -1],
  z: [2, 0],
  a: [3, 0],
  w2: [3, 1],
  ŷ: [4, 0],
  y: [4, -1],
  e: [5, 0],
  L: [6, 0],
};
/** The edges whose derivatives the reader can replace, as [from, to]. */
const EDGES = {
  "dp/dw": ["w1", "p"],
  "dz/dp": ["p", "z"],
  "da/dz": ["z", "a"],
  "dŷ/da": ["a", "ŷ"],
  "de/dŷ": ["ŷ", "e"],
  "dL/de": ["e", "L"],
} as const;

interface Edge {
  readonly from: string;
  readonly to: string;
  readonly derivative: number;
  /** A bound on the derivative's error in float32. */
  readonly error: number;
}

export default experiment({
  name: "backpropagation",
  title: "Backpropagation on a graph",
  section: "Calculating Gradients: The Chain Rule and Backpropagation",
  claim:
    "Backpropagation applies the chain rule from the loss back to the first parameters. Each gradient is the product of the local derivatives along its path to the loss, summed over all paths.",
  formula:
    "L=\\tfrac12\\bigl(w_2\\,\\sigma(w_1x+b)-y\\bigr)^2,\\qquad \\frac{\\partial L}{\\partial w_1}=\\underbrace{e}_{\\partial L/\\partial e}\\cdot\\,1\\cdot\\!\\underbrace{w_2}_{\\partial\\hat y/\\partial a}\\!\\cdot\\underbrace{\\sigma'(z)}_{\\partial a/\\partial z}\\cdot\\,1\\cdot\\!\\underbrace{x}_{\\partial p/\\partial w_1}",
  functions: ["objective", "finiteDifference"],
  parameters: {
    x: { kind: "number", label: "x", min: -3, max: 3, default: 1.5, step: 0.1 },
    w1: { kind: "number", label: "w₁", min: -3, max: 3, default: 0.8, step: 0.1 },
    b: { kind: "number", label: "b", min: -6, max: 6, default: -0.2, step: 0.1 },
    w2: { kind: "number", label: "w₂", min: -3, max: 3, default: 2, step: 0.1 },
    y: { kind: "number", label: "y", min: -3, max: 3, default: 0.5, step: 0.1 },
    weights: { kind: "choice", label: "weights", options: ["separate", "shared: w₂ = w₁"], default: "separate" },
    replace: {
      kind: "choice",
      label: "replace a local derivative",
      options: ["none", "dp/dw", "dz/dp", "da/dz", "dŷ/da", "de/dŷ", "dL/de"],
      default: "none",
    },
    by: { kind: "number", label: "with the wrong value", min: -2, max: 2, default: 0.5, step: 0.1 },
  },
  run: ({ x, w1, b, w2, y, weights, replace, by }) =>
    tidy(() => {
      const shared = weights !== "separate";
      const operations = operationsOf(shared ? "w1" : "w2");
      const ids = Object.keys(PLACES).filter((id) => !shared || id !== "w2");
      const given: Readonly<Record<string, number>> = { x, w1, b, w2, y };
      const changed = replace === "none" ? undefined : EDGES[replace];
      const isChanged = (from: string, to: string): boolean => from === changed?.[0] && to === changed[1];
      const values = evaluate(operations, ids, given);
      const right = edgesOf(operations, values);
      const edges = right.map((edge) =>
        isChanged(edge.from, edge.to) ? { ...edge, derivative: by, error: 2 ** -22 * Math.abs(by) } : { ...edge },
      );

      const correct = autograd(operations, ids, given);
      const measured = changed ? autograd(operations, ids, given, { edge: changed, by }) : correct;
      const difference = (id: string): number => Math.abs(measured[id]! - correct[id]!);
      // A node is upstream of the changed edge if a path from the node to the loss contains the edge.
      const upstream = ids.filter((id) =>
        pathsFrom(edges, id).some((path) => path.some((e) => isChanged(e.from, e.to))),
      );
      const rest = ids.filter((id) => !upstream.includes(id));

      const name = (id: string): string => (id === "w1" ? (shared ? "w" : "w₁") : id === "w2" ? "w₂" : id);
      const findings: Finding[] = (shared ? ["w1", "b"] : ["w1", "b", "w2"]).map((id) => {
        const { sum, within, factors } = chainRule(edges, id);
        return {
          text: `∂L/∂${name(id)} from autograd${changed ? `, with ${replace} = ${by}` : ""}`,
          measured: measured[id]!,
          expected: { equals: sum, within },
          theory:
            factors.length > 1
              ? "the sum over both paths of the product of the local derivatives"
              : "the product of the local derivatives along the path",
        };
      });
      const lossOf = (w: number): number => evaluate(operations, ids, { ...given, w1: w }).L!;
      const exact = chainRule(right, "w1");
      const theirs = chainRule(edges, "w1");
      findings.push({
        text: `∂L/∂${name("w1")} from autograd, minus ∂L/∂${name("w1")} from finite differences`,
        measured: measured.w1! - finiteDifference(lossOf, w1),
        // Central differences are accurate to ε^(2/3)·(|L| + |L‴|) in float64, far below the float32 error.
        expected: { equals: theirs.sum - exact.sum, within: theirs.within + exact.within + 1e-8 * (1 + values.L!) },
        theory: changed
          ? "the error of the wrong derivative, times the other local derivatives on its path"
          : "both methods compute the same derivative",
      });
      if (changed)
        findings.push({
          text: `largest change of the gradients that do not depend on ${replace}: ${rest.map(name).join(", ")}`,
          measured: Math.max(...rest.map(difference)),
          expected: { equals: 0, within: 0 },
          theory: "an error flows only to nodes before it",
        });
      const ignores = [...(changed ? [] : ["by"]), ...(shared ? ["w2"] : [])];
      const graph: Graph = {
        title: "Values and gradients",
        ignores,
        nodes: ids.map((id) => ({
          id,
          label: name(id),
          x: PLACES[id]![0],
          y: PLACES[id]![1],
          value: values[id]!,
          gradient: measured[id]!,
          wrong: difference(id) > 0,
        })),
        edges: edges.map(({ from, to, derivative }) => ({ from, to, derivative, wrong: isChanged(from, to) })),
      };
      const grid = Array.from({ length: 61 }, (_, i) => -3 + i / 10);
      const reach = 1 / Math.hypot(1, measured.w1!);
      return {
        findings,
        graphs: [graph],
        plots: [
          {
            title: `∂L/∂${name("w1")} is the slope of L`,
            ignores,
            x: { label: name("w1") },
            y: { label: "L" },
            series: [
              { name: "L", points: grid.map((w) => [w, lossOf(w)]) },
              {
                name: `slope ∂L/∂${name("w1")}`,
                points: [-reach, reach].map((d) => [w1 + d, values.L! + measured.w1! * d]),
              },
            ],
            handles: [{ name: name("w1"), at: [w1, values.L!], sets: { x: "w1" } }],
          },
        ],
      };
    }),
});

/** The value of every node, in float64. */
function evaluate(
  operations: Readonly<Record<string, Operation>>,
  ids: readonly string[],
  given: Readonly<Record<string, number>>,
): Record<string, number> {
  const values: Record<string, number> = {};
  for (const id of ids) {
    const operation = operations[id];
    values[id] = operation ? operation.value(...operation.inputs.map((from) => values[from]!)) : given[id]!;
  }
  return values;
}

/**
 * The edges with their derivatives, and bounds on the float32 errors of these derivatives. With u = 2⁻²² for a few
 * roundings, z = p + b has an error of u·(|p| + |b|); σ passes on at most a quarter of that error, and its kernel adds
 * u. The same holds for σ′ = a(1 − a), because |dσ′/da| ≤ 1.
 */
function edgesOf(
  operations: Readonly<Record<string, Operation>>,
  values: Readonly<Record<string, number>>,
): readonly Edge[] {
  const u = 2 ** -22;
  const size = (id: string): number => Math.abs(values[id]!);
  const ofA = u + (u * (size("p") + size("b"))) / 4;
  const ofE = (size("w2" in values ? "w2" : "w1") + u) * ofA + u * (size("ŷ") + size("y"));
  const errors: Readonly<Record<string, number>> = { a: ofA, L: ofE };
  return Object.entries(operations).flatMap(([to, { inputs, derivatives }]) => {
    const local = derivatives(...inputs.map((from) => values[from]!));
    return inputs.map((from, i) => {
      const error = to === "ŷ" && from !== "a" ? ofA : (errors[to] ?? 0);
      return { from, to, derivative: local[i]!, error: error + u * Math.abs(local[i]!) };
    });
  });
}

/** All paths from a node to the loss. */
function pathsFrom(edges: readonly Edge[], id: string): readonly (readonly Edge[])[] {
  const next = edges.filter(({ from }) => from === id);
  return id === "L" ? [[]] : next.flatMap((edge) => pathsFrom(edges, edge.to).map((path) => [edge, ...path]));
}

/**
 * ∂L/∂node, the sum over all paths of the product of the local derivatives, with a bound on the sum's error in float32,
 * and each path's factors.
 */
function chainRule(
  edges: readonly Edge[],
  id: string,
): { sum: number; within: number; factors: readonly (readonly number[])[] } {
  const paths = pathsFrom(edges, id);
  const product = (path: readonly Edge[], f: (edge: Edge) => number): number => path.reduce((p, e) => p * f(e), 1);
  const sum = paths.reduce((total, path) => total + product(path, (e) => e.derivative), 0);
  const within = paths.reduce((total, path) => {
    const largest = product(path, (e) => Math.abs(e.derivative) + e.error + 2 ** -24 * Math.abs(e.derivative));
    return total + largest - Math.abs(product(path, (e) => e.derivative));
  }, 2 ** -40);
  return { sum, within, factors: paths.map((path) => path.map((e) => e.derivative)) };
}

/**
 * ∂L/∂node for every node, from autograd. A leaf with value 0 is added to each result, and the gradient of this leaf is
 * the gradient of the result. `wrong` replaces one local derivative: its input is detached, and a function with value 0
 * and the given derivative is added.
 */
function autograd(
  operations: Readonly<Record<string, Operation>>,
  ids: readonly string[],
  given: Readonly<Record<string, number>>,
  wrong?: { readonly edge: readonly [from: string, to: string]; readonly by: number },
): Record<string, number> {
  const leaves = ids.map((id) => tensor(operations[id] ? 0 : given[id]!, { requiresGrad: true }));
  const zero = customGradient((input: Tensor) => [input.mul(0), (dy: Tensor) => [dy.mul(wrong!.by)]]);
  const loss = (): Tensor => {
    const nodes: Record<string, Tensor> = {};
    for (const [i, id] of ids.entries()) {
      const operation = operations[id];
      const leaf = leaves[i]!;
      if (!operation) nodes[id] = leaf;
      else if (wrong?.edge[1] !== id)
        nodes[id] = operation.forward(...operation.inputs.map((from) => nodes[from]!)).add(leaf);
      else {
        const inputs = operation.inputs.map((from) => (from === wrong.edge[0] ? nodes[from]!.detach() : nodes[from]!));
        nodes[id] = operation
          .forward(...inputs)
          .add(zero(nodes[wrong.edge[0]]!))
          .add(leaf);
      }
    }
    return nodes.L!;
  };
  const gradient = objective(leaves, loss).gradient();
  return Object.fromEntries(ids.map((id, i) => [id, gradient[i]!]));
}
