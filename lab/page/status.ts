/**
 * The progress of a run: a bar and a text, which screen readers ignore, and a live region that announces the start, the end or the
 * failure of the run.
 */
import { maker } from "../view/dom.ts";

const make = maker(document);

export interface Status {
  readonly element: HTMLElement;
  start(text: string): void;
  /** Without a fraction, the bar is indeterminate. */
  progress(fraction: number | undefined, text: string): void;
  end(text: string): void;
  fail(message: string): void;
}

export interface StatusOptions {
  /** What the bar measures. */
  readonly label: string;
  onStop(): void;
  /** Adds a button that starts a new run after the end. */
  readonly again?: { readonly text: string; onAgain(): void };
}

export function newStatus({ label, onStop, again }: StatusOptions): Status {
  const bar = make("progress", { max: 1, "aria-label": label });
  const announcement = make("span", { role: "status" });
  const words = make("span", { class: "words" });
  const failure = make("span", { role: "alert" });
  const button = make("button", { type: "button" });
  const element = make("div", { class: "status" }, bar, announcement, words, failure, button);
  const show = (state: "running" | "done" | "failed", text: string): void => {
    element.dataset.state = state;
    words.textContent = "";
    announcement.textContent = state === "failed" ? "" : text;
    failure.textContent = state === "failed" ? text : "";
    button.textContent = state === "running" || !again ? "Stop" : again.text;
    button.hidden = state !== "running" && !again;
  };
  button.addEventListener("click", () => (element.dataset.state === "running" ? onStop() : again?.onAgain()));
  return {
    element,
    start(text) {
      show("running", text);
      bar.removeAttribute("value");
    },
    progress(fraction, text) {
      if (fraction !== undefined) bar.value = fraction;
      words.textContent = text;
    },
    end: (text) => show("done", text),
    fail: (message) => show("failed", message),
  };
}
