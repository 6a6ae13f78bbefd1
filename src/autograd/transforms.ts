/** Transforms of functions: gradients, pullbacks, directional derivatives, Jacobians and Hessians. */

import { isGradEnabled, withGrad } from "../core/context.ts";
import { rejectOtherCopy } from "../core/copies.ts";
import { type GradientRule, Node } from "../core/graph.ts";
import { rejectOtherCopyIn, requireSynchronous, tensorsIn, tidy } from "../core/scope.ts";
import { type Edge, fromElements, Tensor } from "../core/tensor.ts";
import { sameShape, show } from "../ops/definition/value.ts";
import { mul } from "../ops/pointwise/arithmetic.ts";
import { sum } from "../ops/reduce/reduce.ts";
import { full, stack } from "../ops/shape/shape.ts";
import { check } from "../runtime/arguments.ts";
import { DTypeError, RangeError, ShapeError, TypeError } from "../runtime/errors.ts";
import { describe, isPlainObject, requireKind } from "../runtime/kinds.ts";
import { backpropagate, onesLike } from "./backward.ts";

const zerosLike = (x: Tensor): Tensor => full(x.shape, 0) as Tensor;

const identityRule: GradientRule = { name: "identity", vjp: (dy) => [dy] };

/**
 * Makes a tensor with x's elements, at which a transform's gradients stop. The tensor is a leaf or, if a caller of the
 * transform differentiates x itself, the result of an identity op on x.
 */
function variable(x: Tensor): Tensor {
  const copy = x.detach();
  const { edge } = x;
  if (edge && isGradEnabled()) copy.attach(new Node<Tensor>(identityRule, null, [edge], [x], [copy]));
  else copy.requiresGrad = true;
  return copy;
}

/**
 * Turns variables back into constants, because autograd must not propagate gradients to leaves that no caller can
 * reach.
 */
function retire(variables: readonly Tensor[]): void {
  for (const x of variables) if (x.edge === x) x.requiresGrad = false;
}

/** Copies a structure of arrays and plain objects, and replaces every tensor x with f(x). */
export function mapTensors<T>(value: T, f: (x: Tensor) => unknown): T {
  if (value instanceof Tensor) return f(value) as T;
  if (Array.isArray(value)) return value.map((part) => mapTensors(part, f)) as T;
  if (typeof value === "object" && value !== null && isPlainObject(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, mapTensors(part, f)])) as T;
  }
  return value;
}

/** Resolves negative argument indices. @throws RangeError, TypeError */
function resolveIndices(argnums: readonly number[], count: number, name: string): number[] {
  if (!count)
    throw new TypeError(
      `${name}: the function was called without arguments. Pass the tensors to differentiate with respect to.`,
    );
  return argnums.map((i) => {
    const at = i < 0 ? i + count : i;
    if (Number.isInteger(i) && at >= 0 && at < count) return at;
    throw new RangeError(
      `${name}: argnums must be in ${-count} … ${count - 1}, the indices of the function's arguments, got ${i}.`,
    );
  });
}

/**
 * Replaces the tensors in the arguments at `indices` with variables. Returns the new arguments, and the variables in
 * each of these arguments, in order.
 */
function makeVariables<A extends unknown[]>(
  args: A,
  indices: readonly number[],
  name: string,
): { inputs: A; variables: ReadonlyMap<number, readonly Tensor[]> } {
  const inputs = [...args] as A;
  const variables = new Map<number, Tensor[]>();
  for (const i of indices) {
    if (variables.has(i)) continue;
    rejectOtherCopyIn(name, `argument ${i}`, args[i]);
    const inside = tensorsIn(args[i]);
    if (!inside.size)
      throw new TypeError(
        `${name}: argument ${i} contains no tensor. Pass the tensor to differentiate with respect to.`,
      );
    const own: Tensor[] = [];
    variables.set(i, own);
    inputs[i] = mapTensors(args[i], (x) => {
      inside.delete(x);
      if (x.dtype !== "float32")
        throw new DTypeError(
          `${name}: argument ${i} is ${describe(x)}, but only float32 is differentiable. Use x.to("float32").`,
        );
      const copy = variable(x);
      own.push(copy);
      return copy;
    });
    if (inside.size) {
      throw new TypeError(
        `${name}: arguments must be tensors, or arrays and plain objects of them. For a module's parameters, use ` +
          "backward(), or pass Object.fromEntries(model.namedParameters()).",
      );
    }
  }
  return { inputs, variables };
}

/** Like makeVariables, for arguments that are single tensors. */
function makeEach<A extends Tensor[]>(args: A, name: string): { inputs: A; variables: Tensor[] } {
  const indices = args.map((_, i) => i);
  const { inputs, variables } = makeVariables(args, indices, name);
  return { inputs, variables: indices.flatMap((i) => variables.get(i)!) };
}

/**
 * Checks the result of the function to differentiate.
 * @throws TypeError unless it is a tensor from this copy of nabla
 */
