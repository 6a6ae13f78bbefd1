/** Creates the elements for the outcomes of the checks, and for what the code printed. */
import type { Outcome } from "../../practice/run.ts";
import { make, withCode } from "./text.ts";

const item = ({ title, passed, message }: Outcome): HTMLElement =>
  make(
    "li",
    { class: passed ? "practice-right" : "practice-wrong" },
    make("span", { class: "practice-mark", "aria-hidden": "true" }, passed ? "✓" : "✗"),
    make(
      "div",
      {},
      make("p", {}, make("span", { class: "hidden" }, passed ? "Passed: " : "Failed: "), ...withCode(title)),
      message !== undefined && make("p", { class: "practice-message" }, ...withCode(message)),
    ),
  );

/** A sentence that sums up the outcomes. */
export function summary(outcomes: readonly Outcome[]): string {
  const failed = outcomes.filter(({ passed }) => !passed).length;
  return failed ? `${failed} of ${outcomes.length} checks failed.` : `All ${outcomes.length} checks passed.`;
}

export const results = (outcomes: readonly Outcome[], printed: readonly string[]): HTMLElement[] => [
  // Safari does not treat lists without markers as lists unless they have an explicit role.
  make("ul", { role: "list" }, ...outcomes.map(item)),
  ...(printed.length
    ? [
        make("h5", {}, "Printed by console.log"),
        make("pre", { tabindex: 0, "aria-label": "Printed by console.log" }, printed.join("\n")),
      ]
    : []),
];
