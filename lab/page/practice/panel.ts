/** Shows one exercise: its prediction, task, editor, hints, solution and results. */
import { checkCode } from "./checker.ts";
import type { Editor } from "./editor.ts";
import { predict } from "./predict.ts";
import type { ProgressStore } from "./progress.ts";
import { results, summary } from "./results.ts";
import type { Shown } from "./shown.ts";
import { make, nodesOf } from "./text.ts";

export interface PanelOptions {
  readonly exercise: Shown;
  readonly progress: ProgressStore;
  /** The next exercise, to which the page links when this one is solved. */
  readonly next: Shown | undefined;
  /** Called when all checks have passed. */
  onSolved(): void;
}

export class Panel {
  readonly element: HTMLElement;
  readonly heading: HTMLElement;
  private readonly code: HTMLElement;
  private readonly holder = make("div", { class: "practice-editor" });
  private readonly status = make("p", { role: "status", class: "practice-status" });
  private readonly outcomes = make("div", { class: "practice-results" });
  private readonly hints = make("ol", { class: "practice-hints" });
  private readonly solution = make("div", {});
  private readonly check = make("button", { type: "button", class: "practice-check" }, "Check");
  private readonly hint = make("button", { type: "button" });
  private readonly reveal = make("button", { type: "button" });
  private editor: Editor | undefined;
  private closed = false;

  constructor(private readonly options: PanelOptions) {
    const { exercise, progress } = options;
    const { name, title, section, place, concept, prediction, statement } = exercise;
    this.heading = make("h3", { tabindex: -1, id: "practice-title" }, title);
    const reset = make("button", { type: "button" }, "Reset");
    this.check.addEventListener("click", () => void this.runChecks());
    this.hint.addEventListener("click", () => this.showHint());
    this.reveal.addEventListener("click", () => this.showSolution(this.solution.childElementCount === 0));
    reset.addEventListener("click", () => this.reset());
    this.code = make(
      "div",
      { class: "practice-code" },
      make("h4", {}, "Code"),
      nodesOf(statement),
      this.holder,
      make("p", { class: "practice-keys" }, "Ctrl-Enter checks the code. Escape and then Tab leaves the editor."),
      make("div", { class: "practice-buttons" }, this.check, this.hint, reset, this.reveal),
      this.hints,
      this.solution,
      this.status,
      this.outcomes,
    );
    const { answer } = progress.of(name);
    this.element = make(
      "article",
      { class: "practice-panel", "aria-labelledby": "practice-title" },
      make("p", { class: "practice-section" }, make("a", { href: `#${place}` }, section)),
      this.heading,
      make("p", { class: "practice-concept" }, `About: ${concept}.`),
      make("h4", {}, "Predict"),
      predict(prediction, answer, (given) => {
        progress.update(name, { answer: given });
        this.showCode();
      }),
      this.code,
    );
    this.code.hidden = true;
    this.clear();
    if (answer !== undefined) this.showCode();
  }

  /** Removes the editor. A running check continues until its end or its time limit, and its outcome is ignored. */
  close(): void {
    this.closed = true;
    this.editor?.destroy();
  }

  /** Shows the task, and loads the editor if it has not been loaded. */
  private showCode(): void {
    this.code.hidden = false;
    const { exercise, progress } = this.options;
    const { name, starter, title } = exercise;
    this.holder.textContent = "Loading the editor…";
    import("./editor.ts").then(
      ({ Editor }) => {
        if (this.closed) return;
        this.holder.replaceChildren();
        this.editor = new Editor(this.holder, {
          text: progress.of(name).code ?? starter,
          label: `Your code for: ${title}`,
          onChange: (code) => progress.update(name, { code: code === starter ? undefined : code }),
          onCheck: () => void this.runChecks(),
        });
      },
      () => {
        const again = make("button", { type: "button" }, "Try again");
        again.addEventListener("click", () => this.showCode());
        this.holder.replaceChildren(make("p", {}, "The editor could not be loaded. Check your connection."), again);
      },
    );
  }

  private async runChecks(): Promise<void> {
    const { editor } = this;
    if (!editor || this.check.getAttribute("aria-disabled") === "true") return;
    const { exercise, progress, next, onSolved } = this.options;
    this.check.setAttribute("aria-disabled", "true");
    this.status.textContent = "Checking…";
    const printed: string[] = [];
    const found = await checkCode({ name: exercise.name, source: editor.text }, (line) => printed.push(line));
    this.check.removeAttribute("aria-disabled");
    if (this.closed) return;
    this.status.textContent = summary(found);
    this.outcomes.replaceChildren(...results(found, printed));
    if (!found.every(({ passed }) => passed)) return;
    progress.update(exercise.name, { solved: true });
    if (next)
      this.outcomes.append(
        make("p", { class: "practice-next" }, make("a", { href: `#practice-${next.name}` }, `Next: ${next.title}`)),
      );
    onSolved();
  }

  private showHint(): void {
    const { hints } = this.options.exercise;
    this.hints.append(make("li", {}, nodesOf(hints[this.hints.childElementCount]!)));
    this.labelHint();
  }

  private labelHint(): void {
    const shown = this.hints.childElementCount;
    this.hint.textContent = shown < 3 ? `Hint ${shown + 1} of 3` : "No more hints";
    this.hint.disabled = shown === 3;
    this.hints.hidden = shown === 0;
  }

  private showSolution(visible: boolean): void {
    const { solution } = this.options.exercise;
    const pre = (): HTMLElement => make("pre", { tabindex: 0, "aria-label": "Solution" }, solution.trimEnd());
    this.solution.replaceChildren(...(visible ? [make("h5", {}, "A solution"), pre()] : []));
    this.reveal.textContent = visible ? "Hide solution" : "Show solution";
  }

  /** Hides results, hints and solution. */
  private clear(): void {
    this.status.textContent = "";
    this.outcomes.replaceChildren();
    this.hints.replaceChildren();
    this.labelHint();
    this.showSolution(false);
  }

  private reset(): void {
    this.editor?.replace(this.options.exercise.starter);
    this.clear();
    this.status.textContent = "The code has been reset. Undo restores yours.";
  }
}
