/** The cache of keys and values that lets attention layers generate a sequence step by step. */

import { currentRecorder, withGrad, withRecorder } from "../core/context.ts";
import { arange, zeros } from "../core/creation.ts";
import { tidy } from "../core/scope.ts";
import type { Tensor } from "../core/tensor.ts";
import { advance } from "../ops/random/random.ts";
import { attendCached } from "../ops/sequence/cache.ts";
import type { AttentionAttributes } from "../ops/sequence/heads.ts";
import { check, checkNone } from "../runtime/arguments.ts";
import { Error, requireRange, requireWhole, TraceError } from "../runtime/errors.ts";

/** The sizes of an attention layer, with the same names as in MultiheadAttention. */
interface Attending {
  readonly embedDim: number;
  readonly numHeads: number;
}

/** Makes a tensor that outlives the current scope and recording. */
const keep = (make: () => Tensor): Tensor => withRecorder(null, () => withGrad(false, () => make().keep()));
/** Whether n can be a number of steps. */
const isCount = (n: number): boolean => Number.isInteger(n) && n >= 0;
const COUNT = "a whole number, 0 or more";
const counter = (): Tensor => keep(() => zeros([], { dtype: "int32" }));

/** Where the next step is in a sequence. */
export interface Position {
  /** The largest number of steps in the sequence. */
  readonly capacity: number;
  /** The number of steps before the next one: int32 [], at most `capacity`. @internal */
  readonly position: Tensor;
  /** Tables of positions, [capacity, …], by name. @internal */
  readonly tables: Map<string, Tensor>;
}

/**
 * The positions of the next steps: int32 [steps]. A position beyond the capacity is replaced with the last one, so that tables can be
 * read. The layers reject steps beyond the capacity anyway.
 */
const following = ({ position, capacity }: Position, steps: number): Tensor =>
  arange(steps, { dtype: "int32" })
    .add(position)
    .minimum(capacity - 1);

/** The rows of a table [capacity, …] for the next steps: [steps, …]. */
export function rowsAt(from: Position, name: string, steps: number, make: () => Tensor): Tensor {
  const table = from.tables.get(name) ?? keep(make);
  from.tables.set(name, table);
  currentRecorder()?.addFixed?.([table, from.position]);
  return table.indexSelect(0, following(from, steps));
}

/**
 * Stores the keys and values of the steps that attention layers have processed, so that generation computes each step only once.
 * Pass the same cache to every call. A layer allocates memory for `capacity` steps when it first uses the cache, and then writes to
 * this memory in place. The number of filled steps is in linear memory too, so a compiled function runs the same program for every
 * step. The work of a step grows with the number of filled steps, not with the capacity.
 *
 * ```ts
 * const layer = new nn.MultiheadAttention(16, 4, { batchFirst: true }).eval();
 * const cache = new nn.KeyValueCache(2, 32);
 * const next = compile((x: Tensor) => noGrad(() => layer.forward(x, x, x, { cache, isCausal: true })[0]));
 * next(randn([2, 5, 16])); // a prompt of 5 steps
 * next(randn([2, 1, 16])).shape; // [2, 1, 16]
 * cache.length; // 6
 * ```
 * @throws RangeError if batch or capacity is not a whole number above 0; TraceError inside a compiled function
 */
export class KeyValueCache implements Position {
  /** @internal */
  readonly position = counter();
  /** @internal */
  readonly tables = new Map<string, Tensor>();
  private readonly layers = new Map<Attending, { keys: Tensor; values: Tensor; length: Tensor }>();

  /** @param batch the number of sequences @param capacity the largest number of steps in a sequence */
  constructor(
    /** The number of sequences. */
    readonly batch: number,
    /** The largest number of steps in a sequence. */
    readonly capacity: number,
  ) {
    check("KeyValueCache", arguments, "batch:number capacity:number");
    if (currentRecorder())
      throw new TraceError(
        "KeyValueCache: compile records a function once, so all calls would share a cache that it makes. Make the cache outside.",
      );
    requireWhole("KeyValueCache", { batch, capacity });
  }

