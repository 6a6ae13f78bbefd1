/**
 * A figure's stage, which shows one view of a result at a time. The reader chooses the view with tabs. The stage also
 * has handles to drag, read-outs and a player.
 */
import { type Drawing as DrawnPlot, drawPlot } from "../draw.ts";
import type { Drawing, Graph, Parameters, Plot } from "../experiment.ts";
import { drawGraph } from "../graph.ts";
import { maker } from "../view/dom.ts";
import { drawGallery, drawTable } from "../view/result.ts";
import { newHandles } from "./handles.ts";
import { type Live, type LiveActions, newPlayer } from "./player.ts";
import { newReadout } from "./readout.ts";

const make = maker(document);

export interface Stage {
  readonly element: HTMLElement;
  /** @param live the state of the training run that the drawing comes from; undefined if the run has ended */
  show(drawing: Drawing, live?: Live): void;
}

/** The content of a tab: a graph, a plot, all pictures, or a table. */
interface View {
  readonly title: string;
  readonly plot?: Plot;
  readonly graph?: Graph;
  /** Draws pictures or a table. */
  readonly elements?: () => readonly HTMLElement[];
  /** The parameters that do not affect the view. */
  readonly ignores?: readonly string[] | undefined;
}

const viewsOf = ({ plots, tables = [], pictures = [], gallery = "Pictures", graphs = [] }: Drawing): View[] => [
  ...graphs.map((graph) => ({ title: graph.title, graph, ignores: graph.ignores })),
  ...(pictures.length ? [{ title: gallery, elements: () => drawGallery(document, pictures) }] : []),
  ...plots.map((plot) => ({ title: plot.title, plot, ignores: plot.ignores })),
  ...tables.map((table) => ({
    title: table.title,
    ignores: table.ignores,
    elements: () => [drawTable(document, table)],
  })),
];

/** The number of steps that the player can show of a view; 0 if the view does not change with time. */
function lengthOf(view: View | undefined): number {
  if (view?.graph) return 2 * view.graph.nodes.length;
  return Math.max(0, ...(view?.plot?.series ?? []).filter(({ grows }) => grows).map(({ points }) => points.length));
}

/**
 * @param onDrag receives the parameters that a dragged handle sets
 * @param onView receives the parameters that do not affect the current view
 * @param training the actions of the player's buttons during a training run
 */
export function newStage(
  parameters: Parameters,
  onDrag: (changed: Record<string, number>) => void,
  onView: (ignores: readonly string[]) => void,
  training: LiveActions,
): Stage {
  const tabs = make("div", { class: "tabs", role: "group", "aria-label": "Views" });
  const canvas = make("div", { class: "canvas" });
  const frame = make("div", { class: "frame" }, canvas);
  const handles = newHandles(frame, parameters, onDrag);
  const readout = newReadout(frame);
  const player = newPlayer(() => draw(), training);
  let views: View[] = [];
  let chosen = 0;
  /**
   * The title of the view that the reader chose. During a training run, this view may be missing, because some views
   * are drawn only at the end.
   */
  let wanted: string | undefined;
  let live: Live | undefined;
  let drawn: DrawnPlot | undefined;
  /** The size of the frame, stored because reading the size from the document would force a layout of the page before every drawing. */
  let [width, height] = [0, 0];

  const draw = (): void => {
    const view = views[chosen];
    // The size is 0 before the page is laid out and while it is being closed.
    if (!view || !width || !height) return;
    const { plot, graph } = view;
    frame.classList.toggle("plain", view.elements !== undefined);
    // A region that scrolls must be reachable with the keyboard.
    if (view.elements) frame.tabIndex = 0;
    else frame.removeAttribute("tabindex");
    canvas.classList.toggle("graph", graph !== undefined);
    if (!plot) {
      drawn = undefined;
      canvas.replaceChildren(...(graph ? [revealed(graph)] : (view.elements?.() ?? [])));
      handles.show([]);
      readout.show(undefined);
      return;
    }
    const upTo = player.upTo();
    const latest = drawn;
    drawn = drawPlot(document, plot, { width, height, latest, ...(upTo !== undefined && { upTo }) });
    if (drawn !== latest) canvas.replaceChildren(drawn);
    handles.show(plot.handles ?? [], drawn);
    readout.show(plot, drawn, upTo);
  };
  /** The graph with the elements up to the player's step; later elements are hidden. */
  const revealed = (graph: Graph): SVGSVGElement => {
    const svg = drawGraph(document, graph, { width: width - 2 });
    const upTo = player.upTo() ?? Number.POSITIVE_INFINITY;
    for (const part of svg.querySelectorAll<SVGElement>("[data-order]"))
      if (Number(part.dataset.order) >= upTo) part.style.visibility = "hidden";
    return svg;
  };
  const choose = (index: number): void => {
    chosen = index;
    for (const [i, tab] of [...tabs.children].entries()) tab.setAttribute("aria-pressed", String(i === chosen));
    player.show(lengthOf(views[chosen]), live);
    onView(views[chosen]?.ignores ?? []);
    draw();
  };
  /** Redraws the tabs only if their titles have changed, because redrawing would take the focus from them. */
  const drawTabs = (): void => {
    const titles = views.map(({ title }) => title);
    tabs.hidden = titles.length < 2;
    if (titles.join("\n") === [...tabs.children].map(({ textContent }) => textContent).join("\n")) return;
    tabs.replaceChildren(
      ...titles.map((title, i) => {
        const tab = make("button", { type: "button", title, "aria-pressed": i === chosen }, title);
        tab.addEventListener("click", () => {
          wanted = title;
          choose(i);
        });
        return tab;
      }),
    );
  };
  new ResizeObserver(() => {
    const before = `${width} ${height}`;
    [width, height] = [frame.clientWidth, frame.clientHeight];
    if (before !== `${width} ${height}`) draw();
  }).observe(frame);
  return {
    element: make("div", { class: "stage" }, tabs, frame, player.element),
    show(drawing, state) {
      views = viewsOf(drawing);
      live = state;
      const found = views.findIndex(({ title }) => title === wanted);
      chosen = found < 0 ? Math.max(0, Math.min(chosen, views.length - 1)) : found;
      drawTabs();
      choose(chosen);
    },
  };
}
