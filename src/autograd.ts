/**
 * Reverse mode over the op table, to any order. Gradients are computed by ops, so with `createGraph` they are recorded
 * themselves and can be differentiated again; that is all that higher orders need.
 *
 * This file alone sums gradients back over broadcast dimensions, accumulates, and checks their shapes.
 */
import { ShapeError } from "./runtime/errors.ts";
import { add, mul } from "./ops/arithmetic.ts";
import { sum, sumTo } from "./ops/reduce.ts";
import { full, stack } from "./ops/shape.ts";
import { sameShape, show } from "./ops/value.ts";
import { type BackwardOptions, type Edge, fromElements, isGradEnabled, Node, type Rule, Tensor, tensorsIn, tidy, withGrad } from "./tensor.ts";

const onesLike = (x: Tensor): Tensor => full(x.shape, 1) as Tensor;
const zerosLike = (x: Tensor): Tensor => full(x.shape, 0) as Tensor;

/** The nodes between some results and the targets, earliest first, and whether other leaves were met on the way. */
function nodesBetween(roots: readonly Edge[], targets: ReadonlySet<Edge> | null): { nodes: Node[]; needed: Set<Edge>; otherLeaves: boolean } {
  const found = new Set<Node>();
  const needed = new Set<Edge>();
  let otherLeaves = false;
  const pending = [...roots];
  for (let edge = pending.pop(); edge; edge = pending.pop()) {
    if (targets?.has(edge) || edge instanceof Tensor) {
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

interface Options {
  /** Whose gradients are asked for; null: of every leaf. */
  targets: ReadonlySet<Edge> | null;
  /** Keep the graph for another pass. */
  retain: boolean;
  /** Record the gradients themselves; "auto": if anything besides the targets could be differentiated. */
  create: boolean | "auto";
}

/**
 * Σ over roots of (∂root/∂target)ᵀ·seed, for each target that was reached. The tensors returned are the caller's to
 * dispose.
 */
function backpropagate(roots: readonly (readonly [root: Tensor, seed: Tensor])[], options: Options): { gradients: Map<Edge, Tensor>; created: boolean } {
  const edges = roots.flatMap(([root]) => root.edge ?? []);
  const { nodes, needed, otherLeaves } = nodesBetween(edges, options.targets);
  const create = options.create === "auto" ? isGradEnabled() && otherLeaves : options.create;
  const gradients = new Map<Edge, Tensor>();

  /** Adds a gradient to what an edge has so far; the sum gets a handle of its own. */
  const accumulate = (edge: Edge, g: Tensor): void => {
    const before = gradients.get(edge);
    gradients.set(edge, (before ? (add(before, g) as Tensor) : g.view(g.shape)).keep());
    before?.dispose();
  };

  withGrad(create, () => {
    tidy(() => {
      for (const [root, seed] of roots) if (root.edge && needed.has(root.edge)) accumulate(root.edge, seed);
    });
    for (let i = nodes.length - 1; i >= 0; i--) {
      const node = nodes[i]!;
      const dy = gradients.get(node);
      if (!dy || !needed.has(node)) continue;
      tidy(() => {
        const needs = node.edges.map((edge) => edge !== null && needed.has(edge));
        const results = node.rule.vjp!(dy, node.context(needs));
        node.edges.forEach((edge, k) => {
          const g = results[k];
          if (!edge || !needs[k] || !g) return;
          accumulate(edge, reduceTo(g as Tensor, node.inputShapes[k]!, node.rule.name));
        });
      });
      gradients.delete(node);
      dy.dispose();
      if (!options.retain && !create) node.free();
    }
  });
  return { gradients, created: create };
}

/** A gradient summed back over the dimensions along which its input was broadcast. */
function reduceTo(g: Tensor, shape: readonly number[], op: string): Tensor {
  if (sameShape(g.shape, shape)) return g;
  const offset = g.shape.length - shape.length;
  if (offset < 0 || shape.some((n, i) => n !== 1 && n !== g.shape[i + offset])) {
    throw new ShapeError(`${op}: its gradient rule returned ${show(g.shape)} for an input ${show(shape)}: that is a defect in the rule.`);
  }
  return sumTo(g, shape) as Tensor;
}

/**
 * Adds dloss/dp to `p.grad` of every leaf p that `loss` depends on.
 * @throws ShapeError if loss is not one number and no gradient is given
 */
export function backward(loss: Tensor, { gradient, createGraph = false, retainGraph = createGraph }: BackwardOptions = {}): void {
  if (!loss.requiresGrad) {
    throw new Error("backward: the tensor depends on nothing that requires a gradient. Set requiresGrad on what is to be learnt, and compute it outside noGrad.");
  }
  if (!gradient && loss.size !== 1) {
    throw new ShapeError(`backward: the tensor is ${show(loss.shape)}, not one number. Reduce it with sum() or mean(), or pass { gradient }.`);
  }
  if (gradient && !sameShape(gradient.shape, loss.shape)) {
    throw new ShapeError(`backward: the gradient is ${show(gradient.shape)}, but the tensor is ${show(loss.shape)}.`);
  }
  tidy(() => {
    const { gradients } = backpropagate([[loss, gradient ?? onesLike(loss)]], { targets: null, retain: retainGraph, create: createGraph });
    for (const [leaf, g] of gradients) {
      if (!(leaf instanceof Tensor)) continue;
      const before = leaf.grad;
      leaf.grad = before ? withGrad(createGraph, () => (add(before, g) as Tensor).keep()) : g;
      if (!before) continue;
      before.dispose();
      g.dispose();
    }
  });
}

Tensor.prototype.backward = function (options) {
  backward(this, options);
};

/** Runs f without recording for gradients. */
export function noGrad<T>(f: () => T): T {
  return withGrad(false, f);
}

const identityRule: Rule = { name: "identity", vjp: (dy) => [dy] };

/** A stand-in for x at which gradients stop: a leaf, or an identity where x itself is being differentiated from outside. */
function variable(x: Tensor): Tensor {
  if (x.dtype !== "float32") x.detach().requiresGrad = true; // throws a DTypeError that says so
  const stand = x.detach();
  const { edge } = x;
  if (edge && isGradEnabled()) stand.attach(new Node(identityRule, null, [edge], [x], [stand]));
  else stand.requiresGrad = true;
  return stand;
}

/** The same structure with every tensor replaced. */
function mapTensors<T>(value: T, f: (x: Tensor) => unknown): T {
  if (value instanceof Tensor) return f(value) as T;
  if (Array.isArray(value)) return value.map((part) => mapTensors(part, f)) as T;
  if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, mapTensors(part, f)])) as T;
  }
  return value;
}

