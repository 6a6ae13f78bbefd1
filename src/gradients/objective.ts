/**
 * Objective: a loss L(θ) as a function of one vector θ, whatever tensors it lies in: the parameters of a model, or a point. All of
 * nabla/gradients that walks landscapes works on objectives. Vectors are float64, what is evaluated is float32.
 */
import { backpropagate, onesLike } from "../autograd/backward.ts";
import { withGrad } from "../core/context.ts";
import { tidy } from "../core/scope.ts";
import { fromElements, Tensor } from "../core/tensor.ts";
import { Module } from "../nn/module.ts";
import { show } from "../ops/definition/value.ts";
import { check } from "../runtime/arguments.ts";
import { Error, ShapeError, TypeError } from "../runtime/errors.ts";
import { requireKind } from "../runtime/kinds.ts";
import { concatenated, type Vector, vector } from "./math/vector.ts";

/** θ as people give it: an objective's own vectors, arrays, or a tensor's elements. */
export type Point = ArrayLike<number>;

/** A loss and its derivatives by a vector θ of n numbers. Where no θ is given, it is where the parameters stand. */
export class Objective {
  /** How many numbers θ has. */
  readonly size: number;
  /** Where each parameter begins in θ. */
  readonly offsets: readonly number[];

  constructor(
    /** The tensors that make up θ, in this order. */
    readonly parameters: readonly Tensor[],
    /** What each is called. */
    readonly names: readonly string[],
    private readonly loss: () => Tensor,
    /** What evaluations must leave as it is: running statistics. */
    private readonly buffers: readonly Tensor[] = [],
  ) {
    requireKind("Objective", "parameters", "array", parameters);
    requireKind("Objective", "names", "array", names);
    requireKind("Objective", "loss", "function", loss);
    if (!parameters.length)
      throw new Error("objective: there is nothing to differentiate by. Pass a model with parameters.");
    let at = 0;
    this.offsets = parameters.map((p, i) => {
      if (!(p instanceof Tensor) || p.edge !== p)
        throw new TypeError(
          `objective: parameter ${names[i] ?? i} is no tensor that requires a gradient, or is the result of an op. Set requiresGrad on it.`,
        );
      at += p.size;
      return at - p.size;
    });
    this.size = at;
  }

  /** θ as it is now. */
  get theta(): Vector {
    return concatenated(this.parameters.map((p) => p.data));
  }

  /** Moves the parameters to θ, for good. */
  moveTo(theta: Point): void {
    this.requireSize(theta);
    withGrad(false, () => {
      this.parameters.forEach((p, i) => void p.copyFrom(this.part(theta, i)));
    });
  }

  /** Runs f with the parameters at θ, and puts them back. */
  at<T>(theta: Point | undefined, f: () => T): T {
    const before = theta && this.theta;
    const kept = this.buffers.map((buffer) => buffer.data);
    if (theta) this.moveTo(theta);
    try {
      return f();
    } finally {
      if (before) this.moveTo(before);
      withGrad(false, () => kept.forEach((values, i) => void this.buffers[i]!.copyFrom(values)));
    }
  }

  /** L(θ). */
  value(theta?: Point): number {
    return this.at(theta, () => tidy(() => withGrad(false, () => this.scalar()).item()));
  }

  /** ∇L(θ). */
  gradient(theta?: Point): Vector {
    return this.valueAndGradient(theta).gradient;
  }

  /** L(θ) and ∇L(θ), by one pass. Gradients that parameters hold stay as they are. */
  valueAndGradient(theta?: Point): {
    /** L(θ). */
    value: number;
    /** ∇L(θ). */
    gradient: Vector;
  } {
    return this.at(theta, () =>
      tidy(() => {
        const y = withGrad(true, () => this.scalar());
        return { value: y.item(), gradient: this.collect(this.backward([[y, onesLike(y)]], false)) };
      }),
    );
  }

  /** ∇²L(θ)·v, without forming ∇²L: the gradient of ∇L·v (Pearlmutter 1994). */
  hvp(v: Point, theta?: Point): Vector {
    this.requireSize(v);
    return this.at(theta, () =>
      tidy(() => {
        const y = withGrad(true, () => this.scalar());
        const first = this.backward([[y, onesLike(y)]], true);
        const roots = this.parameters.flatMap((p, i): [Tensor, Tensor][] => {
          const g = first.get(p);
          return g?.requiresGrad ? [[g, this.tensorOf(v, i)]] : [];
        });
        const second = this.collect(this.backward(roots, false));
        for (const g of first.values()) g.dispose();
        return second;
      }),
    );
  }

