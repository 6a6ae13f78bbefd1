/** Functions of functions: gradients, pullbacks, derivatives along directions, Jacobians and Hessians. */

import { rejectOtherCopy } from "../core/copies.ts";
import { type GradientRule, Node } from "../core/graph.ts";
import { rejectOtherCopyIn, requireSynchronous, tensorsIn, tidy } from "../core/scope.ts";
import { type Edge, fromElements, isGradEnabled, Tensor, withGrad } from "../core/tensor.ts";
import { sameShape, show } from "../ops/definition/value.ts";
import { mul } from "../ops/pointwise/arithmetic.ts";
import { sum } from "../ops/reduce/reduce.ts";
import { full, stack } from "../ops/shape/shape.ts";
import { check } from "../runtime/arguments.ts";
import { DTypeError, RangeError, ShapeError, TypeError } from "../runtime/errors.ts";
import { describe, requireKind } from "../runtime/kinds.ts";
import { backpropagate, onesLike } from "./backward.ts";

const zerosLike = (x: Tensor): Tensor => full(x.shape, 0) as Tensor;

const identityRule: GradientRule = { name: "identity", vjp: (dy) => [dy] };

/** A stand-in for x at which gradients stop: a leaf, or an identity where x itself is being differentiated from outside. */
function variable(x: Tensor): Tensor {
  const stand = x.detach();
  const { edge } = x;
  if (edge && isGradEnabled()) stand.attach(new Node<Tensor>(identityRule, null, [edge], [x], [stand]));
  else stand.requiresGrad = true;
  return stand;
}

/** Ends the variables' time as leaves: gradients recorded of them must not be sent back to what nobody can reach. */
function retire(variables: readonly Tensor[]): void {
  for (const x of variables) if (x.edge === x) x.requiresGrad = false;
}

/** The same structure with every tensor replaced. */
export function mapTensors<T>(value: T, f: (x: Tensor) => unknown): T {
  if (value instanceof Tensor) return f(value) as T;
  if (Array.isArray(value)) return value.map((part) => mapTensors(part, f)) as T;
  if (typeof value === "object" && value !== null && [Object.prototype, null].includes(Object.getPrototypeOf(value))) {
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, mapTensors(part, f)])) as T;
  }
  return value;
}

/** Places among `count` arguments, negative ones counted from the end. @throws RangeError */
function placesOf(argnums: readonly number[], count: number, name: string): number[] {
  if (!count)
    throw new TypeError(`${name}: the function was called without arguments. Pass it the tensors to differentiate by.`);
  return argnums.map((i) => {
    const at = i < 0 ? i + count : i;
    if (Number.isInteger(i) && at >= 0 && at < count) return at;
    throw new RangeError(
      `${name}: argnums has ${i}, but the function was called with ${count} argument(s). Use ${-count} … ${count - 1}.`,
    );
  });
}

/** Arguments with those at `places` replaced by variables, and the variables of each place, in its argument's order. */
function makeVariables<A extends unknown[]>(
  args: A,
  places: readonly number[],
  name: string,
): { inputs: A; variables: ReadonlyMap<number, readonly Tensor[]> } {
  const inputs = [...args] as A;
  const variables = new Map<number, Tensor[]>();
  for (const i of places) {
    if (variables.has(i)) continue;
    rejectOtherCopyIn(name, `argument ${i}`, args[i]);
    const inside = tensorsIn(args[i]);
    if (!inside.size) throw new TypeError(`${name}: argument ${i} holds no tensor to differentiate by.`);
    const own: Tensor[] = [];
    variables.set(i, own);
    inputs[i] = mapTensors(args[i], (x) => {
      inside.delete(x);
      if (x.dtype !== "float32")
        throw new DTypeError(
          `${name}: argument ${i} is ${describe(x)}, but only float32 is differentiable. Use x.to("float32").`,
        );
      const stand = variable(x);
      own.push(stand);
      return stand;
    });
    if (inside.size) {
      throw new TypeError(
        `${name}: only tensors, arrays and plain objects of them are differentiated. For a module's parameters use ` +
          "backward(), or pass Object.fromEntries(model.namedParameters()).",
      );
    }
  }
  return { inputs, variables };
}

/** Variables of arguments that are one tensor each. */
function makeEach<A extends Tensor[]>(args: A, name: string): { inputs: A; variables: Tensor[] } {
  const places = args.map((_, i) => i);
  const { inputs, variables } = makeVariables(args, places, name);
  return { inputs, variables: places.flatMap((i) => variables.get(i)!) };
}

/** The result that differentiation starts from. */
function requireTensor(name: string, y: unknown): Tensor {
  requireSynchronous(name, y);
  rejectOtherCopy(name, "the function's result", y);
  if (!(y instanceof Tensor))
    throw new TypeError(
      `${name}: the function must return a tensor, got ${describe(y)}. Return the result of the last op, without item() or toArray().`,
    );
  return y;
}
function requireScalar(name: string, y: unknown): Tensor {
  const tensor = requireTensor(name, y);
  if (tensor.size !== 1) {
    throw new ShapeError(
      `${name}: the function returned ${show(tensor.shape)}, not one number. Reduce it with sum() or mean(), or use jacobian or vjp.`,
    );
  }
  return tensor;
}

