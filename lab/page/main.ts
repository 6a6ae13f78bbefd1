/** The page: contents, theme, and the view that the address selects. */
import "katex/dist/katex.min.css";
import "../view/view.css";
import "./page.css";
import type { AnyExperiment } from "../experiment.ts";
import { experiments } from "../experiments/index.ts";
import { bySection } from "../sections.ts";
import { maker } from "../view/dom.ts";
import { type Address, readHash } from "./address.ts";
import { showExperiment } from "./experiment-view.ts";
import { showPlayground } from "./playground/view.ts";
import { offerThemes } from "./theme.ts";
import type { View } from "./view.ts";

const make = maker(document);
const main = document.querySelector("main")!;
const contents = document.querySelector("nav")!;
let shown: View | undefined;

const link = (hash: string, text: string): HTMLElement => make("a", { href: `#${hash}` }, text);
const linkTo = ({ name, title }: AnyExperiment): HTMLElement => make("li", {}, link(name, title));

/** The list next to the view. On narrow screens it is collapsed above the view. */
function drawContents(): HTMLElement {
  const groups = [...bySection(experiments)].flatMap(([section, members]) => [
    make("h2", {}, section),
    make("ul", {}, ...members.map(linkTo)),
  ]);
  const wide = matchMedia("(min-width: 60rem)");
  const details = make(
    "details",
    {},
    make("summary", {}, "Experiments"),
    make("h2", {}, "Playground"),
    make("ul", {}, make("li", {}, link("playground", "Draw a digit"))),
    ...groups,
  );
  details.open = wide.matches;
  wide.addEventListener("change", () => void (details.open = wide.matches));
  return details;
}

/** The start page, with a notice if the address named an unknown view. */
function home(notice?: string): View {
  const groups = [...bySection(experiments)].map(([section, members]) =>
    make(
      "section",
      { class: "group" },
      make("h2", {}, section),
      make(
        "ul",
        {},
        ...members.map(({ name, title, claim }) => make("li", {}, link(name, title), make("p", {}, claim))),
      ),
    ),
  );
  const element = make(
    "div",
    { class: "home-view" },
    notice !== undefined && make("p", { class: "alert", role: "alert" }, notice),
    make("h1", { tabindex: -1 }, "What gradients do"),
    make(
      "p",
      { class: "claim" },
      "The gradient is a vector of sensitivities, and the engine of learning. Each experiment takes a claim about gradients, measures it in your browser, and compares the result with theory.",
    ),
    make("p", {}, link("playground", "Or draw a digit, and watch a network learn to read it.")),
    ...groups,
  );
  return { title: "What gradients do", element, close: () => {} };
}

/**
 * The hashes that show the start page: no hash, the hash of its link, and the skip link's target if the page is loaded
 * with it.
 */
const HOME = ["", "home", "main"];

function viewOf({ name, given }: Address): View {
  if (name === "playground") return showPlayground();
  const experiment = experiments.find((one) => one.name === name);
  if (experiment) return showExperiment(experiment, given);
  return home(HOME.includes(name) ? undefined : `There is no experiment “${name}”.`);
}

/** Shows the view that the hash selects. `#main`, the target of the skip link, keeps the current view. */
function route(moveFocus: boolean): void {
  const address = readHash(location.hash);
  const { name } = address;
  if (name === "main" && shown) return;
  shown?.close();
  shown = viewOf(address);
  main.replaceChildren(shown.element);
  document.title = `${shown.title} · nabla’s lab`;
  for (const a of contents.querySelectorAll("a")) {
    if (a.hash === `#${name}`) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  if (!moveFocus) return;
  contents.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  scrollTo(0, 0);
  if (!matchMedia("(min-width: 60rem)").matches) contents.querySelector("details")!.open = false;
  main.querySelector("h1")?.focus();
}

contents.append(drawContents());
offerThemes(document.querySelector<HTMLButtonElement>("#theme")!);
document.querySelector(".skip")!.addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", () => route(true));
route(false);
