// Renders lab/article/article.md to HTML and MathML at build time, so that the page needs no script to show it, and builds a font for the formulas.
//
// Lines that start with @ are directives. `@figure NAME` places an experiment's figure beside the text that follows the
// previous directive. `@mount NAME` places a part of the page that has its own program, `@picture NAME` a picture that
// the build draws, and `@references` the list of sources. `[@ID]` cites a source. `{#id}` at the end of a paragraph
// gives it an id for links.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { tex } from "@mdit/plugin-tex";
import katex from "katex";
import markdownIt from "markdown-it";
import subsetFont from "subset-font";

/** The width of the thin space that TeX puts around the name of a function. */
const THIN = "0.167em";
/** Matches the end of a term before the name of a function. A thin space separates them. */
const ORDINARY =
  /(<\/(?:mi|mn|mfrac|mover|msqrt|msub|msup|msubsup)>|[)\]]<\/mo>)(?=<mi[^>]*>[^<]{2,}<\/mi><mo>\u2061<\/mo>)/g;
/** Matches the invisible operator that applies a function to an argument without brackets. */
const APPLIED = /<mo>\u2061<\/mo>(?!<mo (?:fence="true"|stretchy="false")[^>]*>[([])/g;

/** Renders a formula as MathML, and removes the TeX source, which KaTeX adds for scripts. */
export function formula(source, displayMode) {
  const html = katex.renderToString(source, { displayMode, output: "mathml", throwOnError: true });
  const [math] = /<math.*<\/math>/s.exec(html);
  return (
    math
      .replace(/<annotation .*?<\/annotation>/s, "")
      .replace(/<\/?semantics>/g, "")
      .replace(
        /<(m\w) mathvariant="(bold|bold-italic|double-struck)">(.)<\/m\w>/gu,
        (_, tag, variant, letter) =>
          // Not every browser knows the attribute, but all know the letter's own character.
          `<${tag}>${letterIn(variant, letter)}</${tag}>`,
      )
      // The font can stretch the double vertical line, but not the sign for parallel lines that KaTeX writes.
      .replaceAll("∥", "‖")
      // In this font, the prime is already raised. As a superscript, it would be too high.
      .replace(
        /<msup>(<mi[^>]*>[^<]*<\/mi>)<mo [^>]*>′<\/mo><\/msup>/g,
        '<mrow>$1<mo lspace="0" rspace="0">′</mo></mrow>',
      )
      .replace(ORDINARY, `$1<mspace width="${THIN}"></mspace>`)
      .replace(APPLIED, `<mo rspace="${THIN}">\u2061</mo>`)
  );
}

/** The code points of A, a, α and 0 in Unicode's mathematical alphabets. */
const ALPHABETS = {
  bold: { A: 0x1d400, a: 0x1d41a, α: 0x1d6c2, 0: 0x1d7ce },
  "bold-italic": { A: 0x1d468, a: 0x1d482, α: 0x1d736 },
  "double-struck": { A: 0x1d538, a: 0x1d552, 0: 0x1d7d8 },
  italic: { A: 0x1d434, a: 0x1d44e, α: 0x1d6fc },
};
const RANGES = ["AZ", "az", "αω", "09"];
/** The letters that are missing from these alphabets, because Unicode had already encoded them elsewhere. */
const OLDER = {
  italic: { h: "ℎ" },
  "double-struck": { C: "ℂ", H: "ℍ", N: "ℕ", P: "ℙ", Q: "ℚ", R: "ℝ", Z: "ℤ" },
};

/** The letter in a mathematical alphabet, or the letter itself if the alphabet does not have it. */
function letterIn(alphabet, letter) {
  const [first] = RANGES.find(([from, to]) => letter >= from && letter <= to) ?? [];
  const start = ALPHABETS[alphabet][first];
  const own = start ? String.fromCodePoint(start + letter.codePointAt(0) - first.codePointAt(0)) : letter;
  return OLDER[alphabet]?.[letter] ?? own;
}

/**
 * A style sheet's text with a font for the characters of all formulas. The font includes the italic form of each
 * letter, because browsers show single letters in italics.
 */
export async function renderFont(html) {
  const formulas = [...html.matchAll(/<math.*?<\/math>/gs)].map(([math]) => math).join("");
  // Roots are elements, so add the root sign, which the text does not contain.
  const letters = formulas.replace(/<(msqrt|mroot)>/g, "√").replace(/<[^>]*>/g, "");
  const used = [...new Set(letters)].flatMap((letter) => [letter, letterIn("italic", letter)]).join("");
  const file = fileURLToPath(
    import.meta.resolve("@fontsource/noto-sans-math/files/noto-sans-math-latin-400-normal.woff2"),
  );
  // Keep the font's copyright and licence.
  const font = await subsetFont(readFileSync(file), used, {
    targetFormat: "woff2",
    noHinting: true,
    preserveNameIds: [0, 13, 14],
  });
  return `@font-face{font-family:"Noto Sans Math";src:url(data:font/woff2;base64,${font.toString("base64")}) format("woff2")}`;
}

/** A heading's id, from its text. */ export const slug = (text) =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9 -]/g, "")
    .trim()
    .replace(/ +/g, "-");
