/**
 * Reverse-mode differentiation over the op table, to any order. Gradients are computed with ops. With `createGraph`,
 * autograd records these ops too, so the gradients can be differentiated again. Higher-order gradients need no
 * additional code.
 *
 * No other file sums gradients over broadcast dims, accumulates them, or checks their shapes.
 */

import { currentWatch } from "../core/anomaly.ts";
import { currentRecorder, isGradEnabled, withGrad } from "../core/context.ts";
import { rejectOtherCopy } from "../core/copies.ts";
import { type Gradient, SparseGradient } from "../core/gradient.ts";
import { type GradientRule, Node, withNode } from "../core/graph.ts";
import { requireSynchronous, tidy } from "../core/scope.ts";
import { type BackwardOptions, type Edge, Tensor } from "../core/tensor.ts";
import type { SparseRows } from "../ops/definition/op.ts";
import { sameShape, show } from "../ops/definition/value.ts";
import { coalesce, densify } from "../ops/index/sparse.ts";
import { add } from "../ops/pointwise/arithmetic.ts";
import { sumTo } from "../ops/reduce/reduce.ts";
import { full } from "../ops/shape/shape.ts";
import { check, checkOptions } from "../runtime/arguments.ts";
import { Error, ShapeError, TypeError } from "../runtime/errors.ts";

export const onesLike = (x: Tensor): Tensor => full(x.shape, 1) as Tensor;

/** A tensor to differentiate, and its gradient. */
type Root = readonly [root: Tensor, seed: Tensor];

/**
 * Finds the nodes between the roots and the targets, earliest first. Also checks whether the graph has a target that is
 * not a leaf, or a leaf that requires a gradient but is not a target.
 * @param targets the edges to compute gradients for; null for all leaves
 */
function nodesBetween(
  roots: readonly Root[],
  targets: ReadonlySet<Edge> | null,
): { nodes: Node<Tensor>[]; needed: Set<Edge>; hasOtherLeaves: boolean } {
  const found = new Set<Node<Tensor>>();
  const needed = new Set<Edge>();
  let hasOtherLeaves = false;
  const pending = roots.flatMap(([root]) => root.edge ?? []);
  for (let edge = pending.pop(); edge; edge = pending.pop()) {
    if (targets?.has(edge) || edge instanceof Tensor) {
      if (edge instanceof Tensor && !edge.requiresGrad) continue;
      if (!targets || targets.has(edge)) needed.add(edge);
      // The caller may want to differentiate the gradients again, beyond a target that is not a leaf or with respect to
      // another leaf.
      if (edge instanceof Node || !targets?.has(edge)) hasOtherLeaves = true;
    } else if (!found.has(edge)) {
      found.add(edge);
      for (const next of edge.edges) if (next) pending.push(next);
    }
  }
  const nodes = [...found].sort((a, b) => a.id - b.id);
  for (const node of nodes) if (node.edges.some((edge) => edge && needed.has(edge))) needed.add(node);
  return { nodes, needed, hasOtherLeaves };
}

/** @internal */
export interface BackpropagateOptions {
  /** The edges to compute gradients for; null for all leaves. */
  targets: ReadonlySet<Edge> | null;
  /** Whether to keep the graph for another backward pass. */
  retain: boolean;
  /**
   * Whether to record the gradients for autograd. "auto" records them if gradients are enabled and the graph has a
   * target that is not a leaf, or a leaf that requires a gradient but is not a target.
   */
  create: boolean | "auto";
  /**
   * Whether gradients of leaves may be sparse. If so, a leaf's gradient is sparse if all of its terms are sparse and
   * none of them is recorded for autograd.
   */
  sparse?: boolean;
}

/**
 * For each target that the roots depend on, computes the sum of (∂root/∂target)ᵀ·seed over all roots. The results are
 * new tensors in the open scope. On an error, frees everything that it made.
 * @returns the gradients, those that are sparse, and whether they were recorded for autograd @internal
 */
