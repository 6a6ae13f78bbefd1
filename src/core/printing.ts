/** Formats elements as nested arrays and as text. */
import { type DType, type Shape, type Spec, show, sizeOf } from "../ops/definition/value.ts";

/** The result of toArray: numbers or booleans, nested once per dim. */
export type NestedArray = number | boolean | NestedArray[];

/** Tensors with more than BRIEF elements are abbreviated: their long dims show only EDGE elements at each end. */
const BRIEF = 1000;
const EDGE = 3;

/** Converts row-major elements to nested arrays. */
export function nest(elements: ArrayLike<number>, shape: Shape, dtype: DType): NestedArray {
  let at = 0;
  const level = (dim: number): NestedArray => {
    if (dim === shape.length) return dtype === "bool" ? elements[at++] !== 0 : elements[at++]!;
    return Array.from({ length: shape[dim]! }, () => level(dim + 1));
  };
  return level(0);
}

/**
 * Formats a number as tensors print it: integers exactly (up to 2⁵³), and other numbers with five significant digits
 * and at least one decimal. Zero keeps its sign.
 */
export function formatNumber(v: number): string {
  if (Object.is(v, -0)) return "-0";
  const size = Math.abs(v);
  if (Number.isInteger(v) && size <= 2 ** 53) return String(v);
  if (size > 2 ** 53 && size < Infinity) return Number(v.toPrecision(5)).toExponential();
  return String(Number(v.toPrecision(size < 1e4 ? 5 : Math.floor(Math.log10(size)) + 2)));
}

/**
 * Formats a tensor: `tensor([[1, 2], [3, 4]], int32)`. The shape and the dtype are appended only if the elements do not
 * show them.
 */
export function formatTensor(elements: ArrayLike<number>, { shape, dtype }: Spec, requiresGrad: boolean): string {
  const strides = shape.map((_, i) => sizeOf(shape.slice(i + 1)));
  const brief = sizeOf(shape) > BRIEF;
  const write = (dim: number, at: number): string => {
    if (dim === shape.length) {
      const v = elements[at]!;
      return dtype === "bool" ? String(v !== 0) : formatNumber(v);
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

/** Aligns rows of cells in columns. @param right the indices of right-aligned columns */
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

/** Formats a number with three digits and an SI prefix from nano to tera: `1.25 M`. */
export function amount(value: number, unit = ""): string {
  if (!Number.isFinite(value)) return `${value} ${unit}`.trimEnd();
  const prefixes = ["n", "µ", "m", "", "k", "M", "G", "T"];
  // Round first, so that 999.7 becomes 1 k, not 1.00e+3.
  const size = Math.abs(Number(value.toPrecision(3)));
  const step = size === 0 ? 0 : Math.max(-3, Math.min(4, Math.floor(Math.log10(size) / 3 + 1e-9)));
  const scaled = value / 1000 ** step;
  const digits = Number.isInteger(scaled) || size >= 1000 ** (step + 1) ? scaled.toFixed(0) : scaled.toPrecision(3);
  return `${digits} ${prefixes[step + 3]}${unit}`.trimEnd();
}
