/** Parameter groups: parameters that share options, with the learning rate in linear memory. */

import { full } from "../core/creation.ts";
import type { Tensor } from "../core/tensor.ts";
import { check } from "../runtime/arguments.ts";
import { requireRange } from "../runtime/errors.ts";
import { requireKind } from "../runtime/kinds.ts";

/** Options that every optimizer has. */
export interface CommonOptions {
  /** The learning rate, ≥ 0. The default depends on the optimizer; SGD has none. */
  lr: number;
}

/** Parameters with their own options. Options that a group omits are taken from the optimizer. */
export type GroupOptions<O> = Partial<O> & {
  /** The tensors of the group. */
  params: Iterable<Tensor>;
};

/** Parameters that share options. You can set options at any time. */
export class ParamGroup<O extends CommonOptions> {
  /** The parameters of the group. */
  readonly params: readonly Tensor[];
  /** The group's options; assign to change them. After a change to any option except lr, compiled functions record again. */
  readonly options: O;
  /** The learning rate, float32 []: update kernels read it from memory, so compiled functions use its current value. */
  readonly rate: Tensor;
  /** The number of times that an option other than lr has changed. When it changes, compiled functions record again. */
  changes = 0;

  constructor(params: Iterable<Tensor>, options: O, optimizer = "ParamGroup") {
    check(optimizer, [params, options], "params:list options:object");
    this.params = [...params];
    this.rate = full([], options.lr).keep();
    const values: Record<string, unknown> = Object.fromEntries(Object.entries(options));
    const property = (key: string): PropertyDescriptor => ({
      enumerable: true,
      get: () => values[key],
      set: (value: unknown) => {
        if (key === "lr") {
          checkRate(optimizer, value);
          this.rate.copyFrom([value as number]);
        } else if (!isSame(value, values[key])) this.changes++;
        values[key] = value;
      },
    });
    this.options = Object.defineProperties(
      {},
      Object.fromEntries(Object.keys(values).map((key) => [key, property(key)])),
    ) as O;
  }
  /** The learning rate. */
  get lr(): number {
    return this.options.lr;
  }
  set lr(lr: number) {
    this.options.lr = lr;
  }
}

/** Whether two values of an option are equal. A value can be a number, a flag, or a list of these. */
const isSame = (a: unknown, b: unknown): boolean =>
  Object.is(a, b) ||
  (Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((v, i) => isSame(v, b[i])));

/** @throws TypeError, RangeError */
export function checkRate(name: string, lr: unknown): void {
  requireKind(name, "lr", "number", lr);
  requireRange(name, { lr: lr as number }, (v) => v >= 0 && v < Infinity, "a number ≥ 0");
}
