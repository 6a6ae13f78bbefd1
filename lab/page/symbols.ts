/** Explains the symbols in formulas: the reader hovers over a symbol, or taps it, to see its meaning. */

/**
 * The meaning of each symbol in the text. A key can start with the id of a heading, below which the symbol has a
 * different meaning, or with the name of an experiment, for the symbols in its formula.
 */
const MEANINGS: Readonly<Record<string, string>> = {
  θ: "the parameters of the model, a vector",
  L: "the loss: a number that says how wrong the model is",
  "∇": "the gradient: all partial derivatives as one vector",
  "∂": "a partial derivative: the rate of change if only one variable changes",
  h: "a small step",
  n: "the number of parameters",
  i: "an index, from 1 to n",
  D: "the directional derivative",
  u: "a direction: a vector of length 1",
  e: "a vector of zeros with a single 1",
  x: "the input",
  y: "the target; in ŷ, the prediction",
  w: "the weights, a vector",
  W: "the weights, a matrix",
  b: "the bias",
  σ: "the sigmoid function, 1/(1 + e⁻ᶻ)",
  z: "the input of an activation function",
  g: "the gradient of the loss with respect to a layer's output",
  k: "the index of a sample in the mini-batch",
  F: "the Fisher information matrix: how sensitive the model's distribution is to its parameters",
  T: "the last time step",
  t: "the time step",
  U: "the input weights of the recurrent network",
  "∥": "a norm: the length of a vector, or the largest factor by which a matrix stretches a vector",
  η: "the learning rate",
  μ: "the momentum coefficient",
  κ: "the condition number: the largest curvature divided by the smallest",
  ε: "a small number: the largest allowed change",
  λ: "an eigenvalue: a curvature",
  ρ: "the factor by which the distance shrinks in each step",
  γ: "the friction",
  "calculating-gradients-the-chain-rule-and-backpropagation n": "the number of samples",
  "calculating-gradients-the-chain-rule-and-backpropagation i": "the index of a sample",
  "calculating-gradients-the-chain-rule-and-backpropagation y":
    "the target in the logistic model; the output of a linear layer",
  "vanishing-and-exploding-gradients h": "the hidden state of the recurrent network",
  "gradients-as-a-dynamical-system h": "the curvature",
  "definition-of-the-derivative h": "a small step",
  "definition-of-the-derivative ε": "the relative rounding error of a number",
  "linear-regression x": "the features of the sample",
  "linear-regression y": "the target",
  "directional-derivative u": "a direction: a vector of length 1",
  "backpropagation e": "the error ŷ − y",
  "backpropagation σ": "the sigmoid function, 1/(1 + e⁻ᶻ)",
  "backpropagation z": "the input of the sigmoid",
  "backpropagation a": "the output of the sigmoid",
  "backpropagation p": "the product of the weight and the input",
  "sigmoid σ": "the sigmoid function, 1/(1 + e⁻ᶻ)",
  "sigmoid z": "the input of the sigmoid",
  "vanishing σ": "the sigmoid function, 1/(1 + e⁻ᶻ)",
  "vanishing z": "the input of the activation function",
  "vanishing n": "the width of a layer",
  "vanishing F": "the Frobenius norm: the square root of the sum of all squared weights",
  "exploding-rnn W": "the recurrent weights",
  "exploding-rnn T": "the last time step",
  "exploding-rnn t": "a time step",
  "exploding-rnn ρ": "the spectral radius: the largest magnitude of an eigenvalue",
  "saddle-escape σ": "the standard deviation of the noise",
  "saddle-escape ξ": "a normally distributed random number",
  "saddle-escape r": "the distance at which a path has escaped from the saddle",
  "saddle-escape t": "the number of steps",
  "ravine u": "the position across the ravine",
  "ravine v": "the position along the ravine",
  "ravine ρ": "the factor by which the distance shrinks in each step",
  "gradient-flow k": "the number of the step",
  "momentum-escape h": "the curvature of the saddle",
  "momentum-escape γ": "the friction",
  "momentum-escape z": "the factor per step with momentum",
  "long-range σ": "the sigmoid function, 1/(1 + e⁻ᶻ)",
  "long-range b": "the bias of the forget gate",
  "natural-gradient F": "the Fisher information matrix",
  "saliency f": "the score of a class",
  "saliency α": "the position on the path from the blank picture (0) to the digit (1)",
  "evolution-strategies σ": "the standard deviation of the random points",
  "evolution-strategies ε": "a random direction",
};

/**
 * The symbols with the same meaning in every experiment's formula. Other symbols in a formula need an entry with the
 * experiment's name.
 */
const COMMON = ["θ", "L", "∇", "∂", "η", "κ", "μ", "λ"];

/** Replaces the bold and italic letters of formulas with upright ones. */
const plain = (text: string): string => text.normalize("NFKC").trim();

/** The meaning of a symbol below a heading, or in the formula of an experiment; undefined if MEANINGS has none. */
export function meaningOf(symbol: string, heading: string, experiment?: string): string | undefined {
  const name = plain(symbol);
  const isCommon = experiment === undefined || COMMON.includes(name);
  return MEANINGS[`${experiment ?? heading} ${name}`] ?? (isCommon ? MEANINGS[name] : undefined);
}

/** The id of the last heading before an element; empty if there is none. */
function headingAbove(element: Element): string {
  const headings = [...document.querySelectorAll("main h3, main h4")];
  return (
    headings.findLast((one) => (one.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING) !== 0)?.id ??
    ""
  );
}

const claimOf = (element: Element): string | undefined => element.closest<HTMLElement>("[data-claim]")?.dataset.claim;

export function explainSymbols(): void {
  const box = document.querySelector<HTMLElement>("#meaning")!;
  let shown: Element | undefined;
  const hide = (): void => {
    shown?.classList.remove("explained");
    shown = undefined;
    box.hidden = true;
  };
  const show = (event: Event): void => {
    const symbol = (event.target as Element).closest?.("math mi, math mo");
    const meaning = symbol ? meaningOf(symbol.textContent, headingAbove(symbol), claimOf(symbol)) : undefined;
    if (!symbol || !meaning) {
      if (!box.contains(event.target as Node)) hide();
      return;
    }
    hide();
    shown = symbol;
    symbol.classList.add("explained");
    box.replaceChildren(
      Object.assign(document.createElement("b"), { textContent: plain(symbol.textContent) }),
      ` ${meaning}`,
    );
    box.hidden = false;
    const at = symbol.getBoundingClientRect();
    const left = Math.min(Math.max(8, at.left - 16), document.documentElement.clientWidth - box.offsetWidth - 8);
    box.style.translate = `${left}px ${at.bottom + 6}px`;
  };
  document.addEventListener("pointerover", show);
  document.addEventListener("click", show);
  document.addEventListener("scroll", hide, { passive: true });
  addEventListener("keydown", ({ key }) => {
    if (key === "Escape") hide();
  });
}
