/**
 * Objective: a loss L(θ) as a function of one vector θ, which holds a model's parameters or the coordinates of a point.
 * Most functions in nabla/gradients take an objective. Vectors are float64; the loss is evaluated in float32.
 */

import { backpropagate, onesLike } from "../autograd/backward.ts";
import { withGrad } from "../core/context.ts";
import { tidy } from "../core/scope.ts";
import { fromElements, Tensor } from "../core/tensor.ts";
import { Module } from "../nn/module.ts";
import { check } from "../runtime/arguments.ts";
import { Error, ShapeError, TypeError } from "../runtime/errors.ts";
import { describe, requireKind } from "../runtime/kinds.ts";
import { concatenate, type Vector, vector } from "./math/vector.ts";

/** A vector of numbers: an array, a vector that an objective returned, or a tensor, read as its elements in order. */
export type Point = ArrayLike<number>;

/** A loss and its derivatives with respect to a vector θ: [n]. If you omit θ, methods use the current parameters. */
export class Objective {
  /** The length n of θ. */
  readonly size: number;
  /** The index in θ of each parameter's first element. */
  readonly offsets: readonly number[];

  constructor(
    /** The parameters that make up θ, in order. */
    readonly parameters: readonly Tensor[],
    /** The name of each parameter. */
    readonly names: readonly string[],
    private readonly loss: () => Tensor,
    /** Running statistics, which are restored after each evaluation. */
    private readonly buffers: readonly Tensor[] = [],
  ) {
    requireKind("Objective", "parameters", "array", parameters);
    requireKind("Objective", "names", "array", names);
    requireKind("Objective", "loss", "function", loss);
    if (!parameters.length)
      throw new Error("objective: the model has no parameters. Pass a model with parameters that require gradients.");
    let at = 0;
    this.offsets = parameters.map((p, i) => {
      if (!(p instanceof Tensor) || p.edge !== p)
        throw new TypeError(
          `objective: parameter ${names[i] ?? i} must be a leaf tensor that requires a gradient. Set requiresGrad on this tensor.`,
        );
      at += p.size;
      return at - p.size;
    });
    this.size = at;
  }

  /** The current θ, as a copy. */
  get theta(): Vector {
    return concatenate(this.parameters.map((p) => p.data));
  }

  /** Sets the parameters to θ. @throws ShapeError if θ has the wrong length */
  moveTo(theta: Point): void {
    this.requireSize(theta);
    withGrad(false, () => {
      this.parameters.forEach((p, i) => void p.copyFrom(this.part(theta, i)));
    });
  }

  /**
   * Runs f with the parameters set to θ, then restores the parameters and the running statistics. @returns f's result
   */
  at<T>(theta: Point | undefined, f: () => T): T {
    const before = theta && this.theta;
    const saved = this.buffers.map((buffer) => buffer.data);
    if (theta) this.moveTo(theta);
    try {
      return f();
    } finally {
      if (before) this.moveTo(before);
      withGrad(false, () => saved.forEach((values, i) => void this.buffers[i]!.copyFrom(values)));
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

  /** L(θ) and ∇L(θ) from one pass. Does not change the parameters' `grad`. */
  valueAndGradient(theta?: Point): {
    /** L(θ). */
    value: number;
    /** ∇L(θ): [n]. */
    gradient: Vector;
  } {
    return this.at(theta, () =>
      tidy(() => {
        const y = withGrad(true, () => this.scalar());
        return { value: y.item(), gradient: this.collect(this.backward([[y, onesLike(y)]], false)) };
      }),
    );
  }

  /** The Hessian-vector product ∇²L(θ)·v: [n], computed as the gradient of ∇L·v (Pearlmutter 1994). @throws ShapeError */
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

  /** ∂L/∂θ as one vector per parameter, keyed by name. */
  gradientsByName(theta?: Point): Record<string, Vector> {
    return this.byName(this.gradient(theta));
  }

  /** Splits a vector [n] into one vector per parameter, keyed by name. The vectors are copies. @throws ShapeError */
  byName(v: Point): Record<string, Vector> {
    this.requireSize(v);
    return Object.fromEntries(this.names.map((name, i) => [name, vector(this.part(v, i))]));
  }

  /** Part i of a vector [n], as a tensor with the shape of parameter i. */
  tensorOf(v: Point, i: number): Tensor {
    return fromElements(this.part(v, i), this.parameters[i]!.shape, "float32", "objective");
  }

  /** Frees the parameters. Use it for objectives created from a function and a point, which own a copy of the point. */
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
        `objective: the loss must be a tensor with one element, got ${describe(y)}. Reduce it with sum() or mean().`,
      );
    return y;
  }

  private backward(
    roots: readonly (readonly [Tensor, Tensor])[],
    create: boolean,
  ): ReturnType<typeof backpropagate>["gradients"] {
    return backpropagate(roots, { targets: new Set(this.parameters), retain: create, create }).gradients;
  }

  /** Joins the parameters' gradients into one vector, with zeros where a gradient is missing. @internal */
  collect(gradients: ReturnType<typeof backpropagate>["gradients"]): Vector {
    return concatenate(
      this.parameters.map((p) => {
        const g = gradients.get(p);
        return g?.live() ?? new Float32Array(p.size);
      }),
    );
  }

  /** @throws ShapeError unless v is as long as θ @internal */
  requireSize(v: Point): void {
    if (v.length !== this.size)
      throw new ShapeError(`objective: a vector must have as many numbers as θ (${this.size}), got ${v.length}.`);
  }
}

/**
 * Creates an objective from a model (or a list of tensors) and its loss, or from a function of one tensor and a point.
 *
 * ```ts
 * objective(model, () => losses.crossEntropy(model.forward(x), labels)).gradient();
 * objective((theta) => theta.square().sum(), tensor([1, 2])).hvp([1, 0]);   // [2, 0]
 * ```
 * Each method evaluates the loss again, so the loss must be the same function each time: call eval() on models with
 * dropout. θ excludes frozen parameters. Evaluations do not change running statistics.
 * @throws Error if there are no parameters; TypeError if a tensor is not a leaf that requires a gradient
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
    // Frozen parameters belong to the loss, not to θ.
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