function requireTensor(name: string, y: unknown): Tensor {
  requireSynchronous(name, y);
  rejectOtherCopy(name, "the function's result", y);
  if (!(y instanceof Tensor))
    throw new TypeError(
      `${name}: the function must return a tensor, got ${describe(y)}. Return the result of the last op, without item() or toArray().`,
    );
  return y;
}
/** @throws ShapeError unless the result is a single number */
function requireScalar(name: string, y: unknown): Tensor {
  const tensor = requireTensor(name, y);
  if (tensor.size !== 1) {
    throw new ShapeError(
      `${name}: the function returned ${show(tensor.shape)}, not a single number. Reduce it with sum() or mean(), or use jacobian or vjp.`,
    );
  }
  return tensor;
}

/** The variables' gradients; zeros for a variable without a gradient. */
function collect(variables: readonly Tensor[], gradients: ReadonlyMap<Edge, Tensor>): Tensor[] {
  return variables.map((x) => gradients.get(x.edge!) ?? zerosLike(x));
}

const targetsOf = (variables: readonly Tensor[]): Set<Edge> => new Set(variables.map((x) => x.edge!));

/**
 * The indices of the arguments to differentiate with respect to. A single index gives a single gradient; an array of indices gives an array
 * of gradients in the same order. −1 is the last argument. An index may appear twice.
 */
export type ArgNums = number | readonly number[];
/** The type of the argument at index N; for a negative index, the union of the types of all arguments. */
type Argument<A extends unknown[], N> = N extends number
  ? `${N}` extends `-${string}`
    ? A[number]
    : A[N & keyof A]
  : never;
type Gradients<A extends unknown[], N> = N extends number ? Argument<A, N> : { [K in keyof N]: Argument<A, N[K]> };

/**
 * Returns a function that computes f's value and its gradient with respect to the arguments in `argnums` (default: the
 * first). These arguments may be float32 tensors, or nested arrays and plain objects of them. Each gradient has the
 * structure and shapes of its argument. f must return a single number.
 *
 * ```ts
 * const [y, g] = valueAndGrad((x: Tensor) => x.square().sum())(tensor([1, 2]));   // 5, [2, 4]
 * ```
 * @throws ShapeError if f does not return a single number
 * @throws TypeError, RangeError, DTypeError if f cannot be differentiated with respect to one of these arguments
 */
export function valueAndGrad<A extends unknown[]>(f: (...args: A) => Tensor): (...args: A) => [Tensor, A[0]];
export function valueAndGrad<A extends unknown[], const N extends ArgNums>(
  f: (...args: A) => Tensor,
  argnums: N,
): (...args: A) => [Tensor, Gradients<A, N>];
export function valueAndGrad<A extends unknown[]>(
  f: (...args: A) => Tensor,
  chosen: ArgNums = 0,
): (...args: A) => [Tensor, unknown] {
  check("grad", arguments, "f:function argnums?:number|numbers");
  const list = typeof chosen === "number" ? [chosen] : chosen;
  return (...args) =>
    tidy(() => {
      const indices = resolveIndices(list, args.length, "grad");
      const { inputs, variables } = makeVariables(args, indices, "grad");
      const all = [...variables.values()].flat();
      const y = requireScalar(
        "grad",
        withGrad(true, () => f(...inputs)),
      );
      const { gradients, created } = backpropagate([[y, onesLike(y)]], {
        targets: targetsOf(all),
        retain: false,
        create: "auto",
      });
      const found = new Map(all.map((x) => [x, gradients.get(x.edge!) ?? zerosLike(x)]));
      retire(all);
      const structured = indices.map((i, k) => {
        const own = variables.get(i)!.values();
        // A repeated argument gets separate gradients: writing to one must not change the other.
        const isFirst = indices.indexOf(i) === k;
        return mapTensors(args[i], () => {
          const g = found.get(own.next().value!)!;
          return isFirst ? g : g.clone();
        });
      });
      return [created ? y : y.detach(), typeof chosen === "number" ? structured[0] : structured];
    });
}

/**
 * Returns a function that computes f's gradient with respect to the arguments in `argnums` (default: the first). See
 * valueAndGrad.
 *
 * ```ts
 * grad((x: Tensor) => x.square().sum())(tensor([1, 2]));   // [2, 4]
 * ```
 */
export function grad<A extends unknown[]>(f: (...args: A) => Tensor): (...args: A) => A[0];
export function grad<A extends unknown[], const N extends ArgNums>(
  f: (...args: A) => Tensor,
  argnums: N,
): (...args: A) => Gradients<A, N>;
export function grad<A extends unknown[]>(f: (...args: A) => Tensor, argnums: ArgNums = 0): (...args: A) => unknown {
  const both = valueAndGrad(f, argnums);
  return (...args) => tidy(() => both(...args)[1]);
}

/**
 * Computes f's value and its pullback. The pullback maps dy, which has the shape of the value, to (∂f/∂x)ᵀ·dy for each
 * argument x. You can call the pullback any number of times.
 * @throws TypeError if f does not return a tensor
 */
