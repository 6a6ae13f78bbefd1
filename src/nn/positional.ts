/** Positional encodings: rotary and sinusoidal. */

import { tensor } from "../core/creation.ts";
import * as ops from "../core/functions.ts";
import type { Tensor } from "../core/tensor.ts";
import { check } from "../runtime/arguments.ts";
import { requireRange, requireWhole, ShapeError } from "../runtime/errors.ts";
import { kindOf } from "../runtime/kinds.ts";
import { type KeyValueCache, type Position, rowsAt } from "./cache.ts";
import { Module } from "./module.ts";

/**
 * baseᵖ for p in [0, 1), with an error below 1e-14: the product of the roots √base, √√base, … that p's binary digits select. With
 * Math.pow, the angles of distant positions would differ between JavaScript engines; square roots and products are the same in
 * all of them.
 */
function rootPower(base: number, p: number): number {
  let [product, root, rest] = [1, base, p];
  for (let digit = 0; digit < 52 && rest; digit++) {
    root = Math.sqrt(root);
    rest *= 2;
    if (rest < 1) continue;
    product *= root;
    rest -= 1;
  }
  return product;
}

const POSITIONAL = "x:tensor {offset:number|cache dim:number}";

/** Options for `forward` of the positional encodings. */
export interface PositionOptions {
  /**
   * The position of the first step, or a cache. With a cache, the first step is the cache's next step, and the encoding
   * must run before the layers that use the cache. Default 0.
   */
  readonly offset?: number | KeyValueCache;
  /** The dimension that contains the steps; 0 for [steps, batch, dim]. Default -2. */
  readonly dim?: number;
}

/** Options for RotaryEmbedding. */
export interface RotaryOptions {
  /** Pair i rotates by position/base^(2i/dim). Default 10000. */
  readonly base?: number;
  /**
   * Whether to pair adjacent elements; false pairs the two halves of a row, as in Llama's published weights. Default
   * true.
   */
  readonly interleaved?: boolean;
}

/** The tables that each module used last. They are not a property, because compile would record a function again if they changed. */
const lastTables = new WeakMap<
  RotaryEmbedding,
  { steps: number; offset: number; tables: [Float32Array, Float32Array] }
>();

/**
 * Rotary position embedding (Su et al. 2021, eq. 34): rotates each pair of elements of x: [..., steps, dim] by an angle proportional
 * to the position, so that attention scores depend on the distance between query and key. The result has x's shape.
 *
 * ```ts
 * new nn.RotaryEmbedding(4).forward(randn([2, 5, 4])).shape; // [2, 5, 4]
 * ```
 * @throws RangeError if dim is not an even number above 0; ShapeError if x's last size is not dim
 */
export class RotaryEmbedding extends Module {
  static override readonly kind: string = "RotaryEmbedding";
  private readonly base: number;
  private readonly interleaved: boolean;

  /** @param dim the width of an attention head; must be even */
  constructor(
    /** The size of the last dim, an even number. */
    readonly dim: number,
    options: RotaryOptions = {},
  ) {
    super();
    check("RotaryEmbedding", arguments, "dim:number {base:number interleaved:boolean}");
    const { base = 10000, interleaved = true } = options;
    requireRange("RotaryEmbedding", { dim }, (n) => Number.isInteger(n / 2) && n > 0, "an even number above 0");
    this.base = base;
    this.interleaved = interleaved;
  }

  private get half(): number {
    return this.dim / 2;
  }
  /**
   * The cosine and sine of the angle for each step and pair. The tables are cached, because queries and keys use the same ones.
   */
  private tables(steps: number, offset: number): [Float32Array, Float32Array] {
    const { half, base } = this;
    const cached = lastTables.get(this);
    if (cached?.steps === steps && cached.offset === offset) return cached.tables;
    const tables: [Float32Array, Float32Array] = [new Float32Array(steps * half), new Float32Array(steps * half)];
    for (let i = 0; i < half; i++) {
      const period = rootPower(base, i / half);
      for (let t = 0; t < steps; t++) {
        tables[0][t * half + i] = Math.cos((offset + t) / period);
        tables[1][t * half + i] = Math.sin((offset + t) / period);
      }
    }
    lastTables.set(this, { steps, offset, tables });
    return tables;
  }

