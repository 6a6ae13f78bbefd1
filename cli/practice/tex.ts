/** Converts the TeX in exercises to plain text: \frac12\theta_1^2 becomes ½ θ₁². */

const SYMBOLS: Readonly<Record<string, string>> = {
  theta: "θ",
  beta: "β",
  lambda: "λ",
  eta: "η",
  sigma: "σ",
  mu: "μ",
  delta: "δ",
  varphi: "φ",
  rho: "ρ",
  partial: "∂",
  nabla: "∇",
  top: "ᵀ",
  cdot: "·",
  odot: "⊙",
  pm: "±",
  in: " ∈ ",
  ne: " ≠ ",
  approx: " ≈ ",
  leftarrow: " ← ",
  quad: "   ",
  qquad: "   ",
  "|": "‖",
  "{": "{",
  "}": "}",
  ",": " ",
  " ": " ",
};
/** Functions, with a space before their argument unless it is in brackets. */
const FUNCTIONS = new Set(["log", "tanh", "min"]);
/** Commands that change only how the following text looks. */
const IGNORED = new Set(["left", "right", "bigl", "bigr", "Bigl", "Bigr", "mathrm", "mathbb"]);
const FRACTIONS: Readonly<Record<string, string>> = { "1/2": "½", "1/4": "¼" };

const characters = (from: string, to: string): ReadonlyMap<string, string> => {
  const targets = [...to];
  return new Map([...from].map((character, i) => [character, targets[i]!]));
};
const RAISED = characters("0123456789+−=()abdijkmntTzᵀ-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᵈⁱʲᵏᵐⁿᵗᵀᶻᵀ⁻");
const LOWERED = characters("0123456789+−=()aijkmnoprstux", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐᵢⱼₖₘₙₒₚᵣₛₜᵤₓ");

/**
 * The text with every character raised or lowered. If a character has no such form, the mark (^ or _) precedes the
 * text.
 */
function shifted(text: string, forms: ReadonlyMap<string, string>, mark: string): string {
  const plain = text.replaceAll(" ", "");
  const all = [...plain].map((character) => forms.get(character));
  if (all.every((form) => form !== undefined)) return all.join("");
  return plain.length === 1 ? mark + plain : `${mark}(${text.trim()})`;
}

/** Reads one formula from left to right. */
class Reader {
  private at = 0;
  private readonly tokens: readonly string[];
  constructor(tex: string) {
    this.tokens = tex.match(/\\[a-zA-Z]+\s*|\\[\s\S]|[\s\S]/g) ?? [];
  }
  /** Everything up to the closing brace or, outside braces, up to the end. */
  all(): string {
    let text = "";
    while (this.at < this.tokens.length && this.tokens[this.at] !== "}") text += this.next();
    return text;
  }
  /** The argument of a command: a group in braces, or a single token. */
  private argument(): string {
    while (this.tokens[this.at]?.trim() === "") this.at++;
    if (this.tokens[this.at] !== "{") return this.next();
    this.at++;
    const text = this.all();
    this.at++;
    return text;
  }
  private next(): string {
    const token = this.tokens[this.at++]!;
    if (token[0] === "\\") return this.command(token.slice(1).trim() || " ");
    if (token === "^") return shifted(this.argument(), RAISED, "^");
    if (token === "_") return shifted(this.argument(), LOWERED, "_");
    if (token === "{") {
      this.at--;
      return this.argument();
    }
    return ({ "-": "−", "'": "′", "=": " = ", "<": " < ", "&": " " } as Record<string, string>)[token] ?? token;
  }
  private command(name: string): string {
    if (name === "frac" || name === "tfrac") return this.fraction();
    if (name === "sqrt") {
      const inside = this.argument();
      return [...inside].length === 1 ? `√${inside}` : `√(${inside})`;
    }
    if (name === "hat") return `${this.argument()}\u0302`.normalize("NFC");
    if (name === "dot") return `${this.argument()}′`;
    if (name === "begin" || name === "end") {
      this.argument();
      return name === "begin" ? "[" : "]";
    }
    if (name === "\\") return "; ";
    if (IGNORED.has(name)) return "";
    if (FUNCTIONS.has(name)) return /^([([{]|\\(left|[bB]ig))/.test(this.tokens[this.at] ?? "") ? name : `${name} `;
    if (name === "sum") return `${this.withScripts("Σ")} `;
    const symbol = SYMBOLS[name];
    if (symbol === undefined)
      throw new Error(`the TeX command \\${name} has no plain form. Add it to cli/practice/tex.ts.`);
    return symbol;
  }
  /** A symbol with its subscripts and superscripts. */
  private withScripts(symbol: string): string {
    let text = symbol;
    while (this.tokens[this.at] === "_" || this.tokens[this.at] === "^") text += this.next();
    return text;
  }
  private fraction(): string {
    const [top, bottom] = [this.argument(), this.argument()].map((part) => part.trim()) as [string, string];
    const isSum = (text: string): boolean => /[\s+−·/]/.test(text) && !/^(\([^()]*\)|‖[^‖]*‖)$/.test(text);
    // A product in the denominator needs brackets, because a/2h could mean (a/2)·h. Derivatives such as ∂L/∂θ₁ and d/dt
    // do not need them.
    const isProduct = !/^(\d+|[∂d]?\p{L}[₀-₉ₐ-ₜᵢⱼᵣᵤᵥ⁰-⁹²³ᵀ]*)$/u.test(bottom) && !/^[(‖]/.test(bottom);
    const text =
      FRACTIONS[`${top}/${bottom}`] ??
      `${isSum(top) ? `(${top})` : top}/${isSum(bottom) || isProduct ? `(${bottom})` : bottom}`;
    const follows = this.tokens[this.at] ?? "";
    return /^[a-zA-Z\\([]/.test(follows) && !/^\\(right|[bB]ig|cdot|,)/.test(follows) ? `${text} ` : text;
  }
}

/** A formula as plain text. */
export const plainTex = (tex: string): string =>
  new Reader(tex)
    .all()
    .replaceAll(/ {2,}(?=\S)/g, (gap) => (gap.length > 2 ? "   " : " "))
    .trim();
