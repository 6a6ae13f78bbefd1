/**
 * Draws the picture at the top of the page, in which three optimizers race down a winding valley, with −∇L as arrows.
 * The build inlines the picture into the HTML, so it appears before any script runs.
 */
import { parseHTML } from "linkedom";
import { optim, type Tensor, tensor, tidy } from "nabla";
import { objective } from "nabla/gradients";
import { drawField } from "../field.ts";
import { paint } from "../scale.ts";

type Point = readonly [x: number, y: number];

/** A valley that winds along sin x and descends to its lowest point at x = 3. */
const lossOf = (x: Tensor, y: Tensor): Tensor => x.sub(3).square().mul(0.05).add(y.sub(x.sin()).square());
const START: Point = [-3.3, 1.3];
const STEPS = 80;
const RACERS: readonly { readonly name: string; make(parameters: Tensor[]): optim.Optimizer }[] = [
  { name: "gradient descent", make: (parameters) => new optim.SGD(parameters, { lr: 0.1 }) },
  { name: "momentum", make: (parameters) => new optim.SGD(parameters, { lr: 0.1, momentum: 0.85 }) },
  { name: "Adam", make: (parameters) => new optim.Adam(parameters, { lr: 0.15 }) },
];

/** Each optimizer's name, and its position at each step. */
export const race = (): { readonly name: string; readonly path: readonly Point[] }[] =>
  RACERS.map(({ name, make }) => ({
    name,
    path: tidy(() => {
      const [x, y] = [tensor(START[0], { requiresGrad: true }), tensor(START[1], { requiresGrad: true })];
      const optimizer = make([x, y]);
      const path = [START];
      for (let t = 0; t < STEPS; t++) {
        optimizer.minimize(() => lossOf(x, y)).dispose();
        path.push([x.item(), y.item()]);
      }
      return path;
    }),
  }));

/** The loss and its gradient at any point. */
export function landscape(): { value(point: Point): number; gradient(point: Point): Point } {
  const at = objective((theta: Tensor) => lossOf(theta.slice([0, 1]).sum(), theta.slice([1, 2]).sum()), [...START]);
  return {
    value: (point) => at.value([...point]),
    gradient: (point) => Array.from(at.gradient([...point])) as unknown as Point, // two parameters
  };
}

/**
 * A drawing's size and the distance between its arrows, in pixels. `reach` is the largest x in the drawing; x = 0 is in
 * the middle.
 */
interface Frame {
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly reach: number;
  readonly spacing: number;
}
const FRAMES: readonly Frame[] = [
  { name: "wide", width: 1216, height: 400, reach: 5.4, spacing: 50 },
  { name: "narrow", width: 358, height: 250, reach: 4, spacing: 32 },
];

/** The number of columns of the landscape's grid. */
const COLUMNS = 61;

/** The figure's HTML: a drawing for wide screens, a drawing for phones, and a caption that names the optimizers. */
export function drawTeaser(): string {
  const racers = race();
  const keys = racers.map(({ name }, i) => `<span class="racer" style="--racer:${paint(i)}">${name}</span>`);
  return `<figure class="teaser">
${FRAMES.map((frame) => drawFrame(frame, racers)).join("\n")}
<figcaption>A race down a valley: ${keys[0]}, ${keys[1]} and ${keys[2]} take ${STEPS} steps each. All they know is the gradient where they are. The arrows show its opposite, −∇L. <a href="#figure-race">Start your own race.</a></figcaption>
</figure>`;
}

/** Draws a frame: contours, arrows, and the path of each optimizer, which the style sheet animates. */
function drawFrame({ name, width, height, reach, spacing }: Frame, racers: ReturnType<typeof race>): string {
  const { value, gradient } = landscape();
  const up = (reach * height) / width;
  const { document } = parseHTML("<!doctype html><html><body></body></html>") as unknown as { document: Document }; // linkedom declares only part of Document
  const pixels = ([x, y]: Point): Point => [((x / reach + 1) / 2) * width, ((1 - y / up) / 2) * height];
  const field = drawField(
    document,
    {
      x: [-reach, reach],
      y: [-up, up],
      columns: COLUMNS,
      values: places(Math.round((COLUMNS * height) / width), up).flatMap((y) =>
        places(COLUMNS, reach).map((x) => Math.sqrt(value([x, y]))),
      ),
    },
    { left: 0, right: width, top: 0, bottom: height },
  );
  // Keep only the paths. The field's clip path is not needed, because the picture's border already clips the contours.
  field.replaceChildren(...field.querySelectorAll("path"));
  const arrows = places(Math.floor(height / spacing), up * (1 - spacing / height / 2)).flatMap((y) =>
    places(Math.floor(width / spacing), reach * (1 - spacing / width / 2)).map((x) =>
      arrow(pixels([x, y]), gradient([x, y]), spacing),
    ),
  );
  const paths = racers.map(({ path }, i) => {
    const line = path.map(pixels);
    const d = `M${line.map((point) => point.map(round)).join("L")}`;
    const style = `--racer:${paint(i)};--pace:${paceOf(line)}`;
    const copy = (part: string): string => `<path class="${part}" pathLength="1" d="${d}"/>`;
    return `<g style="${style}">${copy("trail")}${copy("ball")}</g>`;
  });
  const label = `${racers.map((racer) => racer.name).join(", ")} race down a winding valley, among arrows that point along −∇L`;
  return `<svg class="${name}" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${label}">${field.outerHTML}<path class="slopes" d="${arrows.join("")}"/>${paths.join("")}</svg>`;
}

/** Equally spaced values, from −half to half. */
const places = (count: number, half: number): number[] =>
  Array.from({ length: count }, (_, i) => half * ((2 * i) / (count - 1) - 1));

/**
 * An arrow along −∇L, centred on a point in pixels. The steeper the slope, the longer the arrow. The path is empty if
 * the arrow would be shorter than 4 pixels.
 */
function arrow([x, y]: Point, [gx, gy]: Point, spacing: number): string {
  const slope = Math.hypot(gx, gy);
  const length = 0.85 * spacing * Math.tanh(0.5 * slope);
  if (length < 4) return "";
  // The y axis of pixels points down.
  const [ux, uy] = [-gx / slope, gy / slope];
  const head = Math.min(5, length / 2);
  const [tipX, tipY] = [x + (length / 2) * ux, y + (length / 2) * uy];
  const wing = (side: number): string =>
    [tipX - head * (ux + side * 0.7 * uy), tipY - head * (uy - side * 0.7 * ux)].map(round).join();
  return `M${round(x - (length / 2) * ux)},${round(y - (length / 2) * uy)}L${round(tipX)},${round(tipY)}M${wing(1)}L${round(tipX)},${round(tipY)}L${wing(-1)}`;
}

/** A CSS easing function that takes the same time from each point of a line to the next. */
function paceOf(line: readonly Point[]): string {
  let length = 0;
  const lengths = line.map(([x, y], i) => {
    const [a, b] = line[Math.max(0, i - 1)]!;
    length += Math.hypot(x - a, y - b);
    return length;
  });
  return `linear(${lengths.map((one) => Number((one / length).toFixed(3))).join()})`;
}

const round = (value: number): number => Math.round(10 * value) / 10;