/** Arguments with the chosen ones replaced by variables, and a list of those. */
function makeVariables<A extends unknown[]>(args: A, argnums: readonly number[], name: string): { inputs: A; variables: Tensor[]; originals: Tensor[] } {
  const variables: Tensor[] = [];
  const originals: Tensor[] = [];
  for (const i of argnums) {
    if (!tensorsIn(args[i]).size) throw new TypeError(`${name}: argument ${i} holds no tensor to differentiate by.`);
  }
  const inputs = args.map((arg, i) =>
    argnums.includes(i)
      ? mapTensors(arg, (x) => {
          const stand = variable(x);
          variables.push(stand);
          originals.push(x);
          return stand;
        })
      : arg,
  ) as A;
  return { inputs, variables, originals };
}

/** The result that differentiation starts from. */
function requireTensor(name: string, y: unknown): Tensor {
  if (!(y instanceof Tensor)) throw new TypeError(`${name}: the function must return a tensor, but returned ${y === null ? "null" : typeof y}.`);
  return y;
}
function requireScalar(name: string, y: unknown): Tensor {
  const tensor = requireTensor(name, y);
  if (tensor.size !== 1) {
    throw new ShapeError(`${name}: the function returned ${show(tensor.shape)}, not one number. Reduce it with sum() or mean(), or use jacobian or vjp.`);
  }
  return tensor;
}

