/**
 * How far a run has come: a bar and words that change as it goes, which screen readers leave alone, and beside them what those do
 * say by themselves: that it started, how it ended, or why it failed.
 */
import { maker } from "../view/dom.ts";

const make = maker(document);

export interface Status {
  readonly element: HTMLElement;
  start(said: string): void;
  /** Without a fraction, how far it is is not known. */
  progress(fraction: number | undefined, words: string): void;
  end(said: string): void;
  fail(message: string): void;
}

export interface StatusOptions {
  /** What the bar measures. */
  readonly label: string;
  onStop(): void;
  /** Where given, a button that starts anew once it ended. */
  readonly again?: { readonly text: string; onAgain(): void };
}

export function newStatus({ label, onStop, again }: StatusOptions): Status {
  const bar = make("progress", { max: 1, "aria-label": label });
  const said = make("span", { role: "status" });
  const words = make("span", { class: "words" });
  const failure = make("span", { role: "alert" });
  const button = make("button", { type: "button" });
  const element = make("div", { class: "status" }, bar, said, words, failure, button);
  const show = (state: "running" | "done" | "failed", text: string): void => {
    element.dataset.state = state;
    words.textContent = "";
    said.textContent = state === "failed" ? "" : text;
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