  /** The number of cached steps. */
  get length(): number {
    if (currentRecorder())
      throw new TraceError(
        "KeyValueCache: length changes with every call, but compile records it once. Use positions(), or read length outside.",
      );
    return this.position.item();
  }

  /**
   * The positions of the next steps, for position embeddings: int32 [steps]. Call it before the layers that use the cache.
   * @param steps the number of steps, default 1
   * @throws RangeError if steps is not a whole number, 0 or more
   */
  positions(steps = 1): Tensor {
    check("positions", arguments, "steps?:number");
    requireRange("positions", { steps }, isCount, COUNT);
    currentRecorder()?.addFixed?.([this.position]);
    return following(this, steps);
  }

  /** The keys, the values and the number of steps of one layer, which this method creates when the layer first uses the cache. */
  private stateOf(layer: Attending): { keys: Tensor; values: Tensor; length: Tensor } {
    let state = this.layers.get(layer);
    if (!state) {
      const { embedDim, numHeads } = layer;
      const rows = (): Tensor => keep(() => zeros([this.batch, numHeads, this.capacity, embedDim / numHeads]));
      state = { keys: rows(), values: rows(), length: this.layers.size ? counter() : this.position };
      this.layers.set(layer, state);
    }
    currentRecorder()?.addFixed?.(Object.values(state));
    return state;
  }

  /** The position of one layer, which advances when the layer attends. @internal */
  positionOf(layer: Attending): Position {
    return { capacity: this.capacity, position: this.stateOf(layer).length, tables: this.tables };
  }

  /** @throws Error if an earlier eager call has not added its steps to this layer, although it has added them to the first one */
  private requireComplete(length: Tensor, steps: number): void {
    if (length === this.position || currentRecorder()) return;
    const [own, first] = [length.item(), this.length - steps];
    if (own !== first)
      throw new Error(
        `KeyValueCache: an earlier call stopped between layers: this layer holds ${own} steps, and the first layer ${first}. Call truncate(${Math.min(own, first)}), and pass the steps after these again.`,
      );
  }

  /** Adds the keys and values in qkv (packed heads) to those of a layer, and computes the queries' attention to all of them. @internal */
  attend(
    layer: Attending,
    qkv: Tensor,
    mask: Tensor | undefined,
    attributes: Pick<AttentionAttributes, "layout" | "scale" | "causal">,
  ): Tensor {
    const state = this.stateOf(layer);
    const steps = qkv.shape[attributes.layout.indexOf("t")]!;
    this.requireComplete(state.length, steps);
    const y = attendCached(qkv, state, mask, attributes) as Tensor;
    advance(state.length, steps);
    return y;
  }

  /**
   * Keeps only the first steps, for example to replace the last ones.
   * @param length the number of steps to keep; a cache with fewer does not change
   * @throws RangeError if length is not a whole number, 0 or more
   */
  truncate(length: number): void {
    check("truncate", arguments, "length:number");
    requireRange("truncate", { length }, isCount, COUNT);
    const all = new Set([this.position, ...Array.from(this.layers.values(), (layer) => layer.length)]);
    currentRecorder()?.addFixed?.(all);
    tidy(() => {
      for (const x of all) x.copyFrom(x.minimum(length));
    });
  }

  /** Removes all steps, so that the next sequence can begin. Keeps the memory. */
  reset(): void {
    checkNone("reset", arguments);
    this.truncate(0);
  }

  /** Frees the memory. The cache can't be used afterwards. */
  dispose(): void {
    checkNone("dispose", arguments);
    for (const layer of this.layers.values()) for (const x of Object.values(layer)) x.dispose();
    for (const x of [this.position, ...this.tables.values()]) x.dispose();
  }
}
