/**
 * The page's program. The document already contains the article's text; this program adds each figure when the reader
 * reaches it, explains symbols, saves the reader's place and follows links. Large parts load on first use.
 */
import "../view/view.css";
import "./page.css";
import "./teaser.css";
import "./figure.css";
import { readHash } from "./address.ts";
import { offerContents } from "./contents.ts";
import type { Figure } from "./figure.ts";
import { explainSymbols } from "./symbols.ts";
import { offerThemes } from "./theme.ts";

/** The figures that the reader has reached, keyed by the name of their experiment. */
const figures = new Map<string, Promise<Figure>>();
/** Loads the code for figures and creates their runner, once. */
const library = once(async () => {
  const [{ newFigure }, { Runner }] = await Promise.all([import("./figure.ts"), import("./runner.ts")]);
  const runner = new Runner();
  return { newFigure, runner };
});

/**
 * Returns a function that calls `make` on its first call and then returns the same promise. If `make` fails, the next
 * call tries again.
 */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make().catch((error: unknown) => {
      made = undefined;
      throw error;
    });
    return made;
  };
}

/**
 * Returns the figure in an element, and loads it if necessary. If loading fails, shows the failure in the element, and
 * the next visit tries again.
 */
function reach(element: HTMLElement): Promise<Figure> {
  const name = element.dataset.experiment!;
  const known = figures.get(name);
  if (known) return known;
  const figure = library().then(async ({ newFigure, runner }) => {
    const description = (await runner.describe()).find((one) => one.name === name)!;
    return newFigure(element, description, runner);
  });
  figures.set(name, figure);
  figure.catch((error: Error) => {
    figures.delete(name);
    showFailure(element.querySelector<HTMLElement>(".body")!, error, () => resume(element));
  });
  return figure;
}

/** Runs the figure in an element. Ignores a failure to load the figure, because `reach` has already shown it. */
function resume(element: HTMLElement): void {
  void reach(element).then(
    (figure) => figure.resume(),
    () => {},
  );
}

function showFailure(place: HTMLElement, { message }: Error, again: () => void): void {
  const text = document.createElement("p");
  text.className = "alert";
  text.role = "alert";
  text.textContent = `This part of the page could not be loaded: ${message} `;
  const button = document.createElement("button");
  button.textContent = "Try again";
  button.addEventListener("click", again);
  place.replaceChildren(text, button);
}

/** The parts of the page that have their own programs. */
const PARTS: Readonly<Record<string, () => Promise<(element: HTMLElement) => unknown>>> = {
  playground: async () => (await import("./playground/view.ts")).mountPlayground,
  practice: async () => (await import("./practice/view.ts")).mountPractice,
};
function mount(element: HTMLElement): void {
  PARTS[element.dataset.mount!]?.().then(
    (show) => void show(element),
    (error: Error) => showFailure(element, error, () => mount(element)),
  );
}

/** Run figures while they are visible, and mount other parts when they first become visible. */
const visibility = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const element = target as HTMLElement;
    if (element.dataset.mount) {
      if (!isIntersecting) continue;
      visibility.unobserve(element);
      mount(element);
    } else if (isIntersecting) resume(element);
    else
      void figures.get(element.dataset.experiment!)?.then(
        (figure) => figure.pause(),
        () => {},
      );
  }
});

/**
 * Scrolls to the part that the hash names: a heading, a paragraph, an exercise or a figure. Sets a figure's parameters
 * to the values in the hash.
 */
function follow(): void {
  const { name, given } = readHash(location.hash);
  const missing = document.querySelector<HTMLElement>("#missing")!;
  missing.hidden = true;
  if (name === "") return;
  const exercise = /^practice-([a-z-]+)$/.exec(name)?.[1];
  if (exercise) {
    document.querySelector("[data-mount=practice]")!.scrollIntoView();
    void import("./practice/view.ts").then(({ openPractice }) => openPractice(exercise));
    return;
  }
  // A paragraph and an experiment can have the same name. If the hash has parameters, the name is the experiment's.
  const figure = document.getElementById(`figure-${name}`);
  const target = (Object.keys(given).length ? figure : undefined) ?? document.getElementById(name) ?? figure;
  if (!target) {
    missing.hidden = false;
    missing.textContent = `This page has no part “${name}”.`;
    return;
  }
  target.scrollIntoView();
  if (target.dataset.experiment && Object.keys(given).length)
    void reach(target).then(
      (figure) => figure.set(given),
      () => {},
    );
}

/** Shrinks the formulas that are wider than their column. */
function fitFormulas(): void {
  for (const math of document.querySelectorAll<HTMLElement>(".formula math")) {
    math.style.fontSize = "";
    const room = math.parentElement!.clientWidth;
    const width = Math.max(math.scrollWidth, math.getBoundingClientRect().width);
    if (width > room) math.style.fontSize = `${(0.98 * room) / width}em`;
  }
}

offerThemes(document.querySelector<HTMLButtonElement>("#theme")!);
offerContents();
explainSymbols();
for (const element of document.querySelectorAll<HTMLElement>("[data-experiment], [data-mount]"))
  visibility.observe(element);
addEventListener("hashchange", follow);
addEventListener("resize", fitFormulas);
fitFormulas();
follow();
