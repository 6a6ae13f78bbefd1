/** Spectral normalization: a wrapper that divides a layer's weight by its largest singular value. */

import { noGrad } from "../autograd/backward.ts";
import { randn } from "../core/creation.ts";
import { tidy } from "../core/scope.ts";
import type { Tensor } from "../core/tensor.ts";
import { check } from "../runtime/arguments.ts";
import { RangeError, requireWhole, TypeError } from "../runtime/errors.ts";
import { kindOf } from "../runtime/kinds.ts";
import { ConvTranspose1d, ConvTranspose2d } from "./conv.ts";
import { Module } from "./module.ts";

/** x/‖x‖. */
const toUnit = (x: Tensor, eps: number): Tensor => x.div(x.norm().add(eps));

/** Options for SpectralNorm. */
export interface SpectralNormOptions {
  /** The number of power iterations per forward pass in training. Default 1. */
  readonly nPowerIterations?: number;
  /** A number to add to norms before dividing by them. Default 1e-12. */
  readonly eps?: number;
  /** The weight's output dimension. Default 0; -1 for transposed convolutions. */
  readonly dim?: number;
}

/**
 * Runs a layer with W/σ, where σ is the largest singular value of its weight W, viewed as a matrix [out, rest] (Miyato
 * et al. 2018). Each forward pass in training refines σ by power iteration. Gradients flow through σ, but not through
 * the singular vectors.
 *
 * ```ts
 * const layer = new nn.SpectralNorm(new nn.Linear(8, 8));
 * ```
 * @throws TypeError if the layer's weight has fewer than two dimensions; RangeError for invalid options
 */
export class SpectralNorm<L extends Module & { readonly weight: Tensor }> extends Module {
  /** An estimate of the left singular vector: [out]. */
  readonly u: Tensor;
  /** An estimate of the right singular vector: [rest]. */
  readonly v: Tensor;
  private readonly iterations: number;
  private readonly eps: number;
  private readonly dim: number;

  constructor(
    /** The layer whose weight is divided by its spectral norm. */
    readonly layer: L,
    options: SpectralNormOptions = {},
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
      throw new TypeError(`SpectralNorm: ${kindOf(layer)} has no weight with two or more dimensions.`);
    requireWhole("SpectralNorm", { nPowerIterations });
    this.iterations = nPowerIterations;
    this.eps = eps;
    this.dim = dim < 0 ? dim + weight.shape.length : dim;
    const rows = weight.shape[this.dim];
    if (rows === undefined)
      throw new RangeError(
        `SpectralNorm: dim ${dim} is out of range for the weight [${weight.shape.join(", ")}]. Pass ${-weight.shape.length} … ${weight.shape.length - 1}.`,
      );
    [this.u, this.v] = [rows, weight.size / rows].map((n) => tidy(() => toUnit(randn([n]), eps)).keep()) as [
      Tensor,
      Tensor,
    ];
    // Run 15 iterations in advance, like PyTorch, so that σ is accurate from the first step.
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
        // Scale the matrix so that its largest absolute value is 1: this does not change the singular vectors, and keeps ε
        // negligible.
        const w = this.matrix;
        const unit = w.div(
          w
            .abs()
            .max()
            .clamp(2 ** -126),
        );
        for (let i = 0; i < times; i++) {
          this.v.copyFrom(toUnit(this.u.matmul(unit), this.eps));
          this.u.copyFrom(toUnit(unit.matmul(this.v), this.eps));
        }
      }),
    );
  }
  /** The layer's weight divided by its largest singular value. */
  get weight(): Tensor {
    const sigma = this.u.clone().dot(this.matrix.matmul(this.v.clone()));
    return this.layer.weight.div(sigma);
  }

  /** The layer's forward pass, with the normalized weight. */
  forward(...inputs: Parameters<L["forward"]>): ReturnType<L["forward"]> {
    if (this.training) this.iterate(this.iterations);
    const original = this.layer.weight;
    const layer = this.layer as { weight: Tensor };
    layer.weight = this.weight;
    try {
      return this.layer.forward(...inputs) as ReturnType<L["forward"]>;
    } finally {
      layer.weight = original;
    }
  }
}