  /** Rotates x: [..., steps, dim] → the same shape. @throws ShapeError */
  forward(x: Tensor, options: PositionOptions = {}): Tensor {
    check(kindOf(this), arguments, POSITIONAL);
    return this.rotate(x, options.offset ?? 0, options.dim ?? -2);
  }
  /** @internal */
  rotate(x: Tensor, offset: number | Position, dim: number): Tensor {
    const rank = x.shape.length;
    const at = dim < 0 ? dim + rank : dim;
    if (rank < 2 || x.shape[rank - 1] !== this.dim || !(at >= 0 && at < rank - 1))
      throw new ShapeError(
        `RotaryEmbedding: x must be [..., steps, ${this.dim}], with the steps in dim ${dim}, got [${x.shape.join(", ")}].`,
      );
    const steps = x.shape[at]!;
    const { half } = this;
    const pairs = this.interleaved ? [half, 2] : [2, half];
    const axis = this.interleaved ? rank : rank - 1;
    const parts = x.reshape([...x.shape.slice(0, -1), ...pairs]);
    const [a, b] = [0, 1].map((i) => parts.narrow(axis, i, 1)) as [Tensor, Tensor];
    const pairAxis = this.interleaved ? rank - 1 : rank;
    const shape = a.shape.map((n, i) => (i === at || i === pairAxis ? n : 1));
    const [cos, sin] = [0, 1].map((i) => {
      if (typeof offset === "number") return tensor(this.tables(steps, offset)[i]!, shape);
      const { capacity } = offset;
      const table = (): Tensor => tensor(this.tables(capacity, 0)[i]!, [capacity, half]);
      return rowsAt(offset, `rotary ${this.dim} ${this.base} ${i}`, steps, table).reshape(shape);
    }) as [Tensor, Tensor];
    const rotated = ops.concat([a.mul(cos).sub(b.mul(sin)), a.mul(sin).add(b.mul(cos))], axis);
    return rotated.reshape(x.shape);
  }
}

/**
 * Sinusoidal positional encoding (Vaswani et al. 2017, §3.5): adds sin(t/10000^(2i/dim)) to element 2i and cos(t/10000^(2i/dim)) to
 * element 2i + 1 of step t of x: [..., steps, dim]. The result has x's shape.
 * @throws RangeError if dim is not a whole number above 0; ShapeError if x's last size is not dim
 */
export class SinusoidalEncoding extends Module {
  static override readonly kind: string = "SinusoidalEncoding";
  /** @param dim the width of each step */
  constructor(readonly dim: number) {
    super();
    check("SinusoidalEncoding", arguments, "dim:number");
    requireWhole("SinusoidalEncoding", { dim });
  }

  /** Adds the encoding to x: [..., steps, dim] → the same shape. @throws ShapeError */
  forward(x: Tensor, options: PositionOptions = {}): Tensor {
    check(kindOf(this), arguments, POSITIONAL);
    const { offset = 0, dim = -2 } = options;
    const rank = x.shape.length;
    const at = dim < 0 ? dim + rank : dim;
    const width = this.dim;
    if (x.shape[rank - 1] !== width || !(at >= 0 && at < rank - 1))
      throw new ShapeError(
        `SinusoidalEncoding: x must be [..., steps, ${width}], with the steps in dim ${dim}, got [${x.shape.join(", ")}].`,
      );
    const steps = x.shape[at]!;
    const encoding =
      typeof offset === "number"
        ? tensor(this.values(steps, offset), [steps, width])
        : rowsAt(offset, `sinusoidal ${width}`, steps, () =>
            tensor(this.values(offset.capacity, 0), [offset.capacity, width]),
          );
    return x.add(encoding.reshape([steps, ...x.shape.slice(at + 1, -1).map(() => 1), width]));
  }

  private values(steps: number, offset: number): Float32Array {
    const width = this.dim;
    const values = new Float32Array(steps * width);
    for (let i = 0; i < width; i++) {
      const period = rootPower(10000, (i - (i % 2)) / width);
      for (let t = 0; t < steps; t++)
        values[t * width + i] = i % 2 ? Math.cos((offset + t) / period) : Math.sin((offset + t) / period);
    }
    return values;
  }
}
