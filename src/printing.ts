/** Elements as nested arrays and as text. */
import { type DType, type Shape, type Spec, show, sizeOf } from "./ops/value.ts";

export type NestedArray = number | boolean | NestedArray[];

/** Elements beyond which the middle of long dimensions is left out, and how many are shown at either end. */
const BRIEF = 1000;
const EDGE = 3;

/** Row-major elements as nested arrays. */
export function nest(elements: ArrayLike<number>, shape: Shape, dtype: DType): NestedArray {
  let at = 0;
  const level = (dim: number): NestedArray => {
    if (dim === shape.length) return dtype === "bool" ? elements[at++] !== 0 : elements[at++]!;
    return Array.from({ length: shape[dim]! }, () => level(dim + 1));
  };
  return level(0);
}

/** `tensor([[1, 2], [3, 4]], int32)`: five significant digits, and what is not obvious from them. */
export function formatTensor(elements: ArrayLike<number>, { shape, dtype }: Spec, requiresGrad: boolean): string {
  const strides = shape.map((_, i) => sizeOf(shape.slice(i + 1)));
  const brief = sizeOf(shape) > BRIEF;
  const write = (dim: number, at: number): string => {
    if (dim === shape.length) {
      const v = elements[at]!;
      return dtype === "bool" ? String(v !== 0) : String(Number(v.toPrecision(5)));
    }
    const n = shape[dim]!;
    const parts: string[] = [];
    for (let i = 0; i < n; i++) {
      if (brief && n > 2 * EDGE && i === EDGE) {
        parts.push("…");
        i = n - EDGE;
      }
      parts.push(write(dim + 1, at + i * strides[dim]!));
    }
    return `[${parts.join(dim === shape.length - 1 ? ", " : `,\n${" ".repeat(8 + dim)}`)}]`;
  };
  const notes = [
    brief || sizeOf(shape) === 0 ? `shape ${show(shape)}` : "",
    dtype === "float32" ? "" : dtype,
    requiresGrad ? "requiresGrad" : "",
  ];
  return `tensor(${[write(0, 0), ...notes.filter(Boolean)].join(", ")})`;
}

/** Rows of cells as columns, numbered ones to the right. */
export function table(rows: readonly (readonly string[])[], right: readonly number[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => (right.includes(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** `1.25 M`: three digits with the unit's prefix, from nano to tera. */
export function amount(value: number, unit = ""): string {
  const prefixes = ["n", "µ", "m", "", "k", "M", "G", "T"];
  const step = value === 0 ? 0 : Math.max(-3, Math.min(4, Math.floor(Math.log10(Math.abs(value)) / 3 + 1e-9)));
  const scaled = value / 1000 ** step;
  const digits = Number.isInteger(scaled) ? scaled.toFixed(0) : scaled.toPrecision(3);
  return `${digits} ${prefixes[step + 3]}${unit}`.trimEnd();
}