export function backpropagate(
  roots: readonly Root[],
  options: BackpropagateOptions,
): { gradients: Map<Edge, Tensor>; sparse: Map<Tensor, SparseGradient<Tensor>>; created: boolean } {
  const graph = nodesBetween(roots, options.targets);
  const { hasOtherLeaves } = graph;
  const create = options.create === "auto" ? isGradEnabled() && hasOtherLeaves : options.create;
  const gradients = new Map<Edge, Tensor>();

  /** Adds a gradient to the sum of an edge's gradients. The new sum is always a new tensor. */
  const accumulate = (edge: Edge, g: Tensor): Tensor => {
    const before = gradients.get(edge);
    const sum = before ? (add(before, g) as Tensor) : g.alias(g.shape);
    gradients.set(edge, sum);
    before?.dispose();
    return sum;
  };

  /** The sparse gradients of each leaf. */
  const parts = new Map<Tensor, SparseRows[]>();
  /** Adds the gradient of a node's first input to its leaf's sparse gradients. Returns undefined if the gradient is not sparse. */
  const addSparse = (node: Node<Tensor>, dy: Tensor, context: Context): SparseRows | undefined => {
    const [leaf] = node.edges;
    if (!options.sparse || create || !(leaf instanceof Tensor) || !context.needs[0]) return undefined;
    const part = node.rule.sparse?.(dy, context);
    if (!part) return undefined;
    const own = { index: part.index, rows: (part.rows as Tensor).alias(part.rows.shape) };
    parts.set(leaf, [...(parts.get(leaf) ?? []), own]);
    return own;
  };
  /** Sums the sparse gradients of each leaf. If a leaf also has a dense gradient, adds the sparse ones to it. */
  const sumSparse = (): Map<Tensor, SparseGradient<Tensor>> => {
    const sums = new Map<Tensor, SparseGradient<Tensor>>();
    for (const [leaf, own] of parts) {
      const n = leaf.shape[0]!;
      if (gradients.has(leaf)) for (const part of own) accumulate(leaf, densify(part, n) as Tensor);
      else sums.set(leaf, sparseGradient(own, n));
    }
    return sums;
  };

  /** Runs the gradient rules of the nodes between the roots and the targets, from the last to the first. */
  const propagate = (roots: readonly Root[], { nodes, needed }: Pick<typeof graph, "nodes" | "needed">): void => {
    for (const [root, seed] of roots) if (root.edge && needed.has(root.edge)) accumulate(root.edge, seed);
    for (let i = nodes.length - 1; i >= 0; i--) {
      const node = nodes[i]!;
      const { vjp, composed, recompute } = node.rule;
      const [first, ...more] = node.outputs.map((output) => output && gradients.get(output));
      if (!(vjp || recompute) || !needed.has(node) || !(first || more.some((dy) => dy))) continue;
      const backward = (): unknown => {
        const needs = node.edges.map((edge) => edge !== null && needed.has(edge));
        const context = node.context(needs, more, Tensor.wrap);
        if (recompute) {
          const made = withGrad(true, () => recompute(context.inputs, node.id)) as Tensor[];
          const again = made.flatMap((y, k): Root[] => (more[k] ? [[y, more[k]]] : []));
          propagate(again, nodesBetween(again, new Set(node.edges.filter((edge, k) => edge && needs[k]) as Edge[])));
          return [gradients, parts];
        }
        const dy = first ?? (full(node.outputShape, 0) as Tensor);
        const part = addSparse(node, dy, context);
        if (part) return [part.index, part.rows] as Tensor[];
        const results = create && composed ? recordGradient(node, dy, context) : vjp!(dy, context);
        return node.edges.map((edge, k) => {
          const g = results[k];
          if (!edge || !needs[k] || !g) return null;
          return accumulate(edge, reduceTo(g as Tensor, node.inputShapes[k]!, node.rule.name));
        });
      };
      tidy(() => withNode(node, backward));
      for (const output of node.outputs) {
        if (!output) continue;
        gradients.get(output)?.dispose();
        gradients.delete(output);
      }
      if (!options.retain && !create) node.free();
    }
  };
  return tidy(() => {
    withGrad(create, () => propagate(roots, graph));
    return { gradients, sparse: sumSparse(), created: create };
  });
}

/** The sum of sparse gradients of a table with n rows. */
function sparseGradient(parts: readonly SparseRows[], n: number): SparseGradient<Tensor> {
  const { index, rows } = coalesce(parts, n);
  return new SparseGradient(index as Tensor, rows as Tensor, n);
}

type Context = Parameters<NonNullable<GradientRule["vjp"]>>[1];

/**
 * Computes gradients with an op's gradient kernel and records them for autograd as one node. To differentiate that
 * node, autograd uses the ops that the op is composed of.
 */
