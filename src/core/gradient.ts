/** The gradient of a leaf: a tensor or, if the loss used only some rows of a table, a SparseGradient. */
import type { SparseRows } from "../ops/definition/op.ts";
import { sameShape, show, type Value } from "../ops/definition/value.ts";
import { densify } from "../ops/index/sparse.ts";
import { assign } from "../ops/shape/shape.ts";
import { ShapeError } from "../runtime/errors.ts";
import { requireKind } from "../runtime/kinds.ts";
import { withGrad, withRecorder } from "./context.ts";
import type { Stored } from "./graph.ts";
import { withJournal } from "./memory.ts";

/** A tensor, as this file sees it. tensor.ts imports this file, so this file cannot import Tensor. */
interface Part extends Stored {
  readonly isDisposed: boolean;
  keep(): this;
  /** @internal */
  disposeBecause(reason: string): void;
}

/** The gradient of a table [n, …], as rows. `index` holds distinct row numbers in ascending order, then −1s, whose rows are 0. */
export class SparseGradient<T extends Part> implements SparseRows {
  /** The gradient as a table; null if code has not read it. */
  private table: T | null = null;
  /** The version of the rows from which the table was computed, and the version that the table had afterwards. */
  private versions = { rows: 0, table: 0 };

  constructor(
    readonly index: T,
    readonly rows: T,
    /** The number of rows of the table. */
    readonly n: number,
  ) {}

  /** The gradient as a table. It is computed when it is first read, and again, in place, if the rows have changed. */
  get dense(): T {
    const { version, symbolic } = this.rows.storage("grad");
    const { table } = this;
    if (table && this.versions.rows === version) return table;
    const compute = (): T => {
      const made = densify(this, this.n) as Value as T;
      if (!table) return made.keep();
      // Errors must not undo this write, because the rows stay as they are.
      withJournal("shortage", null, () => withJournal("nonFinite", null, () => assign(table, made)));
      made.disposeBecause("grad, which copied it");
      return table;
    };
    const withoutGrad = (): T => withGrad(false, compute);
    // compile records how the table is computed only if it recorded how the rows are computed.
    const now = symbolic ? withoutGrad() : withRecorder(null, withoutGrad);
    const storage = now.storage("grad");
    storage.isExposed = false;
    this.table = now;
    this.versions = { rows: version, table: storage.version };
    return now;
  }

  /**
   * Whether the table replaces the rows as the gradient, because code disposed the table, or may have written to it
   * since it was computed from the current rows.
   */
  get isOverwritten(): boolean {
    const { table, rows, versions } = this;
    if (!table || rows.isDisposed) return false;
    if (table.isDisposed) return true;
    const { version, isExposed } = table.storage("grad");
    return rows.storage("grad").version === versions.rows && (isExposed || version !== versions.table);
  }

  /** Frees the rows. Returns the table, which then belongs to the caller, if it was read. */
  release(): T | null {
    const { table } = this;
    this.table = null;
    this.dispose();
    return table;
  }

  /** Frees the table, unless it is one of the tensors in `except`. */
  freeTable(reason: string, except: ReadonlySet<T>): void {
    if (this.table && !except.has(this.table)) this.table.disposeBecause(reason);
  }

  /** A sparse gradient that consists of f(index) and f(rows). */
  map(f: (x: T) => T): SparseGradient<T> {
    return new SparseGradient(f(this.index), f(this.rows), this.n);
  }

  get isDisposed(): boolean {
    return this.rows.isDisposed;
  }
  keep(): this {
    this.index.keep();
    this.rows.keep();
    return this;
  }
  dispose(): void {
    this.disposeBecause("dispose()");
  }
  disposeBecause(reason: string): void {
    for (const x of [this.index, this.rows, this.table]) x?.disposeBecause(reason);
  }
}

/** The gradient of a leaf of type T. */
export type Gradient<T extends Part> = T | SparseGradient<T>;

/**
 * Returns a value that replaces a leaf's gradient, and frees the rows of that gradient, which nothing else can reach.
 * @throws TypeError, ShapeError if the value cannot be the gradient of the leaf
 */
export function replaceGradient<T extends Part>(before: Gradient<T> | null, value: T | null, leaf: T): T | null {
  requireKind("grad", "value", "tensor|null", value);
  if (value && !sameShape(value.shape, leaf.shape))
    throw new ShapeError(
      `grad: the gradient is ${show(value.shape)}, but the tensor is ${show(leaf.shape)}. Reshape the gradient.`,
    );
  if (before instanceof SparseGradient) before.release();
  return value;
}

/** The gradient as a tensor. */
export const denseGradient = <T extends Part>(g: Gradient<T> | null): T | null =>
  g instanceof SparseGradient ? g.dense : g;

/** The gradient. If code overwrote the table of a sparse gradient, frees the rows and returns the table. */
export const currentGradient = <T extends Part>(g: Gradient<T> | null): Gradient<T> | null =>
  g instanceof SparseGradient && g.isOverwritten ? g.release() : g;

/** The tensors that make up a gradient. */
export const tensorsOf = <T extends Part>(g: Gradient<T>): T[] =>
  g instanceof SparseGradient ? [g.index, g.rows] : [g];

/** A gradient of the same kind that is made up of f(x) for each tensor x of g. */
export const mapGradient = <T extends Part>(g: Gradient<T>, f: (x: T) => T): Gradient<T> =>
  g instanceof SparseGradient ? g.map(f) : f(g);

/** Frees the tensors of a gradient, except those in `except`. */
export function freeGradient<T extends Part>(g: Gradient<T>, reason: string, except: ReadonlySet<T>): void {
  for (const x of tensorsOf(g)) if (!except.has(x)) x.disposeBecause(reason);
  if (g instanceof SparseGradient) g.freeTable(reason, except);
}
