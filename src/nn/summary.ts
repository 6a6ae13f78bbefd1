/** Summarizes a model's layers, output shapes and costs, without running any kernel. */

import { withGrad, withRecorder } from "../core/context.ts";
import { amount, table } from "../core/printing.ts";
import { tensorsIn, tidy } from "../core/scope.ts";
import { ModuleState } from "../core/stateful.ts";
import { Tensor } from "../core/tensor.ts";
import type { AnyOp } from "../ops/definition/op.ts";
import { bytesPerElement, type DType, type Shape, show } from "../ops/definition/value.ts";
import { flopsOf } from "../ops/definition/work.ts";
import { check } from "../runtime/arguments.ts";
import { type Call, interceptDuring } from "./intercept.ts";
import { type Module, nameOf } from "./module.ts";

/** One call to a module. */
export interface SummaryRow {
  /** The module's path in the model; "" for the model itself. */
  readonly name: string;
  /** The module's kind, such as "Linear". */
  readonly type: string;
  /** The shapes of the returned tensors. */
  readonly outputs: readonly Shape[];
  /** The number of elements in the module's own parameters, without its children's. */
  readonly parameters: number;
  /** The module's own floating-point operations, without its children's. */
  readonly flops: number;
  /** The size of the returned tensors in bytes. */
  readonly bytes: number;
}

/** The result of `summary`. Print it to see a table. */
export class Summary {
  constructor(
    /** The calls, in the order in which they begin. */
    readonly rows: readonly SummaryRow[],
    /** The number of elements in all parameters, each counted once. */
    readonly parameters: number,
    /** The size of parameters and buffers in bytes. */
    readonly parameterBytes: number,
  ) {}
  /** Floating-point operations of one forward pass. */
  get flops(): number {
    return this.rows.reduce((total, { flops }) => total + flops, 0);
  }

  /** The table as text. */
  toString(): string {
    const count = (n: number): string => (n ? n.toLocaleString("en") : "");
    const rows = this.rows.map(({ name, type, outputs, parameters, flops, bytes }) => [
      `${"  ".repeat(name ? name.split(".").length : 0)}${name ? `${name.split(".").at(-1)}: ` : ""}${type}`,
      outputs.map(show).join(" "),
      count(parameters),
      flops ? amount(flops) : "",
      amount(bytes, "B"),
    ]);
    return [
      table([["layer", "output", "parameters", "FLOP", "bytes"], ...rows], [2, 3, 4]),
      `${this.parameters.toLocaleString("en")} parameters (${amount(this.parameterBytes, "B")} with buffers), ${amount(this.flops, "FLOP")} forward`,
    ].join("\n");
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }
}

/** Observes a forward pass on symbolic inputs. */
interface ForwardObserver {
  /** Called instead of each module's forward pass. */
  around(call: Call): unknown;
  /** Called for each op. */
  record(op: AnyOp, inputs: readonly Tensor[], outputs: readonly Tensor[], attributes: unknown): void;
}

/**
 * Runs a model's forward pass on inputs without values, without running any kernel. Restores the properties that the
 * pass changes.
 * @param name the caller's name for errors @param dtype the type of the input, or of each input
 */
export function traceForward(
  name: string,
  model: Module,
  inputShape: Shape | readonly Shape[],
  dtype: DType | readonly DType[] = "float32",
  { around, record }: ForwardObserver,
): void {
  const shapes = (inputShape.length && typeof inputShape[0] !== "number" ? inputShape : [inputShape]) as Shape[];
  const typeOf = (i: number): DType => (typeof dtype === "string" ? dtype : (dtype[i] ?? "float32"));
  const recorder = { record, name, siteOf: () => "", guard() {}, gradient() {} };
  const state = new ModuleState();
  for (const [, module] of model.namedModules()) state.add(module);
  try {
    interceptDuring(model, around, () =>
      withRecorder(recorder, () =>
        withGrad(false, () =>
          tidy(
            () => void model.forward(...shapes.map((shape, i) => Tensor.allocate({ shape, dtype: typeOf(i) }, name))),
          ),
        ),
      ),
    );
  } finally {
    state.changed(true);
  }
}

export interface SummaryOptions {
  /** The type of the input, or of each input. Default "float32". */
  readonly dtype?: DType | readonly DType[];
}

/**
 * Lists a model's layers with their output shapes, parameters, operations and bytes. Runs no kernel, and does not change the
 * model.
 *
 * ```ts
 * console.log(summary(model, [32, 28, 28, 1]));
 * ```
 * @param inputShape the shape of the input including the batch, or a list of shapes for several inputs
 * @throws ShapeError if the input does not fit the model; TraceError if the model reads the values of tensors
 */
export function summary(model: Module, inputShape: Shape | readonly Shape[], options: SummaryOptions = {}): Summary {
  check("summary", arguments, "model:module inputShape:array {dtype:any}");
  const rows: { -readonly [K in keyof SummaryRow]: SummaryRow[K] }[] = [];
  const open: number[] = [];
  const learnt = new Set(model.parameters());
  const around = ({ name, module, forward }: Call): unknown => {
    const own = Object.values(module).filter((x) => x instanceof Tensor && learnt.has(x)) as Tensor[];
    const parameters = own.reduce((total, { size }) => total + size, 0);
    open.push(rows.push({ name, type: nameOf(module), outputs: [], parameters, flops: 0, bytes: 0 }) - 1);
    const result = forward();
    const row = rows[open.pop()!]!;
    const outputs = [...tensorsIn(result)];
    row.outputs = outputs.map(({ shape }) => shape);
    row.bytes = outputs.reduce((total, x) => total + x.size * bytesPerElement[x.dtype], 0);
    return result;
  };
  traceForward("summary", model, inputShape, options.dtype, {
    around,
    record(op, inputs, outputs, attributes) {
      const row = rows[open.at(-1)!];
      if (row) row.flops += flopsOf(op, { inputs, outputs, attributes });
    },
  });
  const bytes = [...new Set(Object.values(model.stateDict()))].reduce(
    (total, x) => total + x.size * bytesPerElement[x.dtype],
    0,
  );
  const parameters = [...learnt].reduce((total, { size }) => total + size, 0);
  return new Summary(rows, parameters, bytes);
}
