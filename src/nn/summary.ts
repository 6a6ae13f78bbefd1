/** What a model is made of: its layers, what comes out of them, and what they cost. Nothing is computed for it. */

import { withGrad, withRecorder } from "../core/context.ts";
import { amount, table } from "../core/printing.ts";
import { tensorsIn, tidy } from "../core/scope.ts";
import { Tensor } from "../core/tensor.ts";
import type { AnyOp } from "../ops/definition/op.ts";
import { bytesPerElement, type DType, type Shape, show } from "../ops/definition/value.ts";
import { flopsOf } from "../ops/definition/work.ts";
import { check } from "../runtime/arguments.ts";
import { type Call, intercepted } from "./intercept.ts";
import { type Module, nameOf } from "./module.ts";

/** One call of a module. */
export interface SummaryRow {
  /** Its path in the model; "" is the model. */
  readonly name: string;
  /** The layer's class. */
  readonly type: string;
  /** What it returns. */
  readonly outputs: readonly Shape[];
  /** Elements of parameters that are its own, not its children's. */
  readonly parameters: number;
  /** Floating-point operations of its own, not its children's. */
  readonly flops: number;
  /** Bytes of what it returns. */
  readonly bytes: number;
}

/** What `summary` returns. Printing it shows a table; its fields are for programs. */
export class Summary {
  constructor(
    /** In the order in which calls begin. */
    readonly rows: readonly SummaryRow[],
    /** Elements of all parameters, each counted once. */
    readonly parameters: number,
    /** Bytes of parameters and buffers. */
    readonly parameterBytes: number,
  ) {}
  /** Floating-point operations of a forward pass. */
  get flops(): number {
    return this.rows.reduce((total, { flops }) => total + flops, 0);
  }

  /** The table of layers, for printing. */
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

/**
 * A model's layers, the shapes of their outputs, parameters, operations and bytes, for input of the given shape, batch included (or
 * several shapes and types, for several inputs). Nothing is computed or changed.
 *
 * ```ts
 * console.log(summary(model, [32, 28, 28, 1]));
 * ```
 * @throws ShapeError where the input does not fit, TraceError where the model looks at values
 */
export function summary(
  model: Module,
  inputShape: Shape | readonly Shape[],
  options: {
    /** The type of the inputs, or of each input. Default "float32". */
    readonly dtype?: DType | readonly DType[];
  } = {},
): Summary {
  check("summary", arguments, "model:module inputShape:array {dtype:any}");
  const { dtype = "float32" } = options;
  const shapes = (inputShape.length && typeof inputShape[0] !== "number" ? inputShape : [inputShape]) as Shape[];
  const typeOf = (i: number): DType => (typeof dtype === "string" ? dtype : (dtype[i] ?? "float32"));
  const rows: { -readonly [K in keyof SummaryRow]: SummaryRow[K] }[] = [];
  const open: number[] = [];
  const recorder = {
    record(op: AnyOp, inputs: readonly Tensor[], outputs: readonly Tensor[], attributes: unknown): void {
      const row = rows[open.at(-1)!];
      if (row) row.flops += flopsOf(op, { inputs, outputs, attributes });
    },
    siteOf: () => "",
    guard() {},
    gradient() {},
  };
  const own = new Set(model.parameters());
  const around = ({ name, module, forward }: Call): unknown => {
    const mine = Object.values(module).filter((x) => x instanceof Tensor && own.has(x)) as Tensor[];
    const parameters = mine.reduce((total, { size }) => total + size, 0);
    open.push(rows.push({ name, type: nameOf(module), outputs: [], parameters, flops: 0, bytes: 0 }) - 1);
    const result = forward();
    const row = rows[open.pop()!]!;
    const outputs = [...tensorsIn(result)];
    row.outputs = outputs.map(({ shape }) => shape);
    row.bytes = outputs.reduce((total, x) => total + x.size * bytesPerElement[x.dtype], 0);
    return result;
  };
  intercepted(model, around, () =>
    withRecorder(recorder, () =>
      withGrad(false, () =>
        tidy(
          () =>
            void model.forward(...shapes.map((shape, i) => Tensor.allocate({ shape, dtype: typeOf(i) }, "summary"))),
        ),
      ),
    ),
  );
  const bytes = [...new Set(Object.values(model.stateDict()))].reduce(
    (total, x) => total + x.size * bytesPerElement[x.dtype],
    0,
  );
  const parameters = [...own].reduce((total, { size }) => total + size, 0);
  return new Summary(rows, parameters, bytes);
}
