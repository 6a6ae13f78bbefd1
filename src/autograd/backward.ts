/**
 * Reverse mode over the op table, to any order. Gradients are computed by ops, so with `createGraph` they are recorded
 * themselves and can be differentiated again; that is all that higher orders need.
 *
 * This file alone sums gradients back over broadcast dimensions, accumulates, and checks their shapes.
 */

import { currentWatch } from "../core/anomaly.ts";
import { rejectOtherCopy } from "../core/copies.ts";
import { type GradientRule, Node, within } from "../core/graph.ts";
import { requireSynchronous, tidy } from "../core/scope.ts";
import { type BackwardOptions, currentRecorder, type Edge, isGradEnabled, Tensor, withGrad } from "../core/tensor.ts";
import { sameShape, show } from "../ops/definition/value.ts";
import { add } from "../ops/pointwise/arithmetic.ts";
import { sumTo } from "../ops/reduce/reduce.ts";
import { full } from "../ops/shape/shape.ts";
import { check, checkOptions } from "../runtime/arguments.ts";
import { Error, ShapeError, TypeError } from "../runtime/errors.ts";

export const onesLike = (x: Tensor): Tensor => full(x.shape, 1) as Tensor;

/** The nodes between some results and the targets, earliest first, and whether other leaves were met on the way. */
function nodesBetween(
  roots: readonly Edge[],
  targets: ReadonlySet<Edge> | null,
): { nodes: Node<Tensor>[]; needed: Set<Edge>; otherLeaves: boolean } {
  const found = new Set<Node<Tensor>>();
  const needed = new Set<Edge>();
  let otherLeaves = false;
  const pending = [...roots];
  for (let edge = pending.pop(); edge; edge = pending.pop()) {
    if (targets?.has(edge) || edge instanceof Tensor) {
      if (edge instanceof Tensor && !edge.requiresGrad) continue;
      if (!targets || targets.has(edge)) needed.add(edge);
      // A target in the midst of a graph, or another leaf: someone outside differentiates too.
      if (edge instanceof Node || !targets?.has(edge)) otherLeaves = true;
    } else if (!found.has(edge)) {
      found.add(edge);
      for (const next of edge.edges) if (next) pending.push(next);
    }
  }
  const nodes = [...found].sort((a, b) => a.id - b.id);
  for (const node of nodes) if (node.edges.some((edge) => edge && needed.has(edge))) needed.add(node);
  return { nodes, needed, otherLeaves };
}

/** @internal */
export interface BackpropagateOptions {
  /** Whose gradients are asked for; null: of every leaf. */
  targets: ReadonlySet<Edge> | null;
  /** Keep the graph for another pass. */
  retain: boolean;
  /** Record the gradients themselves; "auto": if anything besides the targets could be differentiated. */
  create: boolean | "auto";
}

/**
 * Σ over roots of (∂root/∂target)ᵀ·seed, for each target that was reached: tensors of the open scope, each with a handle of its own.
 * If it fails, nothing that it made remains. @internal
 */
export function backpropagate(
  roots: readonly (readonly [root: Tensor, seed: Tensor])[],
  options: BackpropagateOptions,
): { gradients: Map<Edge, Tensor>; created: boolean } {
  const edges = roots.flatMap(([root]) => root.edge ?? []);
  const { nodes, needed, otherLeaves } = nodesBetween(edges, options.targets);
  const create = options.create === "auto" ? isGradEnabled() && otherLeaves : options.create;
  const gradients = new Map<Edge, Tensor>();

  /** Adds a gradient to what an edge has so far; the sum gets a handle of its own. */
  const accumulate = (edge: Edge, g: Tensor): Tensor => {
    const before = gradients.get(edge);
    const sum = before ? (add(before, g) as Tensor) : g.alias(g.shape);
    gradients.set(edge, sum);
    before?.dispose();
    return sum;
  };

  const run = (): void => {
    for (const [root, seed] of roots) if (root.edge && needed.has(root.edge)) accumulate(root.edge, seed);
    for (let i = nodes.length - 1; i >= 0; i--) {
      const node = nodes[i]!;
      const { vjp, composed } = node.rule;
      const [first, ...more] = node.outputs.map((output) => output && gradients.get(output));
      if (!vjp || !needed.has(node) || !(first || more.some((dy) => dy))) continue;
      const backward = (): (Tensor | null)[] => {
        const needs = node.edges.map((edge) => edge !== null && needed.has(edge));
        const dy = first ?? (full(node.outputShape, 0) as Tensor);
        const context = node.context(needs, more, Tensor.wrap);
        const results = create && composed ? recorded(node, dy, context) : vjp(dy, context);
        return node.edges.map((edge, k) => {
          const g = results[k];
          if (!edge || !needs[k] || !g) return null;
          return accumulate(edge, reduceTo(g as Tensor, node.inputShapes[k]!, node.rule.name));
        });
      };
      tidy(() => within(node, backward));
      for (const output of node.outputs) {
        if (!output) continue;
        gradients.get(output)?.dispose();
        gradients.delete(output);
      }
      if (!options.retain && !create) node.free();
    }
  };
  return tidy(() => {
    withGrad(create, run);
    return { gradients, created: create };
  });
}

