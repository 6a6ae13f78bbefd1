/**
 * Draws a computation graph as SVG: each value above its node, each gradient below it, and each local derivative on its
 * edge. The graph runs from left to right, or downwards if there is little room. `data-order` numbers the elements in
 * the order of the computation: first the forward pass, then the backward pass. `data-steps` counts the elements of
 * both passes.
 */
import type { Graph, GraphEdge, GraphNode } from "./experiment.ts";
import { showTick } from "./scale.ts";
import { type Attributes, addSvg, newSvg } from "./svg.ts";

type Point = readonly [x: number, y: number];

const RADIUS = 17;
/** The smallest distance between two columns that leaves room for a local derivative on the edge. */
const COLUMN = 78;
const [ROW, ROW_DOWNWARDS] = [84, 64];
const GRADIENT = "var(--accent, #1f7fc4)";
const WRONG = "var(--bad, #d55e00)";

const range = (values: readonly number[]): [number, number] => [Math.min(...values), Math.max(...values)];

/**
 * Draws the graph, with a name for screen readers. Outside the page, gradients are blue, and wrong gradients are
 * vermilion.
 */
export function drawGraph(document: Document, graph: Graph, { width }: { readonly width: number }): SVGSVGElement {
  const { nodes, edges, title } = graph;
  const [left, right] = range(nodes.map(({ x }) => x));
  const [top, bottom] = range(nodes.map(({ y }) => y));
  const downwards = (width - 80) / Math.max(1, right - left) < COLUMN;
  const across = (from: number, to: number, at: number, margin: number): number =>
    to > from ? margin + ((width - 2 * margin) * (at - from)) / (to - from) : width / 2;
  const place = ({ x, y }: Pick<GraphNode, "x" | "y">): Point =>
    downwards
      ? [across(top, bottom, y, Math.max(86, width / 2 - 100)), 28 + ROW_DOWNWARDS * (x - left)]
      : [across(left, right, x, 40), 44 + ROW * (y - top)];
  const height = downwards ? 56 + ROW_DOWNWARDS * (right - left) : 88 + ROW * (bottom - top);
  const svg = newSvg(document, "svg", {
    class: "graph",
    width,
    height,
    viewBox: `0 0 ${width} ${height}`,
    role: "img",
    "aria-label": `${title}. ${nodes.map(inWords).join(" ")}`,
    "font-size": 12,
    "font-family": "system-ui, sans-serif",
    "text-anchor": "middle",
    "data-steps": 2 * nodes.length,
  });
  const order = new Map(nodes.map(({ id }, i) => [id, i]));
  const backward = (id: string): number => 2 * nodes.length - 1 - order.get(id)!;
  const byId = new Map(nodes.map((node) => [node.id, node]));
  for (const edge of edges) {
    const [from, to] = [byId.get(edge.from)!, byId.get(edge.to)!];
    drawEdge(
      svg,
      edge,
      [place(from), to.x - from.x > 1 && to.y !== from.y ? place({ x: to.x - 1, y: from.y }) : undefined, place(to)],
      downwards,
      {
        forward: order.get(edge.to)!,
        backward: backward(edge.from),
      },
    );
  }
  for (const node of nodes) drawNode(svg, node, place(node), downwards, order.get(node.id)!, backward(node.id));
  return svg;
}

const inWords = ({ label, value, gradient }: GraphNode): string =>
  `${label}: value ${short(value)}, gradient ${short(gradient)}.`;

/** Draws an edge. If there is a `turn`, the edge stays in its row up to this point, and then turns towards its end. */
function drawEdge(
  svg: Element,
  { derivative, wrong }: GraphEdge,
  [from, turn, to]: readonly [from: Point, turn: Point | undefined, to: Point],
  downwards: boolean,
  order: { readonly forward: number; readonly backward: number },
): void {
  const last = turn ?? from;
  const [start, end] = [towards(from, turn ?? to, RADIUS), towards(to, last, RADIUS + 2)];
  const middle = between(start, turn ?? end);
  const corner =
    turn === undefined
      ? ""
      : `L${towards(turn, from, 20).map(round)}Q${turn.map(round)} ${towards(turn, to, 20).map(round)}`;
  const forward = addSvg(svg, "g", { "data-order": order.forward, fill: "none", stroke: "currentColor" });
  addSvg(forward, "path", {
    d: `M${start.map(round)}${corner}L${end.map(round)}`,
    "stroke-opacity": 0.55,
    "stroke-width": 1.5,
  });
  const wings = [-0.4, 0.4].map((turned) => {
    const angle = Math.atan2(last[1] - end[1], last[0] - end[0]) + turned;
    return [end[0] + 8 * Math.cos(angle), end[1] + 8 * Math.sin(angle)].map(round);
  });
  addSvg(forward, "path", { d: `M${wings[0]}L${end.map(round)}L${wings[1]}`, "stroke-width": 1.5 });
  const level = from[1] === to[1] || (turn !== undefined && !downwards);
  text(svg, `×${short(derivative)}`, middle[0] + (level ? 0 : 7), middle[1] + (level ? -6 : 4), {
    "data-order": order.backward,
    "font-size": 11,
    fill: wrong ? WRONG : GRADIENT,
    ...(wrong && { "font-weight": 700 }),
    ...((!level || downwards) && { "text-anchor": "start" }),
  });
}

function drawNode(
  svg: Element,
  { label, value, gradient, wrong, y: row }: GraphNode,
  [x, y]: Point,
  downwards: boolean,
  forward: number,
  backward: number,
): void {
  const outside = row < 0 ? -1 : 1;
  const at = downwards
    ? ({ x: x + outside * (RADIUS + 5), up: y - 3, down: y + 12, anchor: row < 0 ? "end" : "start" } as const)
    : ({ x, up: y - RADIUS - 6, down: y + RADIUS + 15, anchor: "middle" } as const);
  addSvg(svg, "circle", {
    cx: x,
    cy: y,
    r: RADIUS,
    fill: "currentColor",
    "fill-opacity": 0.07,
    stroke: "currentColor",
  });
  text(svg, label, x, y + 5, { fill: "currentColor", "font-size": 14 });
  text(svg, short(value), at.x, at.up, {
    "data-order": forward,
    fill: "currentColor",
    "text-anchor": at.anchor,
  });
  text(svg, short(gradient), at.x, at.down, {
    "data-order": backward,
    fill: wrong ? WRONG : GRADIENT,
    "font-weight": 600,
    "text-anchor": at.anchor,
  });
}

/** The point on the line from a to b at this distance from a. */
function towards(a: Point, b: Point, distance: number): Point {
  const length = Math.hypot(b[0] - a[0], b[1] - a[1]);
  return [a[0] + (distance * (b[0] - a[0])) / length, a[1] + (distance * (b[1] - a[1])) / length];
}

const between = (a: Point, b: Point): Point => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];

/** A number with at most three significant digits, so that it fits in the graph. */
const short = (value: number): string => showTick(Number(value.toPrecision(3)));

const round = (value: number): number => Math.round(10 * value) / 10;

function text(parent: Element, content: string, x: number, y: number, attributes: Attributes): void {
  addSvg(parent, "text", { x: round(x), y: round(y), ...attributes }, content);
}