/** Gradients by variable, zeros where none arrived. */
function collect(variables: readonly Tensor[], gradients: ReadonlyMap<Edge, Tensor>): Tensor[] {
  return variables.map((x) => gradients.get(x.edge!) ?? zerosLike(x));
}

const targetsOf = (variables: readonly Tensor[]): Set<Edge> => new Set(variables.map((x) => x.edge!));

/**
 * Which arguments to differentiate by: one, whose gradient is returned as it is, or several, whose gradients are returned as a list
 * in the same order. −1 is the last argument. An argument may be named twice.
 */
export type ArgNums = number | readonly number[];
/** The type of an argument; which one a negative number names is not known. */
type Argument<A extends unknown[], N> = N extends number
  ? `${N}` extends `-${string}`
    ? A[number]
    : A[N & keyof A]
  : never;
type Gradients<A extends unknown[], N> = N extends number ? Argument<A, N> : { [K in keyof N]: Argument<A, N[K]> };

/**
 * f's value and its gradient with respect to the arguments `argnums` (the first by default), which may be tensors or
 * nested arrays and objects of them; the gradient has the same structure. f must return one number.
 *
 * ```ts
 * const [y, g] = valueAndGrad((x: Tensor) => x.square().sum())(tensor([1, 2]));   // 5, [2, 4]
 * ```
 * @throws ShapeError, TypeError
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
      const places = placesOf(list, args.length, "grad");
      const { inputs, variables } = makeVariables(args, places, "grad");
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
      const structured = places.map((i, k) => {
        const own = variables.get(i)!.values();
        // An argument that is named again gets gradients of its own: writing to one must not change the other.
        const isFirst = places.indexOf(i) === k;
        return mapTensors(args[i], () => {
          const g = found.get(own.next().value!)!;
          return isFirst ? g : g.clone();
        });
      });
      return [created ? y : y.detach(), typeof chosen === "number" ? structured[0] : structured];
    });
}

/** f's gradient with respect to the arguments `argnums` (the first by default): see valueAndGrad. */
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
 * f's value and its pullback: dy ↦ (∂f/∂x)ᵀ·dy for each argument. The pullback may be called any number of times.
 */
export function vjp<A extends Tensor[]>(f: (...xs: A) => Tensor, ...xs: A): [Tensor, (dy: Tensor) => Tensor[]] {
  check("vjp", [f, ...xs], "f:function ...xs:tensor");
  // The variables outlive the scope with the value: the pullback needs their places in the graph.
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
        throw new ShapeError(`vjp: the gradient is ${show(dy.shape)}, but the value is ${show(y.shape)}.`);
      // Retained by create or by a live dy: the pullback is a function of dy too.
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
 * f's value and its derivative along a direction: [f(x), (∂f/∂x)·v], by differentiating the pullback, which is linear, once
 * more. `xs` and `vs` are one tensor each, or lists.
 */
export function jvp<X extends Tensor | Tensor[]>(
  f: (...xs: X extends Tensor[] ? X : [X]) => Tensor,
  xs: X,
  vs: X,
): [Tensor, Tensor] {
  check("jvp", arguments, "f:function xs:tensor|tensors vs:tensor|tensors");
  const [points, directions] = [[xs].flat() as Tensor[], [vs].flat() as Tensor[]];
  if (directions.length > points.length)
    throw new TypeError(
      `jvp: there are ${directions.length} directions, but ${points.length} point(s). Give one for each.`,
    );
  points.forEach((x, i) => {
    const v = directions[i];
    if (!v || !sameShape(v.shape, x.shape))
      throw new ShapeError(
        `jvp: direction ${i} is ${v ? show(v.shape) : "missing"}, but the point is ${show(x.shape)}.`,
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

/** The Hessian of f at x times v, without forming it: the gradient of ∇f·v. f must return one number. */
export function hvp(f: (x: Tensor) => Tensor, x: Tensor, v: Tensor): Tensor {
  check("hvp", arguments, "f:function x:tensor v:tensor");
  if (!sameShape(v.shape, x.shape))
    throw new ShapeError(`hvp: the direction is ${show(v.shape)}, but the point is ${show(x.shape)}.`);
  return grad((z: Tensor) => sum(mul(grad(f)(z), v)) as Tensor)(x);
}

/** All derivatives of a function of one tensor: shape [...f(x).shape, ...x.shape]. One pullback for each result. */
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

/** The matrix of second derivatives of a function that returns one number: shape [...x.shape, ...x.shape]. */
export function hessian(f: (x: Tensor) => Tensor): (x: Tensor) => Tensor {
  check("hessian", arguments, "f:function");
  return jacobian((x) => grad(f)(x));
}