function recordGradient({ rule }: Node<Tensor>, dy: Tensor, context: Context): (Tensor | null)[] {
  const { inputs, attributes, needs, more } = context;
  const results = withGrad(false, () => rule.vjp!(dy, context)) as (Tensor | null)[];
  const wanted = results.flatMap((g, k) => (g && needs[k] ? [k] : []));
  const hasSeed = more.map((seed) => seed !== undefined);
  const sources = [dy, ...more.filter((seed) => seed), ...inputs] as Tensor[];
  if (!wanted.length) return results;
  const outputs = wanted.map((k) => withGrad(false, () => reduceTo(results[k]!, inputs[k]!.shape, rule.name)).detach());
  const vjp: GradientRule["vjp"] = (d, second) => {
    const seconds = [d, ...second.more] as (Tensor | undefined)[];
    const { proxies, gradients: first } = withGrad(true, () => {
      const proxies = proxiesOf(second);
      const rest = proxies.slice(1);
      const seeds = hasSeed.map((has) => (has ? rest.shift() : undefined));
      const again = { inputs: rest, outputs: [], attributes, needs, more: seeds };
      return { proxies, gradients: composedGradients(rule.composed!, proxies[0]!, again) };
    });
    const roots = wanted.flatMap((k, i): [Tensor, Tensor][] => {
      const [g, seed] = [first[k], seconds[i]];
      return g?.requiresGrad && seed ? [[g, seed]] : [];
    });
    return gradientsOf(proxies, second.needs, roots, isGradEnabled());
  };
  const name = `${rule.name}Grad`;
  const node = new Node<Tensor>(
    { name, saves: "input", differentiable: outputs.length, vjp },
    null,
    sources.map((x) => x.edge),
    sources,
    outputs,
  );
  outputs.forEach((g, i) => void g.attach(node.output(i)));
  return results.map((_, k) => outputs[wanted.indexOf(k)] ?? null);
}

/** Computes an op's gradients with the ops that the op is composed of, and records them for autograd. */
function composedGradients(
  composed: NonNullable<GradientRule["composed"]>,
  dy: Tensor,
  { inputs, attributes, needs, more }: Context,
): (Tensor | null)[] {
  const proxies = proxiesOf({ inputs, needs });
  const outputs = composed(proxies, attributes) as Tensor[];
  const roots = outputs.flatMap((y, k): [Tensor, Tensor][] => {
    const seed = k ? more[k - 1] : dy;
    return seed && y.requiresGrad ? [[y, seed as Tensor]] : [];
  });
  return gradientsOf(proxies, needs, roots, true);
}

/**
 * Returns an op's inputs, with an alias in place of each input that needs a gradient. An alias has a new graph node, at
 * which backpropagation through the op ends.
 */
const proxiesOf = ({ inputs, needs }: Pick<Context, "inputs" | "needs">): Tensor[] =>
  inputs.map((x, i) => (needs[i] ? (x as Tensor).alias(x.shape) : (x as Tensor)));

/** The gradients of the roots with respect to the proxies that need a gradient; null for the other proxies. */
function gradientsOf(
  proxies: readonly Tensor[],
  needs: readonly boolean[],
  roots: readonly Root[],
  create: boolean,
): (Tensor | null)[] {
  const targets = new Set(proxies.flatMap((x, i) => (needs[i] ? x.edge! : [])));
  const { gradients } = backpropagate(roots, { targets, retain: true, create });
  return proxies.map((x, i) => {
    const g = needs[i] && gradients.get(x.edge!);
    return g ? g : null;
  });
}

/** Sums a gradient over the dims along which the op's input was broadcast. */
function reduceTo(g: Tensor, shape: readonly number[], op: string): Tensor {
  if (sameShape(g.shape, shape)) return g;
  const offset = g.shape.length - shape.length;
  if (offset < 0 || shape.some((n, i) => n !== 1 && n !== g.shape[i + offset])) {
    throw new ShapeError(
      `${op}: its gradient rule returned ${show(g.shape)} for an input ${show(shape)}. This is a bug in the rule.`,
    );
  }
  return sumTo(g, shape) as Tensor;
}

let leafCheck: ((leaves: Iterable<Edge>) => void) | null = null;

/** Registers a check to run on the leaves that backward reaches. nn/ calls installLeafCheck once. @internal */
export function installLeafCheck(check: (leaves: Iterable<Edge>) => void): void {
  leafCheck = check;
}