export function vjp<A extends Tensor[]>(f: (...xs: A) => Tensor, ...xs: A): [Tensor, (dy: Tensor) => Tensor[]] {
  check("vjp", [f, ...xs], "f:function ...xs:tensor");
  // Return the variables from the scope along with the value, because the pullback needs their nodes.
  const { y, variables } = tidy(() => {
    const made = makeEach(xs, "vjp");
    const value = withGrad(true, () => f(...made.inputs));
    return { y: requireTensor("vjp", value), variables: made.variables };
  });
  const pullback = (dy: Tensor): Tensor[] =>
    tidy(() => {
      rejectOtherCopy("vjp", "the gradient", dy);
      requireKind("vjp", "the gradient", "tensor", dy);
      if (!sameShape(dy.shape, y.shape))
        throw new ShapeError(
          `vjp: the gradient is ${show(dy.shape)}, but the value is ${show(y.shape)}. Reshape the gradient.`,
        );
      // The pullback can be differentiated with respect to dy too.
      const { gradients } = backpropagate([[y, dy]], {
        targets: targetsOf(variables),
        retain: true,
        create: isGradEnabled() && dy.requiresGrad ? true : "auto",
      });
      return collect(variables, gradients);
    });
  return [y, pullback];
}

/**
 * Computes f's value and its directional derivative, [f(x), (∂f/∂x)·v]. The derivative is computed by differentiating
 * the pullback, which is linear in dy.
 * @param xs the point: a tensor, or an array of tensors, one per argument
 * @param vs the direction, in the same form and with the same shapes as xs
 * @throws ShapeError if the shapes differ, TypeError if the counts differ
 */
export function jvp<X extends Tensor | Tensor[]>(
  f: (...xs: X extends Tensor[] ? X : [X]) => Tensor,
  xs: X,
  vs: X,
): [Tensor, Tensor] {
  check("jvp", arguments, "f:function xs:tensor|tensors vs:tensor|tensors");
  const [points, directions] = [[xs].flat() as Tensor[], [vs].flat() as Tensor[]];
  if (directions.length > points.length)
    throw new TypeError(`jvp: pass one direction for each point, got ${directions.length} for ${points.length}.`);
  points.forEach((x, i) => {
    const v = directions[i];
    if (!v || !sameShape(v.shape, x.shape))
      throw new ShapeError(
        `jvp: direction ${i} is ${v ? show(v.shape) : "missing"}, but the point is ${show(x.shape)}. Use the same shape.`,
      );
  });
  return tidy(() => {
    const { inputs, variables } = makeEach(points, "jvp");
    const y = requireTensor(
      "jvp",
      withGrad(true, () => (f as (...xs: Tensor[]) => Tensor)(...inputs)),
    );
    const u = zerosLike(y);
    u.requiresGrad = true;
    const { gradients } = backpropagate([[y, u]], {
      targets: targetsOf(variables),
      retain: true,
      create: true,
    });
    const roots = variables.flatMap((x, i): [Tensor, Tensor][] => {
      const g = gradients.get(x.edge!);
      return g ? [[g, directions[i]!]] : [];
    });
    const { gradients: along, created } = backpropagate(roots, {
      targets: new Set([u]),
      retain: true,
      create: isGradEnabled() && directions.some((v) => v.requiresGrad) ? true : "auto",
    });
    for (const g of gradients.values()) g.dispose();
    const dy = along.get(u);
    retire([...variables, u]);
    return [created ? y : y.detach(), dy ?? zerosLike(y)];
  });
}

/**
 * Computes H·v, where H is the Hessian of f at x. H is never formed: the result is the gradient of ∇f(x)·v, and has the
 * shape of x. f must return a single number.
 * @throws ShapeError if v does not have the shape of x
 */
export function hvp(f: (x: Tensor) => Tensor, x: Tensor, v: Tensor): Tensor {
  check("hvp", arguments, "f:function x:tensor v:tensor");
  if (!sameShape(v.shape, x.shape))
    throw new ShapeError(
      `hvp: the direction is ${show(v.shape)}, but the point is ${show(x.shape)}. Use the same shape.`,
    );
  return grad((z: Tensor) => sum(mul(grad(f)(z), v)) as Tensor)(x);
}

/**
 * Returns a function that computes all first derivatives of f, with shape [...f(x).shape, ...x.shape]. The function
 * runs one backward pass per element of f(x).
 */
export function jacobian(f: (x: Tensor) => Tensor): (x: Tensor) => Tensor {
  check("jacobian", arguments, "f:function");
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

/**
 * Returns a function that computes all second derivatives of f, with shape [...x.shape, ...x.shape]. f must return a single number.
 */
export function hessian(f: (x: Tensor) => Tensor): (x: Tensor) => Tensor {
  check("hessian", arguments, "f:function");
  return jacobian((x) => grad(f)(x));
}
