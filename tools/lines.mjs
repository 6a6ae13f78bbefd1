// Keeps bundles readable, so that an uncaught error prints a short line: bundles keep the source's names and line breaks, and the long
// lines that bundlers produce (import lists, long strings, the kernels) are broken.
import ts from "typescript";

/** Lines longer than this are broken where possible. */
const LONGEST = 240;
/** The width of the pieces into which longer lines are broken. */
const COLUMNS = 116;

/** Rolldown's output options. */
export const READABLE = {
  comments: { legal: true, annotation: true, jsdoc: false },
  minify: { compress: false, mangle: false, codegen: { removeWhitespace: false } },
  minifyInternalExports: false,
};

/** Tokens after which JavaScript allows a line break, whatever follows. */
const ENDS = new Set([
  ts.SyntaxKind.CommaToken,
  ts.SyntaxKind.SemicolonToken,
  ts.SyntaxKind.OpenBraceToken,
  ts.SyntaxKind.OpenParenToken,
  ts.SyntaxKind.OpenBracketToken,
  ts.SyntaxKind.QuestionToken,
  ts.SyntaxKind.ColonToken,
  ts.SyntaxKind.EqualsToken,
  ts.SyntaxKind.EqualsGreaterThanToken,
  ts.SyntaxKind.AmpersandAmpersandToken,
  ts.SyntaxKind.BarBarToken,
  ts.SyntaxKind.QuestionQuestionToken,
  ts.SyntaxKind.PlusToken,
]);
const TEXTS = new Set([
  ts.SyntaxKind.StringLiteral,
  ts.SyntaxKind.NoSubstitutionTemplateLiteral,
  ts.SyntaxKind.TemplateHead,
  ts.SyntaxKind.TemplateMiddle,
  ts.SyntaxKind.TemplateTail,
]);

/** The ranges of lines that are too long. */
function longLines(code) {
  const found = [];
  for (let begin = 0; begin < code.length; ) {
    const next = code.indexOf("\n", begin);
    const end = next < 0 ? code.length : next;
    if (end - begin > LONGEST) found.push({ begin, end });
    begin = end + 1;
  }
  return found;
}

/** Rewrites a regular expression literal as `new RegExp(…)`, whose strings can be split across lines. */
function asText(literal) {
  const end = literal.lastIndexOf("/");
  return `new RegExp(${JSON.stringify(literal.slice(1, end))}, "${literal.slice(end + 1)}")`;
}

/**
 * The positions where a backslash may continue a string on the next line: none inside an escape or a tagged template.
 */
function breaksInText(code, node) {
  const at = node.getStart();
  const isTagged =
    ts.isTaggedTemplateExpression(node.parent) || ts.isTaggedTemplateExpression(node.parent?.parent?.parent ?? node);
  if (node.end - at <= COLUMNS || isTagged) return [];
  const places = [];
  for (const piece of code.slice(at, node.end).matchAll(/\\u\{[^}]*\}|\\u....|\\x..|\\[\s\S]|\$\{|[\s\S]/g))
    places.push(at + piece.index);
  return places.slice(1, -2).map((place) => ({ place, by: "\\\n" }));
}

/** Breaks the long lines of code. */
export function breakLines(code) {
  const long = longLines(code);
  if (!long.length) return code;
  const touches = (begin, end) => long.some((line) => begin < line.end && end > line.begin);
  const file = ts.createSourceFile("chunk.js", code, ts.ScriptTarget.Latest, true, ts.ScriptKind.JS);
  const places = [];
  const expressions = [];
  const visit = (node) => {
    if (!touches(node.pos, node.end)) return;
    if (ts.isRegularExpressionLiteral(node) && node.end - node.getStart() > COLUMNS) expressions.push(node);
    else if (TEXTS.has(node.kind)) for (const place of breaksInText(code, node)) places.push(place);
    else if (ENDS.has(node.kind)) places.push({ place: node.end, by: "\n" });
    else for (const child of node.getChildren(file)) visit(child);
  };
  visit(file);
  if (expressions.length) {
    const [begin, end] = [(node) => node.getStart(), (node) => node.end];
    const parts = expressions.map(
      (node, i) => code.slice(i ? end(expressions[i - 1]) : 0, begin(node)) + asText(node.text),
    );
    return breakLines(parts.join("") + code.slice(end(expressions.at(-1))));
  }
  let broken = "";
  let at = 0;
  let next = 0;
  for (const { begin, end } of long) {
    let start = begin;
    while (places[next]?.place <= begin) next++;
    for (; places[next]?.place < end; next++) {
      const follows = places[next + 1]?.place ?? end;
      if (Math.min(follows, end) - start <= COLUMNS) continue;
      broken += code.slice(at, places[next].place) + places[next].by;
      start = at = places[next].place;
    }
  }
  return broken + code.slice(at);
}

/** A Rolldown plugin that breaks the long lines of every chunk. */
export const lines = {
  name: "lines",
  generateBundle(_, output) {
    for (const chunk of Object.values(output)) if (chunk.type === "chunk") chunk.code = breakLines(chunk.code);
  },
};