/** Implements Tensor.backward. @throws ShapeError, Error */
export function backward(loss: Tensor, options: BackwardOptions = {}): void {
  checkOptions("backward", options, "{gradient:tensor retainGraph:boolean createGraph:boolean}");
  const { gradient, createGraph = false, retainGraph = createGraph } = options;
  loss.storage("backward");
  rejectOtherCopy("backward", "the gradient", gradient);
  if (!loss.requiresGrad) {
    throw new Error(
      "backward: the tensor depends on nothing that requires a gradient. Set requiresGrad on the parameters, and compute the loss outside noGrad.",
    );
  }
  if (!gradient && loss.size !== 1) {
    throw new ShapeError(
      `backward: the tensor is ${show(loss.shape)}, not a single number. Reduce it with sum() or mean(), or pass { gradient }.`,
    );
  }
  if (gradient && !sameShape(gradient.shape, loss.shape)) {
    throw new ShapeError(
      `backward: the gradient is ${show(gradient.shape)}, but the tensor is ${show(loss.shape)}. Reshape the gradient.`,
    );
  }
  currentWatch()?.require(loss, "a loss");
  tidy(() => {
    const { gradients, sparse } = backpropagate([[loss, gradient ?? onesLike(loss)]], {
      targets: null,
      retain: retainGraph,
      create: createGraph,
      sparse: true,
    });
    leafCheck?.([...gradients.keys(), ...sparse.keys()]);
    // Compute all gradients before writing any, so that every .grad is unchanged if memory runs out.
    const updates = [...gradients, ...sparse].flatMap(([leaf, g]) => {
      if (!(leaf instanceof Tensor) || leaf.isDisposed) return [];
      const values = g instanceof SparseGradient ? g.rows : g;
      currentWatch()?.require(values, `the gradient of a parameter ${show(leaf.shape)}`);
      currentRecorder()?.gradient(leaf, "added");
      const before = leaf.gradient;
      const own = withGrad(createGraph, () => (before ? addGradients(before, g) : ownMemory(g)));
      if (own !== g) g.dispose();
      return [{ leaf, before, own }];
    });
    for (const { leaf, before, own } of updates) {
      leaf.gradient = own.keep();
      before?.disposeBecause("backward, which replaced the gradient");
    }
  });
}

/** The sum of two gradients, which is sparse if both are. */
function addGradients(a: Gradient<Tensor>, b: Gradient<Tensor>): Gradient<Tensor> {
  if (a instanceof SparseGradient && b instanceof SparseGradient) return sparseGradient([a, b], a.n);
  const table = (g: Gradient<Tensor>): Tensor => (g instanceof SparseGradient ? (densify(g, g.n) as Tensor) : g);
  return add(table(a), table(b)) as Tensor;
}

/** The gradient, or a copy if it shares memory, because a write to `grad` must not change another gradient. */
const ownMemory = (g: Gradient<Tensor>): Gradient<Tensor> => (g instanceof Tensor && g.isShared ? g.clone() : g);

Tensor.prototype.backward = function (options) {
  backward(this, options);
};

/**
 * Runs f without autograd: its results do not require gradients.
 * @returns the result of f
 * @throws Error if f returns a promise
 */
export function noGrad<T>(f: () => T): T {
  check("noGrad", arguments, "f:function");
  const result = withGrad(false, f);
  requireSynchronous("noGrad", result);
  for (const part of Array.isArray(result) ? result : [result]) rejectOtherCopy("noGrad", "the result", part);
  return result;
}

/**
 * Makes a function with a custom gradient. f returns the function's value and a rule that maps dy to one gradient per
 * argument, or null for arguments without a gradient. The rule receives dy and the arguments and computes with ops, so
 * it can be differentiated too. Other tensors that f computes are freed; the rule must recompute them if it needs them.
 *
 * ```ts
 * const clipped = customGradient((x: Tensor) => [x, (dy: Tensor) => [dy.clamp(-1, 1)]]);
 * ```
 */
export function customGradient<A extends Tensor[]>(
  f: (...xs: A) => [value: Tensor, rule: (dy: Tensor, ...xs: A) => (Tensor | null)[]],
): (...xs: A) => Tensor {
  check("customGradient", arguments, "f:function");
  return withRule(f);
}

/** `customGradient` without its argument check, for functions that nabla itself defines while it loads. @internal */
export function withRule<A extends Tensor[]>(
  f: Parameters<typeof customGradient<A>>[0],
): ReturnType<typeof customGradient<A>> {
  return (...xs) => {
    xs.forEach((x, i) => void rejectOtherCopy("customGradient", `argument ${i}`, x));
    const [result, rule] = tidy(() => {
      const [value, own] = withGrad(false, () => f(...xs));
      rejectOtherCopy("customGradient", "the value", value);
      return [value.detach(), own];
    });
    if (!isGradEnabled() || !xs.some((x) => x.requiresGrad)) return result;
    const vjp: GradientRule["vjp"] = (dy, { inputs }) => {
      const gradients = rule(dy as Tensor, ...(inputs as Tensor[] as A));
      if (Array.isArray(gradients) && gradients.length === xs.length) {
        gradients.forEach((g, i) => void rejectOtherCopy("customGradient", `gradient ${i} of the rule`, g));
        return gradients;
      }
      throw new TypeError(
        `customGradient: the rule must return an array of length ${xs.length}, with a gradient or null for each argument.`,
      );
    };
    return result.attach(
      new Node<Tensor>(
        { name: "customGradient", saves: "input", vjp },
        null,
        xs.map((x) => x.edge),
        xs,
        [result],
      ),
    );
  };
}
