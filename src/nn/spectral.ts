/** Spectral normalization: a layer whose weight never stretches anything. */

import { noGrad } from "../autograd/backward.ts";
import { randn } from "../core/creation.ts";
import { tidy } from "../core/scope.ts";
import type { Tensor } from "../core/tensor.ts";
import { check } from "../runtime/arguments.ts";
import { RangeError, requireWhole, TypeError } from "../runtime/errors.ts";
import { kindOf } from "../runtime/kinds.ts";
import { ConvTranspose1d, ConvTranspose2d } from "./conv.ts";
import { Module } from "./module.ts";

/** A vector of length 1. */
const normalized = (x: Tensor, eps: number): Tensor => x.div(x.norm().add(eps));

/**
 * A layer that computes with W/σ, σ being the largest singular value of its weight as [out, …] (Miyato et al. 2018; `dim` is where the
 * weight has its outputs: first, but last in transposed convolutions), by a power iteration at each training step. Gradients flow through σ, but not through the iteration's vectors.
 *
 * ```ts
 * const layer = new nn.SpectralNorm(new nn.Linear(8, 8));
 * ```
 * @throws TypeError where the layer has no weight of two or more dimensions
 */
export class SpectralNorm<L extends Module & { readonly weight: Tensor }> extends Module {
  /** The left singular vector, [out]. */
  readonly u: Tensor;
  /** The right one, of the other dimensions as one. */
  readonly v: Tensor;
  private readonly iterations: number;
  private readonly eps: number;
  private readonly dim: number;

  constructor(
    /** The layer whose weight is divided by its spectral norm. */
    readonly layer: L,
    options: {
      /** Power iterations of each step in training. Default 1. */
      readonly nPowerIterations?: number;
      /** The smallest length that a vector is divided by. Default 1e-12. */
      readonly eps?: number;
      /** The dim of the outputs in the weight. Default 0, or -1 for transposed convolutions. */
      readonly dim?: number;
    } = {},
  ) {
    super();
    check("SpectralNorm", arguments, "layer:module {nPowerIterations:number eps:number dim:number}");
    const {
      nPowerIterations = 1,
      eps = 1e-12,
      dim = layer instanceof ConvTranspose1d || layer instanceof ConvTranspose2d ? -1 : 0,
    } = options;
    const { weight } = layer;
    if (!weight || weight.shape.length < 2)
      throw new TypeError(`SpectralNorm: ${kindOf(layer)} has no weight of two or more dimensions.`);
    requireWhole("SpectralNorm", { nPowerIterations });
    this.iterations = nPowerIterations;
    this.eps = eps;
    this.dim = dim < 0 ? dim + weight.shape.length : dim;
    const rows = weight.shape[this.dim];
    if (rows === undefined)
      throw new RangeError(`SpectralNorm: dim ${dim} is not one of the weight [${weight.shape.join(", ")}].`);
    [this.u, this.v] = [rows, weight.size / rows].map((n) => tidy(() => normalized(randn([n]), eps)).keep()) as [
      Tensor,
      Tensor,
    ];
    // As PyTorch does, so that the first steps are about right.
    this.iterate(15);
  }

  private get matrix(): Tensor {
    const { weight } = this.layer;
    const order = [this.dim, ...weight.shape.map((_, i) => i).filter((i) => i !== this.dim)];
    return weight.permute(order).flatten(1);
  }
  /** v ← Wᵀu/|Wᵀu|, u ← Wv/|Wv|. */
  private iterate(times: number): void {
    noGrad(() =>
      tidy(() => {
        // Of weights at most 1: the vectors stay the same, and ε is small beside them.
        const w = this.matrix;
        const unit = w.div(
          w
            .abs()
            .max()
            .clamp(2 ** -126),
        );
        for (let i = 0; i < times; i++) {
          this.v.copyFrom(normalized(this.u.matmul(unit), this.eps));
          this.u.copyFrom(normalized(unit.matmul(this.v), this.eps));
        }
      }),
    );
  }
  /** The layer's weight, divided by its largest singular value. */
  get weight(): Tensor {
    const sigma = this.u.clone().dot(this.matrix.matmul(this.v.clone()));
    return this.layer.weight.div(sigma);
  }

  /** Runs the layer with its weight divided by its largest singular value. Takes and returns what the layer does. */
  forward(...inputs: Parameters<L["forward"]>): ReturnType<L["forward"]> {
    if (this.training) this.iterate(this.iterations);
    const own = this.layer.weight;
    const layer = this.layer as { weight: Tensor };
    layer.weight = this.weight;
    try {
      return this.layer.forward(...inputs) as ReturnType<L["forward"]>;
    } finally {
      layer.weight = own;
    }
  }
}
