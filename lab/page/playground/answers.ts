/**
 * Shows how the network reads the drawing: the probabilities, the pixels that the answer depends on, and the answer
 * after an attack.
 */
import { maker } from "../../view/dom.ts";
import type { Answer, Explanation } from "./explain.ts";
import { newMenu, newSlider } from "./fields.ts";
import { diverging, grey, newLegend, newPixels, overInk } from "./pictures.ts";
import { ATTACKS, EPSILONS, METHODS, type Method, QUESTION, type Question } from "./settings.ts";

const make = maker(document);

export interface Panel {
  readonly element: HTMLElement;
  show(explanation: Explanation, drawing: Float32Array): void;
  clear(): void;
}

const percent = (p: number | undefined): string => (p === undefined ? "–" : `${(100 * p).toFixed(1)} %`);

/** Creates the panel that shows the ten probabilities as bars. */
export function newProbabilities(): Panel {
  const heading = make("h3", {});
  const bars = Array.from({ length: 10 }, (_, digit) => {
    const [bar, value] = [make("span", { class: "pg-bar" }), make("span", { class: "pg-value" })];
    return { bar, value, item: make("li", {}, make("span", {}, String(digit)), bar, value) };
  });
  const set = (title: string, answer: Answer | undefined): void => {
    // Screen readers announce a heading whenever it is set, so set it only if the answer changes, not ten times per
    // second.
    if (heading.textContent !== title) heading.textContent = title;
    bars.forEach(({ bar, value, item }, digit) => {
      const p = answer && answer.digit >= 0 ? answer.probabilities[digit]! : undefined;
      bar.style.setProperty("--part", String(p ?? 0));
      value.textContent = percent(p);
      item.className = digit === answer?.digit ? "likeliest" : "";
    });
  };
  const clear = (): void => set("It reads nothing yet", undefined);
  clear();
  return {
    element: make(
      "section",
      { class: "pg-answer", "aria-label": "The network’s answer" },
      make("div", { role: "status" }, heading),
      make("ul", { class: "pg-probabilities" }, ...bars.map(({ item }) => item)),
    ),
    show: ({ answer }) => set(answer.digit < 0 ? "It cannot tell" : `It reads ${answer.digit}`, answer),
    clear,
  };
}

/** The menu entry for explaining the score of the network's answer, whichever digit the answer is. */
const ANSWER = "the answer";

/** The meaning of each method's attribution, for a score s and pixels x. */
const MEANINGS: Readonly<Record<Method, string>> = {
  "gradient × input": "x·∂s/∂x: to first order, what each pixel’s ink adds to the score s.",
  "integrated gradients": "The share of each pixel in s. All shares add up to s minus the score of blank paper.",
  SmoothGrad: "∂s/∂x, averaged over noisy copies: where more ink raises or lowers s.",
};

/** Creates the panel that colours, over the ink, the pixels on which the answer depends. */
export function newSaliency(onChange: (change: Partial<Question>) => void): Panel {
  const pixels = newPixels("Nothing is drawn");
  const meaning = make("p", { class: "pg-note" }, MEANINGS[QUESTION.method]);
  const method = newMenu({
    id: "playground-method",
    label: "Method",
    values: METHODS,
    value: QUESTION.method,
    onChange(to) {
      meaning.textContent = MEANINGS[to];
      onChange({ method: to });
    },
  });
  const target = newMenu({
    id: "playground-target",
    label: "Score of",
    values: [ANSWER, ..."0123456789"],
    value: ANSWER,
    onChange: (digit) => onChange({ target: digit === ANSWER ? undefined : Number(digit) }),
  });
  const legend = newLegend("lowers it", "raises it");
  const caption = pixels.element.querySelector("figcaption")!;
  const clear = (): void => {
    pixels.clear();
    caption.textContent = "";
  };
  clear();
  return {
    element: make(
      "section",
      { class: "pg-why", "aria-label": "Saliency" },
      make("h3", {}, "Which pixels matter?"),
      make(
        "div",
        { class: "pg-pair" },
        pixels.element,
        make("div", {}, make("div", { class: "pg-fields" }, method.element, target.element), meaning, legend),
      ),
    ),
    show({ answer, explained, attribution }, drawing) {
      if (answer.digit < 0) return clear();
      const text = `score of ${explained}`;
      if (caption.textContent !== text) caption.textContent = text;
      pixels.paint(
        overInk(attribution, drawing),
        `The drawing. Orange pixels raise the score of ${explained}, blue pixels lower it.`,
      );
    },
    clear,
  };
}

/** Creates the panel that attacks the drawing with changes of at most ε per pixel. */
export function newAttack(onChange: (change: Partial<Question>) => void): Panel {
  const [attacked, difference] = [newPixels("attacked"), newPixels("change")];
  const [before, after] = [make("dd", { class: "pg-before" }), make("dd", { class: "pg-after" })];
  const verdict = make("p", { class: "pg-verdict" });
  const caption = difference.element.querySelector("figcaption")!;
  const kind = newMenu({
    id: "playground-attack",
    label: "Method",
    values: ATTACKS,
    value: QUESTION.attack,
    onChange: (attack) => onChange({ attack }),
  });
  const strength = newSlider({
    id: "playground-epsilon",
    label: "ε: the largest change to a pixel",
    values: EPSILONS,
    value: QUESTION.epsilon,
    show: (epsilon) => epsilon.toFixed(2),
    onChange: (epsilon) => onChange({ epsilon }),
  });
  const clear = (): void => {
    attacked.clear();
    difference.clear();
    caption.textContent = "change";
    before.textContent = after.textContent = "–";
    verdict.textContent = "";
  };
  clear();
  return {
    element: make(
      "section",
      { class: "pg-attack", "aria-label": "Attack" },
      make("h3", {}, "Attack the digit"),
      make("div", { class: "pg-fields" }, kind.element, strength.element),
      make(
        "div",
        { class: "pg-pair" },
        make("div", { class: "pg-pictures" }, attacked.element, difference.element),
        make(
          "div",
          {},
          make("dl", { class: "pg-answers" }, make("dt", {}, "before"), before, make("dt", {}, "after"), after),
          verdict,
        ),
      ),
    ),
    show({ answer, attacked: pixels, after: now }, drawing) {
      if (answer.digit < 0) return clear();
      const change = pixels.map((value, i) => value - drawing[i]!);
      attacked.paint(grey(pixels), `The drawing after the attack. The network reads ${now.digit}.`);
      difference.paint(diverging(change), "The change of each pixel: orange adds ink, blue removes it.");
      const p = [answer.probabilities[answer.digit], now.probabilities[answer.digit]];
      const most = Math.max(...change.map(Math.abs));
      caption.textContent = `change ±${most.toFixed(2)}`;
      before.textContent = `${answer.digit} · ${percent(p[0])}`;
      after.textContent = `${now.digit} · ${percent(now.probabilities[now.digit])}`;
      after.classList.toggle("pg-misled", now.digit !== answer.digit);
      verdict.textContent =
        p[0] === p[1]
          ? `P(${answer.digit}) stays the same.`
          : `P(${answer.digit}) ${p[1]! < p[0]! ? "falls" : "rises"} to ${percent(p[1])}.`;
      Object.assign(verdict.dataset, { before: p[0], after: p[1], most });
    },
    clear,
  };
}