/** Gradients by variable, zeros where none arrived. */
function collect(variables: readonly Tensor[], gradients: ReadonlyMap<Edge, Tensor>): Tensor[] {
  return variables.map((x) => gradients.get(x.edge!) ?? zerosLike(x));
}

const targetsOf = (variables: readonly Tensor[]): Set<Edge> => new Set(variables.map((x) => x.edge!));

/** Which arguments to differentiate by: one, whose gradient is returned as it is, or several, returned as a list. */
export type ArgNums = number | readonly number[];
type Gradients<A extends unknown[], N> = N extends number ? A[N & keyof A] : { [K in keyof N]: A[N[K] & keyof A] };

/**
 * f's value and its gradient with respect to the arguments `argnums` (the first by default), which may be tensors or
 * nested arrays and objects of them; the gradient has the same structure. f must return one number.
 *
 * ```ts
 * const [y, g] = valueAndGrad((x: Tensor) => x.square().sum())(tensor([1, 2]));   // 5, [2, 4]
 * ```
 * @throws ShapeError, TypeError
 */
export function valueAndGrad<A extends unknown[], const N extends ArgNums = 0>(
  f: (...args: A) => Tensor,
  argnums?: N,
): (...args: A) => [Tensor, Gradients<A, N>] {
  const chosen: ArgNums = argnums ?? 0;
  const list = typeof chosen === "number" ? [chosen] : chosen;
  return (...args) =>
    tidy(() => {
      const { inputs, variables } = makeVariables(args, list, "grad");
      const y = requireScalar("grad", withGrad(true, () => f(...inputs)));
      const { gradients, created } = backpropagate([[y, onesLike(y)]], { targets: targetsOf(variables), retain: false, create: "auto" });
      const flat = collect(variables, gradients).values();
      const structured = list.map((i) => mapTensors(args[i], () => handOver(flat.next().value!)));
      return [created ? y : y.detach(), (typeof chosen === "number" ? structured[0] : structured) as Gradients<A, N>];
    });
}

/** A gradient made by backpropagate, as an ordinary tensor of the open scope. */
function handOver(g: Tensor): Tensor {
  if (!g.isKept) return g;
  const own = g.view(g.shape);
  g.dispose();
  return own;
}

/** f's gradient with respect to the arguments `argnums` (the first by default): see valueAndGrad. */
export function grad<A extends unknown[], const N extends ArgNums = 0>(
  f: (...args: A) => Tensor,
  argnums?: N,
): (...args: A) => Gradients<A, N> {
  const both = valueAndGrad(f, argnums);
  return (...args) => tidy(() => both(...args)[1]);
}

/**
 * f's value and its pullback: dy ↦ (∂f/∂x)ᵀ·dy for each argument. The pullback may be called any number of times.
 */
export function vjp<A extends Tensor[]>(f: (...xs: A) => Tensor, ...xs: A): [Tensor, (dy: Tensor) => Tensor[]] {
  const { inputs, variables } = makeVariables(xs, xs.map((_, i) => i), "vjp");
  const y = requireTensor("vjp", withGrad(true, () => f(...inputs)));
  const pullback = (dy: Tensor): Tensor[] =>
    tidy(() => {
      if (!sameShape(dy.shape, y.shape)) throw new ShapeError(`vjp: the gradient is ${show(dy.shape)}, but the value is ${show(y.shape)}.`);
      // Retained by create or by a live dy: the pullback is a function of dy too.
      const { gradients } = backpropagate([[y, dy]], { targets: targetsOf(variables), retain: true, create: isGradEnabled() && dy.requiresGrad ? true : "auto" });
      return collect(variables, gradients).map(handOver);
    });
  return [y, pullback];
}