const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/** Gives every heading, and every paragraph marked with `{#id}`, an id and a link to itself. */
function anchors(md) {
  md.core.ruler.push("anchors", ({ tokens }) => {
    for (const [i, token] of tokens.entries()) {
      const inline = tokens[i + 1];
      if (token.type === "heading_open" || token.type === "paragraph_open") {
        const last = inline.children.at(-1);
        const mark = last?.type === "text" ? /\s*\{#([\w-]+)\}$/.exec(last.content) : null;
        if (mark) last.content = last.content.slice(0, mark.index);
        const id = mark?.[1] ?? (token.type === "heading_open" ? slug(inline.content) : undefined);
        if (!id) continue;
        // In a tight list, paragraphs have no element, so the list item gets the id.
        (token.hidden ? tokens[i - 1] : token).attrSet("id", id);
        const link = new tokens[0].constructor("html_inline", "", 0);
        link.content = ` <a class="anchor" href="#${id}" aria-label="Link to this ${token.type.split("_")[0]}">¶</a>`;
        inline.children.push(link);
      }
    }
  });
}

/** Turns `[@id]` into a link to the source. Adds the link's id to `env.cited`, which is keyed by source. */
function citations(md) {
  md.inline.ruler.before("link", "citation", (state, silent) => {
    const [whole, id] = /^\[@([\w-]+)\]/.exec(state.src.slice(state.pos)) ?? [];
    if (!whole) return false;
    if (!silent) {
      const source = state.env.references.find((one) => one.id === id);
      if (!source) throw new Error(`article.md: no source "${id}". Add it to references.ts.`);
      const places = state.env.cited.get(id) ?? [];
      const place = `cite-${id}-${places.length + 1}`;
      state.env.cited.set(id, [...places, place]);
      const link = state.push("html_inline", "", 0);
      link.content = `<a class="cite" id="${place}" href="#ref-${id}" title="${escape(source.title)}">${escape(source.short)}</a>`;
    }
    state.pos += whole.length;
    return true;
  });
}

const md = markdownIt({ html: false })
  .use(tex, {
    render: (source, display) =>
      display ? `<div class="formula">${formula(source, true)}</div>` : formula(source, false),
  })
  .use(citations)
  .use(anchors);

/** The text of a figure: the experiment's claim, and its formula, which is split at \qquad so that it can wrap. */
const claim = ({ name, claim: text, formula: source }) => `<div class="claim" data-claim="${name}">
<p>${escape(text)}</p>
<div class="formula">${source
  .split("\\qquad")
  .map((part) => formula(part.replace(/,\s*$/, ""), true))
  .join("\n")}</div>
</div>`;

const ADDRESSES = { "doi:": "https://doi.org/", "arXiv:": "https://arxiv.org/abs/" };

/** The list of sources, each with links back to the places that cite it. */
function listOf(references, cited) {
  const items = references.map(({ id, authors, year, title, where, link }) => {
    const places = cited.get(id);
    if (!places)
      throw new Error(`article.md: nothing cites "${id}". Cite it as [@${id}], or remove it from references.ts.`);
    const back = places.map(
      (place, i) =>
        `<a href="#${place}" aria-label="Back to the text, place ${i + 1}">↩${places.length > 1 ? i + 1 : ""}</a>`,
    );
    const address = link.replace(/^(doi|arXiv):/, (kind) => ADDRESSES[kind]);
    return `<li id="ref-${id}">${escape(authors)} (${year}). <cite>${escape(title)}</cite>. ${escape(where)}. <a href="${escape(address)}">${escape(link.replace("https://", ""))}</a> ${back.join(" ")}</li>`;
  });
  return `<ul class="references">\n${items.join("\n")}\n</ul>\n`;
}

/** The figure of an experiment, as it is before the program has loaded. */
const figure = ({ name, title }) => `
<figure class="live" id="figure-${name}" data-experiment="${name}">
<figcaption>${escape(title)}</figcaption>
<div class="body" aria-busy="true"><noscript>This figure needs JavaScript.</noscript></div>
</figure>`;

/**
 * The article as HTML, one section per figure.
 * @param {string} text
 * @param {readonly { name: string, title: string, claim: string, formula: string }[]} experiments
 * @param {Readonly<Record<string, () => string>>} pictures
 * @param {readonly import("../article/references.ts").Reference[]} references sorted by author
 */
export function renderArticle(text, experiments, pictures, references) {
  const unplaced = new Set(experiments.map(({ name }) => name));
  const scenes = [];
  const cited = new Map();
  let lines = [];
  const end = (kind = "text", extra = "", aside = "") => {
    const prose = md.render(lines.join("\n"), { references, cited }) + extra;
    lines = [];
    if (prose || aside)
      scenes.push(`<section class="scene ${kind}">\n<div class="prose">\n${prose}</div>${aside}\n</section>`);
  };
  for (const line of text.split("\n")) {
    const [, directive, name] = /^@(\w+) ([\w-]+)$/.exec(line) ?? [];
    if (directive === "figure") {
      const experiment = experiments.find((one) => one.name === name);
      if (!experiment || !unplaced.delete(name))
        throw new Error(`article.md: "@figure ${name}" must name an experiment that has no figure yet.`);
      end("beside", claim(experiment), figure(experiment));
    } else if (directive === "mount") {
      end("part", "", `\n<div class="mount" data-mount="${name}"></div>`);
    } else if (directive === "picture" && pictures[name]) {
      end("opening", "", `\n${pictures[name]()}`);
    } else if (line === "@references") {
      end("text", listOf(references, cited));
    } else if (directive || line.startsWith("@")) {
      throw new Error(
        `article.md: unknown directive "${line}". Use @figure NAME, @mount NAME, @picture NAME or @references.`,
      );
    } else {
      if (/^###? /.test(line)) end();
      lines.push(line);
    }
  }
  end();
  if (unplaced.size) throw new Error(`article.md: place ${[...unplaced].join(", ")} with "@figure NAME".`);
  return scenes.join("\n");
}

/** The headings of a rendered article as a list of links. Each link's class gives its heading's level. */
export function renderContents(html) {
  const items = [...html.matchAll(/<h([234]) id="([\w-]+)">(.*?) <a class="anchor"/g)];
  return `<ul>${items.map(([, level, id, text]) => `<li class="level${level}"><a href="#${id}">${text}</a></li>`).join("")}</ul>`;
}
