/** Shows the diagnosis, and a histogram of log₁₀|∂L/∂W| for each layer. The histograms share an axis. */
import { showTick } from "../../scale.ts";
import { newSvg } from "../../svg.ts";
import { maker } from "../../view/dom.ts";
import type { Diagnosis } from "./diagnosis.ts";
import { BIN } from "./histogram.ts";
import type { LayerGradient } from "./network.ts";
import type { Settings } from "./settings.ts";

const make = maker(document);
const LEFT = 58;
const RIGHT = 66;
const AXIS = 22;
/** The total height of all rows, and the largest height of one row, in pixels. */
const ROWS = 150;
const ROW = 38;
/** Bins with less than this fraction of a layer's elements do not extend the axis. */
const RARE = 0.005;
/** The initial ends of the axis, as exponents of ten. The axis grows if gradients lie outside it. */
const DOMAIN = [-8, 0] as const;

export interface GradientsPanel {
  readonly element: HTMLElement;
  show(layers: readonly LayerGradient[], diagnosis: Diagnosis): void;
  /** Resets the axis, which the previous network may have extended. */
  clear(): void;
  close(): void;
}

/** Creates the panel. If the user chooses a remedy, `onTry` receives its settings. */
export function newGradients(onTry: (settings: Partial<Settings>) => void): GradientsPanel {
  const svg = newSvg(document, "svg", { role: "img", class: "pg-histograms" });
  const title = make("strong", {});
  const text = make("span", {});
  const remedies = make("div", { class: "pg-buttons" });
  // Only the title is a status: it rarely changes, and screen readers would announce the numbers ten times per second.
  const verdict = make(
    "div",
    { class: "pg-diagnosis" },
    make("p", {}, make("span", { role: "status" }, title), " ", text),
    remedies,
  );
  const element = make(
    "section",
    { class: "pg-gradients", "aria-label": "Gradients" },
    make("h3", {}, "Gradient of each layer"),
    make("div", { class: "pg-frame" }),
    verdict,
  );
  element.querySelector(".pg-frame")!.append(svg);
  let domain: readonly [number, number] = DOMAIN;
  let shown: readonly LayerGradient[] = [];
  let offered = "";
  const draw = (): void => {
    domain = grown(domain, shown);
    drawHistograms(svg, shown, domain, svg.parentElement!.clientWidth || 320);
  };
  const resized = new ResizeObserver(draw);
  resized.observe(svg.parentElement!);
  return {
    element,
    show(layers, diagnosis) {
      shown = layers;
      draw();
      verdict.dataset.kind = diagnosis.kind;
      verdict.dataset.factor = String(diagnosis.factor);
      if (title.textContent !== `${diagnosis.title}.`) title.textContent = `${diagnosis.title}.`;
      text.textContent = diagnosis.text;
      const names = diagnosis.remedies.map((remedy) => remedy.text).join();
      if (names === offered) return; // redrawing a button would remove its focus, and could lose a click
      offered = names;
      const buttons = diagnosis.remedies.map((remedy) => {
        const button = make("button", { type: "button" }, remedy.text);
        button.addEventListener("click", () => onTry(remedy.settings));
        return button;
      });
      remedies.replaceChildren(...(buttons.length ? [make("span", {}, "Restart with"), ...buttons] : []));
    },
    clear: () => void (domain = DOMAIN),
    close: () => resized.disconnect(),
  };
}

/** Extends the domain, in steps of two powers of ten, until it contains all but a few of each layer's elements. */
function grown([low, high]: readonly [number, number], layers: readonly LayerGradient[]): readonly [number, number] {
  const edges = layers.flatMap(({ histogram: { first, counts } }) => {
    const few = RARE * counts.reduce((a, b) => a + b, 0);
    return counts.flatMap((count, i) => (count > few ? [(first + i) * BIN, (first + i + 1) * BIN] : []));
  });
  return [2 * Math.floor(Math.min(low, ...edges) / 2), 2 * Math.ceil(Math.max(high, ...edges) / 2)];
}

