/** Shows the article's exercises: a list, and the exercise that the reader selects. */
import "./practice.css";
import { practices } from "virtual:practices";
import { Panel } from "./panel.ts";
import { ProgressStore } from "./progress.ts";
import { make } from "./text.ts";

/** Opens an exercise; undefined until the exercises are mounted. */
let open: ((name: string) => void) | undefined;
/** The exercise to open when the exercises are mounted. */
let wanted: string | undefined;

/** Opens an exercise, now or when the exercises are mounted. `name` is NAME in the address #practice-NAME. */
export function openPractice(name: string): void {
  if (open) open(name);
  else wanted = name;
}

const nameIn = (hash: string): string | undefined => /^#practice-([a-z-]+)$/.exec(hash)?.[1];

/** Shows the exercises in the element. */
export function mountPractice(element: HTMLElement): void {
  element.classList.add("practice");
  const progress = new ProgressStore();
  const list = make("ol", {});
  const count = make("summary", {});
  const details = make("details", {}, count, list);
  const holder = make("div", { class: "practice-holder" });
  let panel: Panel | undefined;
  let current = "";

  const drawList = (): void => {
    const solved = practices.filter(({ name }) => progress.of(name).solved).length;
    count.textContent = `${practices.length} exercises, ${solved} solved`;
    list.replaceChildren(
      ...practices.map(({ name, title }) => {
        const link = make("a", { href: `#practice-${name}` }, title);
        if (name === current) link.setAttribute("aria-current", "true");
        const mark = make("span", { class: "practice-right" }, "\u00a0✓", make("span", { class: "hidden" }, " solved"));
        return make("li", {}, link, progress.of(name).solved && mark);
      }),
    );
  };
  /** Shows an exercise. @param follows whether to move the focus to the exercise, because the reader asked for it */
  const select = (name: string, follows: boolean): void => {
    const i = practices.findIndex((practice) => practice.name === name);
    if (i < 0) return;
    if (name !== current) {
      panel?.close();
      current = name;
      panel = new Panel({ exercise: practices[i]!, progress, next: practices[i + 1], onSolved: drawList });
      holder.replaceChildren(panel.element);
      drawList();
    }
    if (!follows) return;
    if (!isWide()) details.open = false;
    panel!.heading.focus({ preventScroll: true });
    panel!.element.scrollIntoView({ block: "start" });
  };
  const isWide = (): boolean => element.clientWidth >= 768;
  details.open = isWide();
  element.replaceChildren(make("nav", { "aria-label": "Exercises" }, details), holder);
  const asked = wanted ?? nameIn(location.hash);
  const first = practices.find(({ name }) => !progress.of(name).solved) ?? practices[0]!;
  select(practices.some(({ name }) => name === asked) ? asked! : first.name, asked !== undefined);
  open = (name) => select(name, true);
  addEventListener("hashchange", () => {
    const name = nameIn(location.hash);
    if (name !== undefined) select(name, true);
  });
}
