/** The computation graph of `backpropagation`: its numbers and its drawing. */
import { parseHTML } from "linkedom";
import { describe, expect, test } from "vitest";
import { report } from "../../cli/report.ts";
import { terminalOf } from "../../cli/terminal.ts";
import { type Graph, type Result, valuesOf } from "../../lab/experiment.ts";
import backpropagation from "../../lab/experiments/backpropagation.ts";
import { drawGraph } from "../../lab/graph.ts";
import { context } from "../support/digits.ts";

const run = async (given: Record<string, unknown> = {}): Promise<Result & { graph: Graph }> => {
  const result = await backpropagation.run(valuesOf(backpropagation.parameters, given), context);
  return { ...result, graph: result.graphs![0]! };
};
const gradientsOf = ({ nodes }: Graph): Record<string, number> =>
  Object.fromEntries(nodes.map(({ id, gradient }) => [id, gradient]));
const SHARED = { weights: "shared: w₂ = w₁" };

describe("the numbers", () => {
  test("each gradient is the sum over its edges: local derivative times the next gradient", async () => {
    for (const given of [{}, SHARED, { replace: "dŷ/da", by: -2 }, { ...SHARED, replace: "dL/de" }]) {
      const { graph } = await run(given);
      const gradients = gradientsOf(graph);
      expect(gradients.L).toBe(1);
      for (const { id, gradient } of graph.nodes.slice(0, -1)) {
        const sum = graph.edges
          .filter(({ from }) => from === id)
          .reduce((total, { to, derivative }) => total + derivative * gradients[to]!, 0);
        expect(gradient, id).toBeCloseTo(sum, 5);
      }
    }
  });

  test("a wrong local derivative changes the gradients of all nodes before it, and of no other", async () => {
    const right = gradientsOf((await run()).graph);
    const { graph } = await run({ replace: "da/dz", by: 1 });
    const changed = graph.nodes.filter(({ id, gradient }) => gradient !== right[id]).map(({ id }) => id);
    expect(changed).toEqual(["x", "w1", "p", "b", "z"]);
    expect(graph.nodes.filter(({ wrong }) => wrong).map(({ id }) => id)).toEqual(changed);
    expect(graph.edges.filter(({ wrong }) => wrong)).toEqual([{ from: "z", to: "a", derivative: 1, wrong: true }]);
  });

  test("a shared weight has two paths to the loss", async () => {
    const { graph } = await run(SHARED);
    expect(graph.edges.filter(({ from }) => from === "w1").map(({ to }) => to)).toEqual(["p", "ŷ"]);
  });
});

describe("the drawing", () => {
  const draw = (graph: Graph, width: number): SVGSVGElement =>
    drawGraph(parseHTML("<!doctype html><html><body></body></html>").document as unknown as Document, graph, { width });
  const number = (element: Element, name: string): number => Number(element.getAttribute(name));

  test("every value appears in the order of the nodes, then every gradient in the reverse order", async () => {
    const { graph } = await run();
    const svg = draw(graph, 700);
    const steps = number(svg, "data-steps");
    expect(steps).toBe(2 * graph.nodes.length);
    const shown = Array.from({ length: steps }, (_, step) =>
      [...svg.querySelectorAll(`text[data-order="${step}"]`)].map(({ textContent }) => textContent),
    );
    expect(shown[0]).toEqual(["1.5"]);
    expect(shown[graph.nodes.length]).toEqual(["1"]);
    // Node e shows the local derivative ∂L/∂e = 0.962 and then its gradient, which has the same value.
    expect(shown[graph.nodes.length + 1]).toEqual(["×0.962", "0.962"]);
    expect(shown.every((texts) => texts.length > 0)).toBe(true);
  });

  test("has an accessible name that contains every number", async () => {
    const label = draw((await run()).graph, 700).getAttribute("aria-label");
    expect(label).toContain("w₁: value 0.8, gradient 0.567.");
  });

  test.each([280, 340, 560, 700, 900])("stays inside a width of %i, and no two nodes overlap", async (width) => {
    const { graph } = await run(SHARED);
    const svg = draw(graph, width);
    const circles = [...svg.querySelectorAll("circle")].map((c) => [number(c, "cx"), number(c, "cy")] as const);
    const [radius, height] = [17, number(svg, "height")];
    for (const [i, [x, y]] of circles.entries()) {
      expect(Math.min(x, width - x, y, height - y)).toBeGreaterThan(radius);
      for (const [u, v] of circles.slice(0, i)) expect(Math.hypot(x - u, y - v)).toBeGreaterThan(2 * radius + 10);
    }
    for (const text of svg.querySelectorAll("text")) {
      const [x, wide] = [number(text, "x"), 7 * text.textContent!.length];
      const anchor = text.getAttribute("text-anchor") ?? "middle";
      const left = anchor === "end" ? x - wide : anchor === "start" ? x : x - wide / 2;
      expect(left, text.textContent!).toBeGreaterThan(-1);
      expect(left + wide, text.textContent!).toBeLessThan(width + 1);
    }
  });
});

test("the command prints the graph as a table", async () => {
  const text = report(backpropagation, await run(), terminalOf(process.stdout));
  expect(text).toMatch(/node +value +gradient +local derivatives/);
  expect(text).toMatch(/w₁ +0\.8 +0\.5675 +∂p\/∂w₁ = 1\.5/);
});
