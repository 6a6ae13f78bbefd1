/** Shows an exercise's question, which the reader answers once, before writing code. */
import { isRight, numberOf } from "../../practice/exercise.ts";
import type { Shown } from "./shown.ts";
import { make, nodesOf } from "./text.ts";

/** Creates the question's element, with the stored answer if there is one. `onAnswer` receives a new answer. */
export function predict(
  prediction: Shown["prediction"],
  stored: string | undefined,
  onAnswer: (answer: string) => void,
): HTMLElement {
  const fields =
    prediction.kind === "choice"
      ? prediction.options.map((option) =>
          make(
            "label",
            {},
            make("input", { type: "radio", name: "prediction", value: option, required: true }),
            option,
          ),
        )
      : [
          make(
            "label",
            { class: "practice-number" },
            "Your answer",
            make("input", {
              type: "text",
              name: "prediction",
              inputmode: "decimal",
              autocomplete: "off",
              required: true,
            }),
          ),
        ];
  const fieldset = make("fieldset", {}, make("legend", {}, nodesOf(prediction.question)), ...fields);
  const button = make("button", { type: "submit" }, "Answer");
  const verdict = make("div", { role: "status", class: "practice-verdict" });
  const form = make("form", {}, fieldset, button, verdict);

  const settle = (answer: string): void => {
    const right = isRight(prediction, answer);
    const expected = prediction.kind === "choice" ? prediction.answer : `${prediction.answer}.`;
    verdict.replaceChildren(
      make(
        "p",
        { class: right ? "practice-right" : "practice-wrong" },
        right ? "✓ Right." : `✗ Not quite. The answer: ${expected}`,
      ),
      make("p", {}, nodesOf(prediction.explanation)),
    );
    fieldset.disabled = true;
    button.hidden = true;
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const answer = String(new FormData(form).get("prediction"));
    if (prediction.kind === "number" && numberOf(answer) === undefined) {
      verdict.replaceChildren(make("p", {}, "Enter a number, such as 0.5, 1/2 or 1,000."));
      return;
    }
    settle(answer);
    onAnswer(answer);
  });
  if (stored !== undefined) {
    for (const input of form.querySelectorAll("input"))
      if (input.type === "radio") input.checked = input.value === stored;
      else input.value = stored;
    settle(stored);
  }
  return form;
}
