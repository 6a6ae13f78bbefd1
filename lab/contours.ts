/** Traces the contours of values on a grid with marching squares, and returns them as SVG paths. */

/**
 * The values at the points of a grid, row by row, and the pixel positions of the first and last columns (x) and rows
 * (y).
 */
export interface Grid {
  readonly columns: number;
  readonly values: readonly number[];
  readonly x: readonly [first: number, last: number];
  readonly y: readonly [first: number, last: number];
}

/**
 * For each level, a path that encloses all values ≥ the level. The path crosses the grid's edges where linear
 * interpolation reaches the level, and runs half a cell outside the grid where it encloses values on the border. NaN is
 * treated as less than every level.
 */
export function contourPaths({ columns, values, x, y }: Grid, levels: readonly number[]): string[] {
  const rows = values.length / columns;
  const width = columns + 2;
  // With a border of −∞ around the grid, every contour is closed.
  const padded = new Float64Array(width * (rows + 2)).fill(Number.NEGATIVE_INFINITY);
  values.forEach((value, i) => {
    if (!Number.isNaN(value)) padded[(Math.floor(i / columns) + 1) * width + (i % columns) + 1] = value;
  });
  const [across, up] = [(x[1] - x[0]) / (columns - 1), (y[1] - y[0]) / (rows - 1)];
  // Edge 2p joins point p to the next point in its row, and edge 2p + 1 joins it to the next point in its column.
  const next = new Int32Array(2 * padded.length).fill(-1);
  const edgeOf = (p: number, edge: number): number => [2 * p, 2 * p + 3, 2 * (p + width), 2 * p + 1][edge]!;

  /** The point where a contour crosses an edge, as text such as "12.3,45". */
  const crossing = (edge: number, level: number): string => {
    const p = edge >> 1;
    const isUp = edge % 2;
    const [from, to] = [padded[p]!, padded[isUp ? p + width : p + 1]!];
    const part = Number.isFinite(from) && Number.isFinite(to) ? (level - from) / (to - from) : 0.5;
    const column = (p % width) - 1 + (isUp ? 0 : part);
    const row = Math.floor(p / width) - 1 + (isUp ? part : 0);
    return `${Math.round(10 * (x[0] + across * column)) / 10},${Math.round(10 * (y[0] + up * row)) / 10}`;
  };

  return levels.map((level) => {
    const starts: number[] = [];
    for (let p = 0; p < padded.length - width - 1; p++) {
      const [a, b, c, d] = [padded[p]!, padded[p + 1]!, padded[p + width + 1]!, padded[p + width]!];
      const inside = +(a >= level) | (+(b >= level) << 1) | (+(c >= level) << 2) | (+(d >= level) << 3);
      if (inside === 0 || inside === 15) continue;
      const segments = a + b + c + d >= 4 * level ? JOINED : SEPARATE;
      for (const [from, to] of segments[inside]!) {
        next[edgeOf(p, from)] = edgeOf(p, to);
        starts.push(edgeOf(p, from));
      }
    }
    let path = "";
    for (const start of starts) {
      if (next[start] === -1) continue;
      let edge = start;
      let points = "";
      while (next[edge] !== -1) {
        points += `${points ? "L" : "M"}${crossing(edge, level)}`;
        const following = next[edge]!;
        next[edge] = -1;
        edge = following;
      }
      path += `${points}Z`;
    }
    return path;
  });
}

/**
 * The segments of a contour in a cell. Corners and edges are numbered in the same direction, and edge i is between
 * corners i and i + 1. A segment starts at an edge whose first corner is inside the contour and whose second is
 * outside, so the segments of neighbouring cells join end to end. Bit i of `inside` tells whether corner i is inside.
 * @param joined whether two opposite corners that are both inside are connected through the cell
 */
function segmentsOf(inside: number, joined: boolean): [from: number, to: number][] {
  const isInside = (corner: number): boolean => ((inside >> (corner % 4)) & 1) === 1;
  const crossed = [0, 1, 2, 3].filter((edge) => isInside(edge) !== isInside(edge + 1));
  return crossed.flatMap((edge, i): [number, number][] => {
    const to = crossed[(i + (joined ? 1 : crossed.length - 1)) % crossed.length]!;
    return isInside(edge) ? [[edge, to]] : [];
  });
}
const [SEPARATE, JOINED] = [false, true].map((joined) =>
  Array.from({ length: 16 }, (_, inside) => segmentsOf(inside, joined)),
) as [[number, number][][], [number, number][][]];