function drawHistograms(
  svg: SVGElement,
  layers: readonly LayerGradient[],
  [low, high]: readonly [number, number],
  width: number,
): void {
  const row = Math.min(ROW, ROWS / layers.length);
  const height = row * layers.length + AXIS;
  const x = (power: number): number => LEFT + ((power - low) / (high - low)) * (width - LEFT - RIGHT);
  const ticks = ticksOf(low, high, (width - LEFT - RIGHT) / 44);
  const places = layers.map(({ rms }, i) => ({
    x: x(Math.log10(rms)),
    y: (i + 0.62) * row,
    isShown: rms > 0 && Number.isFinite(rms),
  }));
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("width", String(width));
  svg.setAttribute("height", String(height));
  svg.setAttribute(
    "aria-label",
    `Histograms of log₁₀ |∂L/∂W|, from the first layer to the output. Root mean squares: ${layers.map(({ name, rms }) => `${name} ${short(rms)}`).join(", ")}`,
  );
  svg.replaceChildren(
    ...ticks.map((power) => newSvg(document, "path", { class: "grid", d: `M${x(power)},0V${height - AXIS + 4}` })),
    ...layers.map((layer, i) => drawRow(layer, i, row, x, width)),
    newSvg(document, "path", {
      class: "trend",
      d: places
        .filter(({ isShown }) => isShown)
        .map((p, i) => `${i ? "L" : "M"}${p.x},${p.y}`)
        .join(""),
    }),
    ...places
      .filter(({ isShown }) => isShown)
      .map((p) => newSvg(document, "circle", { class: "rms", cx: p.x, cy: p.y, r: 3.5 })),
    ...ticks.map((power) => svgText(showTick(Number(`1e${power}`)), x(power), height - 4, "middle")),
    svgText("|∂L/∂W|", 0, height - 4, "start"),
    svgText("rms", width, height - 4, "end"),
  );
}

function drawRow(
  { name, rms, histogram }: LayerGradient,
  i: number,
  row: number,
  x: (power: number) => number,
  width: number,
): SVGElement {
  const { first, counts, zeros } = histogram;
  const most = Math.max(1, ...counts);
  const base = (i + 1) * row - 2;
  const inside = (power: number): number => Math.min(width - RIGHT, Math.max(LEFT, x(power)));
  const steps = counts.map((count, k) => `V${base - (count / most) * (row - 5)}H${inside((first + k + 1) * BIN)}`);
  const total = zeros + counts.reduce((a, b) => a + b, 0);
  const group = newSvg(document, "g", { "data-layer": name, "data-rms": rms });
  const middle = i * row + row / 2 + 4;
  const isNoted = zeros > total / 100 && Number.isFinite(rms);
  group.append(
    newSvg(document, "path", { class: "base", d: `M${LEFT},${base}H${width - RIGHT}` }),
    ...(counts.length
      ? [newSvg(document, "path", { class: "bars", d: `M${inside(first * BIN)},${base}${steps.join("")}V${base}Z` })]
      : []),
    svgText(name, 0, middle, "start"),
    svgText(Number.isFinite(rms) ? short(rms) : "not finite", width, isNoted ? middle - 5 : middle, "end"),
  );
  if (isNoted) group.append(svgText(`${Math.round((100 * zeros) / total)} % are 0`, width, middle + 7, "end", "note"));
  return group;
}

/** At most about `count` ticks: the exponent `high`, and evenly spaced exponents below it. */
function ticksOf(low: number, high: number, count: number): number[] {
  const step = 2 * Math.ceil((high - low) / 2 / Math.max(2, count));
  return Array.from({ length: Math.floor((high - low) / step) + 1 }, (_, i) => high - i * step).reverse();
}

/** 3.1×10⁻⁵. */
function short(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  return showTick(Number(value.toPrecision(2)));
}

function svgText(text: string, x: number, y: number, anchor: string, kind = ""): SVGElement {
  return newSvg(document, "text", { x, y, "text-anchor": anchor, class: kind }, text);
}