  /** ∂L/∂θ by parameter name, as vectors. */
  gradientsByName(theta?: Point): Record<string, Vector> {
    return this.byName(this.gradient(theta));
  }

  /** Copies of a vector's parts, by the parameter they belong to. */
  byName(v: Point): Record<string, Vector> {
    this.requireSize(v);
    return Object.fromEntries(this.names.map((name, i) => [name, vector(this.part(v, i))]));
  }

  /** Part i of a vector, as a tensor in the parameter's shape. */
  tensorOf(v: Point, i: number): Tensor {
    return fromElements(this.part(v, i), this.parameters[i]!.shape, "float32", "objective");
  }

  /** Frees the parameters: for an objective made of a function and a point, whose copy is its own. */
  dispose(): void {
    for (const p of this.parameters) p.dispose();
  }

  private part(v: Point, i: number): Float64Array {
    const [from, { size }] = [this.offsets[i]!, this.parameters[i]!];
    if (v instanceof Float64Array) return v.subarray(from, from + size);
    return Float64Array.from({ length: size }, (_, k) => v[from + k]!);
  }

  private scalar(): Tensor {
    const y = this.loss();
    if (!(y instanceof Tensor) || y.size !== 1)
      throw new ShapeError(
        `objective: the loss is ${y instanceof Tensor ? show(y.shape) : typeof y}, not one number. Reduce it with sum() or mean().`,
      );
    return y;
  }

  private backward(
    roots: readonly (readonly [Tensor, Tensor])[],
    create: boolean,
  ): ReturnType<typeof backpropagate>["gradients"] {
    return backpropagate(roots, { targets: new Set(this.parameters), retain: create, create }).gradients;
  }

  /** Gradients by parameter as one vector, zeros where there is none. Takes them over. @internal */
  collect(gradients: ReturnType<typeof backpropagate>["gradients"]): Vector {
    return concatenated(
      this.parameters.map((p) => {
        const g = gradients.get(p);
        return g?.live() ?? new Float32Array(p.size);
      }),
    );
  }

  /** @throws ShapeError unless v has a number for each of θ's @internal */
  requireSize(v: Point): void {
    if (v.length !== this.size)
      throw new ShapeError(`objective: a vector has ${v.length} numbers, but θ has ${this.size}.`);
  }
}

/**
 * A loss as an objective: of a model's parameters, of a list of tensors, or a function of one tensor at a point.
 *
 * ```ts
 * objective(model, () => losses.crossEntropy(model.forward(x), labels)).gradient();
 * objective((theta) => theta.square().sum(), tensor([1, 2])).hvp([1, 0]);   // [2, 0]
 * ```
 * The loss is evaluated anew for each question: it must be the same function each time (eval() where there is dropout). A model's frozen
 * parameters are not part of θ; its running statistics stay as they are.
 */
export function objective(model: Module | readonly Tensor[], loss: () => Tensor): Objective;
export function objective(f: (theta: Tensor) => Tensor, at: Tensor | readonly number[]): Objective;
export function objective(
  source: Module | readonly Tensor[] | ((theta: Tensor) => Tensor),
  second: (() => Tensor) | Tensor | readonly number[],
): Objective {
  check("objective", arguments, "source:module|array|function second:any");
  if (typeof source === "function") requireKind("objective", "at", "tensor|numbers", second);
  else requireKind("objective", "loss", "function", second);
  if (source instanceof Module) {
    // Frozen parameters are part of the loss, not of θ.
    const named = [...source.namedParameters()].filter(([, p]) => p.requiresGrad);
    return new Objective(
      named.map(([, p]) => p),
      named.map(([name]) => name),
      second as () => Tensor,
      source.buffers(),
    );
  }
  if (typeof source !== "function") {
    return new Objective(
      source,
      source.map((_, i) => `${i}`),
      second as () => Tensor,
    );
  }
  const values = second instanceof Tensor ? second.live() : (second as readonly number[]);
  const shape = second instanceof Tensor ? second.shape : [values.length];
  const leaf = fromElements(values, shape, "float32", "objective").keep();
  leaf.requiresGrad = true;
  return new Objective([leaf], ["theta"], () => source(leaf));
}