/**
 * f's value and its derivative along a direction: [f(x), (∂f/∂x)·v], by differentiating the pullback, which is linear, once
 * more. `xs` and `vs` are one tensor each, or lists.
 */
export function jvp<X extends Tensor | Tensor[]>(f: (...xs: X extends Tensor[] ? X : [X]) => Tensor, xs: X, vs: X): [Tensor, Tensor] {
  const [points, directions] = [[xs].flat() as Tensor[], [vs].flat() as Tensor[]];
  points.forEach((x, i) => {
    const v = directions[i];
    if (!v || !sameShape(v.shape, x.shape)) throw new ShapeError(`jvp: direction ${i} is ${v ? show(v.shape) : "missing"}, but the point is ${show(x.shape)}.`);
  });
  return tidy(() => {
    const { inputs, variables } = makeVariables(points, points.map((_, i) => i), "jvp");
    const y = requireTensor("jvp", withGrad(true, () => (f as (...xs: Tensor[]) => Tensor)(...inputs)));
    const u = zerosLike(y);
    u.requiresGrad = true;
    const { gradients } = backpropagate([[y, u]], { targets: targetsOf(variables), retain: true, create: true });
    const roots = variables.flatMap((x, i): [Tensor, Tensor][] => {
      const g = gradients.get(x.edge!);
      return g ? [[g, directions[i]!]] : [];
    });
    const { gradients: along, created } = backpropagate(roots, { targets: new Set([u]), retain: true, create: "auto" });
    for (const g of gradients.values()) g.dispose();
    const dy = along.get(u);
    return [created ? y : y.detach(), dy ? handOver(dy) : zerosLike(y)];
  });
}

/** The Hessian of f at x times v, without forming it: the gradient of ∇f·v. f must return one number. */
export function hvp(f: (x: Tensor) => Tensor, x: Tensor, v: Tensor): Tensor {
  if (!sameShape(v.shape, x.shape)) throw new ShapeError(`hvp: the direction is ${show(v.shape)}, but the point is ${show(x.shape)}.`);
  return grad((z: Tensor) => sum(mul(grad(f)(z), v)) as Tensor)(x);
}

/** All derivatives of a function of one tensor: shape [...f(x).shape, ...x.shape]. One pullback for each result. */
export function jacobian(f: (x: Tensor) => Tensor): (x: Tensor) => Tensor {
  return (x) =>
    tidy(() => {
      const [y, pullback] = vjp(f, x);
      const rows = Array.from({ length: y.size }, (_, i) => {
        const basis = new Float32Array(y.size);
        basis[i] = 1;
        return pullback(fromElements(basis, y.shape, "float32", "jacobian"))[0]!;
      });
      if (!rows.length) return full([...y.shape, ...x.shape], 0) as Tensor;
      return (stack(rows) as Tensor).reshape([...y.shape, ...x.shape]);
    });
}

/** The matrix of second derivatives of a function that returns one number: shape [...x.shape, ...x.shape]. */
export function hessian(f: (x: Tensor) => Tensor): (x: Tensor) => Tensor {
  return jacobian((x) => grad(f)(x));
}

/**
 * A function with a gradient of your own: f returns its value and the rule that sends dy back to each argument. The rule is
 * made of ops, so it can be differentiated again.
 *
 * ```ts
 * const clipped = customGradient((x: Tensor) => [x, (dy: Tensor) => [dy.clamp(-1, 1)]]);
 * ```
 */
export function customGradient<A extends Tensor[]>(
  f: (...xs: A) => [value: Tensor, rule: (dy: Tensor) => (Tensor | null)[]],
): (...xs: A) => Tensor {
  return (...xs) => {
    const [value, rule] = withGrad(false, () => f(...xs));
    const result = value.detach();
    if (!isGradEnabled() || !xs.some((x) => x.requiresGrad)) return result;
    const vjp: Rule["vjp"] = (dy) => rule(dy as Tensor);
    return result.attach(new Node({ name: "customGradient", vjp }, null, xs.map((x) => x.edge), xs, [result]));
  };
}