type Context = Parameters<NonNullable<GradientRule["vjp"]>>[1];

/**
 * The gradients by an op's own kernel, recorded as one node, which goes through what the op is composed of only when it is itself
 * differentiated.
 */
function recorded({ rule }: Node<Tensor>, dy: Tensor, context: Context): (Tensor | null)[] {
  const { inputs, attributes, needs, more } = context;
  const results = withGrad(false, () => rule.vjp!(dy, context)) as (Tensor | null)[];
  const wanted = results.flatMap((g, k) => (g && needs[k] ? [k] : []));
  const arrived = more.map((seed) => seed !== undefined);
  const sources = [dy, ...more.filter((seed) => seed), ...inputs] as Tensor[];
  if (!wanted.length) return results;
  const outputs = wanted.map((k) => withGrad(false, () => reduceTo(results[k]!, inputs[k]!.shape, rule.name)).detach());
  const vjp: GradientRule["vjp"] = (d, second) => {
    const seconds = [d, ...second.more] as (Tensor | undefined)[];
    const { stands, gradients: first } = withGrad(true, () => {
      const own = standsFor(second);
      const rest = own.slice(1);
      const seeds = arrived.map((there) => (there ? rest.shift() : undefined));
      const again = { inputs: rest, outputs: [], attributes, needs, more: seeds };
      return { stands: own, gradients: throughComposed(rule.composed!, own[0]!, again) };
    });
    const roots = wanted.flatMap((k, i): [Tensor, Tensor][] => {
      const [g, seed] = [first[k], seconds[i]];
      return g?.requiresGrad && seed ? [[g, seed]] : [];
    });
    return gradientsOf(stands, second.needs, roots, isGradEnabled());
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

/** The gradients of an op by way of the ops that it could be composed of: recorded, they can be differentiated again. */
function throughComposed(
  composed: NonNullable<GradientRule["composed"]>,
  dy: Tensor,
  { inputs, attributes, needs, more }: Context,
): (Tensor | null)[] {
  const stands = standsFor({ inputs, needs });
  const outputs = composed(stands, attributes) as Tensor[];
  const roots = outputs.flatMap((y, k): [Tensor, Tensor][] => {
    const seed = k ? more[k - 1] : dy;
    return seed && y.requiresGrad ? [[y, seed as Tensor]] : [];
  });
  return gradientsOf(stands, needs, roots, true);
}

/** What stands for an op's inputs, with places of their own in the graph, where the gradients of this op alone end. */
const standsFor = ({ inputs, needs }: Pick<Context, "inputs" | "needs">): Tensor[] =>
  inputs.map((x, i) => (needs[i] ? (x as Tensor).alias(x.shape) : (x as Tensor)));

/** The gradients of roots by those stands that need one. */
function gradientsOf(
  stands: readonly Tensor[],
  needs: readonly boolean[],
  roots: readonly (readonly [root: Tensor, seed: Tensor])[],
  create: boolean,
): (Tensor | null)[] {
  const targets = new Set(stands.flatMap((x, i) => (needs[i] ? x.edge! : [])));
  const { gradients } = backpropagate(roots, { targets, retain: true, create });
  return stands.map((x, i) => {
    const g = needs[i] && gradients.get(x.edge!);
    return g ? g : null;
  });
}

/** A gradient summed back over the dimensions along which its input was broadcast. */
function reduceTo(g: Tensor, shape: readonly number[], op: string): Tensor {
  if (sameShape(g.shape, shape)) return g;
  const offset = g.shape.length - shape.length;
  if (offset < 0 || shape.some((n, i) => n !== 1 && n !== g.shape[i + offset])) {
    throw new ShapeError(
      `${op}: its gradient rule returned ${show(g.shape)} for an input ${show(shape)}: that is a defect in the rule.`,
    );
  }
  return sumTo(g, shape) as Tensor;
}

let leafCheck: ((leaves: Iterable<Edge>) => void) | null = null;

/** Called by nn/, with what looks at the leaves that a backward pass reached. @internal */
export function installLeafCheck(check: (leaves: Iterable<Edge>) => void): void {
  leafCheck = check;
}

/**
 * Adds dloss/dp to `p.grad` of every leaf p that `loss` depends on.
 * @throws ShapeError if loss is not one number and no gradient is given
 */
export function backward(loss: Tensor, options: BackwardOptions = {}): void {
  checkOptions("backward", options, "{gradient:tensor retainGraph:boolean createGraph:boolean}");
  const { gradient, createGraph = false, retainGraph = createGraph } = options;
  loss.storage("backward");
  rejectOtherCopy("backward", "the gradient", gradient);
  if (!loss.requiresGrad) {
    throw new Error(
      "backward: the tensor depends on nothing that requires a gradient. Set requiresGrad on what is to be learnt, and compute it outside noGrad.",
    );
  }
  if (!gradient && loss.size !== 1) {
    throw new ShapeError(
      `backward: the tensor is ${show(loss.shape)}, not one number. Reduce it with sum() or mean(), or pass { gradient }.`,
    );
  }
  if (gradient && !sameShape(gradient.shape, loss.shape)) {
    throw new ShapeError(`backward: the gradient is ${show(gradient.shape)}, but the tensor is ${show(loss.shape)}.`);
  }
  currentWatch()?.require(loss, "a loss");
  tidy(() => {
    const { gradients } = backpropagate([[loss, gradient ?? onesLike(loss)]], {
      targets: null,
      retain: retainGraph,
      create: createGraph,
    });
    leafCheck?.(gradients.keys());
    // All are made before the first is put into its leaf: if memory runs out, .grad is as before.
    const arrived = Array.from(gradients).flatMap(([leaf, g]) => {
      if (!(leaf instanceof Tensor) || leaf.isDisposed) return [];
      currentWatch()?.require(g, `the gradient of a parameter ${show(leaf.shape)}`);
      currentRecorder()?.gradient(leaf, "added");
      const before = leaf.grad;
      // What is left in .grad is the leaf's alone: writing to it must not change another's.
      const own = withGrad(createGraph, () => (before ? (add(before, g) as Tensor) : g.isShared ? g.clone() : g));
      if (own !== g) g.dispose();
      return [{ leaf, before, own }];
    });
    for (const { leaf, before, own } of arrived) {
      leaf.grad = own.keep();
      before?.disposeBecause("backward, which put a new gradient in its place");
    }
  });
}

Tensor.prototype.backward = function (options) {
  backward(this, options);
};

/** Runs f without recording for gradients. */
export function noGrad<T>(f: () => T): T {
  check("noGrad", arguments, "f:function");
  const result = withGrad(false, f);
  requireSynchronous("noGrad", result);
  for (const part of Array.isArray(result) ? result : [result]) rejectOtherCopy("noGrad", "the result", part);
  return result;
}

/**
 * A function with a gradient of your own: f returns its value and the rule that sends dy back to each argument. The rule is
 * made of ops on dy and on the arguments, which it is given again, so it can be differentiated itself. What else f computed
 * is freed, and the rule computes again what it needs of it.
 *
 * ```ts
 * const clipped = customGradient((x: Tensor) => [x, (dy: Tensor) => [dy.clamp(-1, 1)]]);
 * ```
 */
export function customGradient<A extends Tensor[]>(
  f: (...xs: A) => [value: Tensor, rule: (dy: Tensor, ...xs: A) => (Tensor | null)[]],
): (...xs: A) => Tensor {
  check("customGradient", arguments, "f:function");
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
        `customGradient: the rule must return a list of ${xs.length}, a gradient (or null) for each argument.`,
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
