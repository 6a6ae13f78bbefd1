/**
 * The exercises: solutions pass, starters fail, each typical mistake gets the matching hint, and code that does not load gets an
 * explanation.
 * `npx nabla practice` needs the build in dist/.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { plainTex } from "../../cli/practice/tex.ts";
import { paragraph } from "../../cli/practice/text.ts";
import { type Exercise, isRight, type Mistake, numberOf } from "../../lab/practice/exercise.ts";
import { exercises } from "../../lab/practice/index.ts";
import { check, type Outcome } from "../../lab/practice/run.ts";
import { nabla } from "../cli/running.ts";
import { alternatives } from "./practiceAlternatives.ts";

const find = (name: string): Exercise => exercises.find((exercise) => exercise.name === name)!;
const outcomesOf = async (exercise: Exercise, source: string, seed = 1): Promise<Outcome[]> => {
  const outcomes: Outcome[] = [];
  await check(exercise, source, (outcome) => outcomes.push(outcome), seed);
  return outcomes;
};
const failures = (outcomes: readonly Outcome[]): string[] =>
  outcomes.filter(({ passed }) => !passed).map(({ message }) => message!);
const mistakesOf = async (name: string): Promise<readonly Mistake[]> =>
  ((await import(`../../lab/practice/${name}.ts`)) as { mistakes: readonly Mistake[] }).mistakes;

/** Seeds for the random inputs. The lab itself uses the first one. */
const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8];

describe.each(exercises.map((exercise) => [exercise.name, exercise] as const))("%s", (name, exercise) => {
  test("the solution passes all checks, for any random inputs", async () => {
    for (const seed of SEEDS) {
      const outcomes = await outcomesOf(exercise, exercise.solution, seed);
      expect(failures(outcomes), `seed ${seed}`).toEqual([]);
      expect(outcomes.length).toBe(exercise.checks.length + 1);
    }
  });
  test("another correct answer passes too", async () => {
    for (const seed of SEEDS)
      expect(failures(await outcomesOf(exercise, alternatives[name]!, seed)), `seed ${seed}`).toEqual([]);
  });
  test("the starter loads, but fails", async () => {
    for (const seed of SEEDS) {
      const [loaded, ...rest] = await outcomesOf(exercise, exercise.starter, seed);
      expect(loaded!.passed).toBe(true);
      expect(failures(rest).length, `seed ${seed}`).toBeGreaterThan(0);
    }
  });
  test("typical mistakes fail, and the first failure names the likely mistake", async () => {
    const mistakes = await mistakesOf(name);
    expect(mistakes.length).toBeGreaterThanOrEqual(3);
    for (const { replace, by, hint } of mistakes) {
      expect(exercise.solution.split(replace).length, replace).toBe(2);
      expect(hint.length).toBeGreaterThan(5);
      for (const seed of SEEDS) {
        const wrong = exercise.solution.replace(replace, by);
        const [first = "no failure"] = failures(await outcomesOf(exercise, wrong, seed));
        expect(first, `seed ${seed}: ${by}`).toContain(hint);
      }
    }
  });
  test("its prediction has one right answer, and its texts are complete", () => {
    const { prediction, statement, hints, starter, exports } = exercise;
    if (prediction.kind === "choice") {
      expect(prediction.options.filter((option) => isRight(prediction, option))).toEqual([prediction.answer]);
      expect(new Set(prediction.options).size).toBe(3);
    } else {
      expect(isRight(prediction, String(prediction.answer))).toBe(true);
      expect(isRight(prediction, String(prediction.answer + 1))).toBe(false);
    }
    for (const own of exports) expect(starter).toContain(`export function ${own}(`);
    for (const text of [prediction.question, prediction.explanation, ...statement, ...hints]) {
      expect(text.length).toBeGreaterThan(10);
      expect(text.split("$").length % 2, text).toBe(1);
      expect(paragraph(text, 80)).not.toMatch(/\\|\$/);
      for (const line of paragraph(text, 80).split("\n")) expect(line.length, line).toBeLessThanOrEqual(100);
    }
  });
});

test("exercises are named after their file, and belong to sections of the article in its order", () => {
  expect(exercises.length).toBe(15);
  expect(new Set(exercises.map(({ name }) => name)).size).toBe(15);
  const sections = [...new Set(exercises.map(({ section }) => section))];
  expect(exercises.map(({ section }) => sections.indexOf(section))).toEqual(
    exercises.map(({ section }) => sections.indexOf(section)).sort((a, b) => a - b),
  );
});

test.each([
  ["0.5", 0.5],
  ["-3", -3],
  ["−3", -3],
  ["10,000", 10000],
  ["10 000", 10000],
  ["1e4", 10000],
  ["1/2", 0.5],
  ["", undefined],
  ["1/0", undefined],
  ["1/2/3", undefined],
  ["many", undefined],
])("a prediction of %j is read as %j", (text, number) => expect(numberOf(text)).toBe(number));

test.each([
  ["\\frac12\\theta_1^2", "½ θ₁²"],
  ["\\frac{\\|g-d\\|}{\\|g\\|+\\|d\\|}", "‖g−d‖/(‖g‖+‖d‖)"],
  ["\\frac1{2n}\\|Xw-y\\|^2", "1/(2n) ‖Xw−y‖²"],
  ["\\sum_{k=1}^{n}g^{(k)}x^{(k)\\top}", "Σₖ₌₁ⁿ g⁽ᵏ⁾x⁽ᵏ⁾ᵀ"],
  ["\\begin{pmatrix}a&b\\\\b&c\\end{pmatrix}", "[a b; b c]"],
  ["\\partial L/\\partial\\theta_1", "∂L/∂θ₁"],
  ["\\log\\hat y\\approx e^{-z}", "log ŷ ≈ e⁻ᶻ"],
])("in a terminal, %j becomes %j", (tex, plain) => expect(plainTex(tex)).toBe(plain));

describe("code that does not load, or throws", () => {
  const gradient = (body: string): string => `export function gradient(theta, x, y) {\n${body}\n}\n`;
  test.each([
    [
      "a syntax error",
      gradient("  return [1, 2;"),
      /^Syntax error in line 2, column 15: unexpected token\.\n {4}return \[1, 2;\n {16}\^$/,
    ],
    [
      "a missing brace",
      gradient("  if (x) {\n    return [1, 2];"),
      /^Syntax error in line 5, .*: the code ends too early\. Is a closing bracket or brace missing\?$/,
    ],
    [
      "a type annotation",
      "export function gradient(theta: number[], x, y) {}",
      /line 1, .*: exercises are JavaScript\. Remove the type annotation/,
    ],
    [
      "a missing export",
      "function gradient() {}",
      /^Your code declares `gradient` but does not export it\. Write `export` before the declaration/,
    ],
    [
      "a different export",
      "export const loss = () => 0;",
      /^Your code does not export a function `gradient`\. Write `export function gradient\(theta, x, y\) \{ … \}`\.$/,
    ],
    [
      "an export that is not a function",
      "export const gradient = [1, 2];",
      /declares `gradient`|does not export a function `gradient`/,
    ],
    [
      "an unknown package",
      'import fs from "node:fs";',
      /^Cannot import "node:fs" \(line 1\)\. An exercise can import from "nabla" and "nabla\/gradients" only\.$/,
    ],
    [
      "an unknown name",
      'import {\n  tensr,\n} from "nabla";',
      /^"nabla" has no export "tensr" \(line 2\)\. Did you mean "tensor"\?$/,
    ],
    [
      "a name of the other module",
      'import { saliency } from "nabla";',
      /^"nabla" has no export "saliency" \(line 1\)\. Import it from "nabla\/gradients"\.$/,
    ],
    [
      "a default import",
      'import nabla from "nabla";',
      /^"nabla" has no default export \(line 1\)\. Write `import \{ tensor \} from "nabla"`/,
    ],
    [
      "autograd instead of the formula",
      'import { grad } from "nabla";',
      /^This exercise asks for the formula: derive it, and do not call `grad` \(line 1\)\.$/,
    ],
    ["an error at the top level", `\nthrow new TypeError("no");`, /^Your code threw TypeError: no \(line 2\)\.$/],
    [
      "an error in a function",
      gradient("  return theta.length.x.y;"),
      /^Your code threw TypeError: Cannot read properties of undefined.* \(line 2\)\.$/,
    ],
    [
      "a name that is not imported",
      gradient("  return tensor(theta);"),
      /^Your code threw ReferenceError: tensor is not defined \(line 2\)\. Import it: `import \{ tensor \} from "nabla"`\.$/,
    ],
    [
      "no result",
      gradient(""),
      /^`gradient\(\[1, 1\], \[3, 1\], 8\)` returned nothing\. Does every path of the function end with `return`\?$/,
    ],
    ["a promise", "export const gradient = async () => [0, 0];", /returned a promise\. Remove `async`/],
    ["a wrong length", gradient("  return [1];"), /must be an array of 2 numbers, got an array of 1 number\.$/],
    ["NaN", gradient("  return [0, 0 / 0];"), /contains NaN, at index 1\. Look for a division by zero/],
    ["words", gradient('  return ["a", "b"];'), /must be an array of 2 numbers, got "a"\.$/],
  ])("%s gets a hint", async (_, source, hint) => {
    expect(failures(await outcomesOf(find("derive-a-partial"), source))[0]).toMatch(hint);
  });
  test("imports work in every form", async () => {
    const { solution } = find("logistic-gradient");
    const imports = [
      'import * as all from "nabla"; all.tensor([1]).sum();',
      "import { tensor as make, nn } from 'nabla'; new nn.Linear(1, 1).forward(make([1]));",
      'import { gradcheck } from "nabla/gradients"; import { tensor } from "nabla"; gradcheck((x) => x.square(), [tensor([1])]);',
      'const { tensor } = await import("nabla"); tensor([1]).sum();',
      'export { tensor } from "nabla"; // import "other" in a comment, and in a string: \'from "x"\'',
    ];
    for (const one of imports)
      expect(failures(await outcomesOf(find("logistic-gradient"), `${one}\n${solution}`)), one).toEqual([]);
  });
});

describe("npx nabla practice", () => {
  let folder: string;
  const NAME = "logistic-gradient";
  const { solution, starter, title, hints } = find(NAME);
  const file = (text: string): string => {
    const path = join(folder, "answer.js");
    writeFileSync(path, text);
    return path;
  };
  beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "nabla-practice-"))));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("lists all exercises under their sections", async () => {
    const { code, output, errors } = await nabla("practice");
    expect({ code, errors }).toEqual({ code: 0, errors: "" });
    for (const { name, title: own, section } of exercises)
      for (const text of [`  ${name} `, own, section]) expect(output).toContain(text);
  });
  test("shows an exercise: question, task, starter and commands, without escape codes or TeX", async () => {
    const { code, output } = await nabla("practice", NAME);
    expect(code).toBe(0);
    expect(output).toMatch(new RegExp(`^${title}\n`));
    expect(output).toContain("    L(w) = 1/n Σₖ₌₁ⁿ Lₖ\n\n    Lₖ = −yₖlog ŷₖ−(1−yₖ)log(1−ŷₖ)\n");
    expect(output).toContain(starter.trimEnd().replaceAll(/^(?=.)/gm, "    "));
    expect(output).toContain(`npx nabla practice ${NAME} --starter > ${NAME}.mjs`);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the point of the test
    expect(output).not.toMatch(/[\x1b\\$]/);
  });
  test("prints the starter, hints and the solution", async () => {
    expect((await nabla("practice", NAME, "--starter")).output).toBe(starter);
    expect((await nabla("practice", NAME, "--solution")).output).toBe(solution);
    const { output } = await nabla("practice", NAME, "--hint", "3");
    expect(output.replaceAll("\n", " ").trim()).toBe(hints[2].replaceAll("$", ""));
  });
  test("checks predictions: exits with 0 if right, 2 if wrong", async () => {
    expect(await nabla("practice", NAME, "--predict", "9")).toMatchObject({
      code: 0,
      output: expect.stringMatching(/^✓ Right\.\nThe pull is \(ŷ−y\) x\./),
    });
    expect(await nabla("practice", NAME, "--predict", "3")).toMatchObject({
      code: 2,
      output: expect.stringMatching(/^✗ Not quite\. The answer: 9\.\n/),
    });
    expect(await nabla("practice", "clip-an-rnn", "--predict", "2")).toMatchObject({ code: 0 });
    expect(await nabla("practice", "clip-an-rnn", "--predict", "1")).toMatchObject({
      code: 2,
      output: expect.stringContaining("The answer: About 3,300"),
    });
  });
  test("checks a file outside of any project: exits with 0 if it passes", async () => {
    const { code, output, errors } = await nabla(
      "practice",
      NAME,
      file(`import { tensor } from "nabla";\nconsole.log("shape", tensor([1, 2]).shape);\n${solution}`),
    );
    expect(errors).toBe("");
    expect(code).toBe(0);
    expect(output).toMatch(
      /^console\.log: shape \[2\]\n✓ The code loads and exports gradient\.\n(✓ .*\n)+\nAll 5 checks passed\.\n$/,
    );
  });
  test("shows the first 100 lines that the code prints, and objects that have no text", async () => {
    const prints =
      "const a = {}; a.a = a; console.log([a], Object.create(null));\nfor (let i = 0; i < 1e5; i++) console.log(i);\n";
    const { code, output } = await nabla("practice", NAME, file(prints + solution));
    expect(code).toBe(0);
    const lines = output.split("\n").filter((line) => line.startsWith("console.log: "));
    expect(lines.length).toBe(101);
    expect(lines[0]).toBe("console.log: [object Array] [object Object]");
    expect(lines[99]).toBe("console.log: 98");
    expect(lines[100]).toBe("console.log: … (only the first 100 lines are shown)");
  });
  test("exits with 2 if a check fails, and prints the hint", async () => {
    const { code, output } = await nabla("practice", NAME, file(solution.replace(".div(x.shape[0])", "")));
    expect(code).toBe(2);
    expect(output.replaceAll(/\s+/g, " ")).toMatch(
      /✗ For a batch, .* You forgot the factor 1\/n: .* 3 of 5 checks failed\. $/,
    );
  });
  test.each([
    [
      "a loop that never ends",
      "export function gradient() { for (;;); }",
      /✓ The code loads .*✗ .* ran for more than 5 seconds\. Look for a loop that never ends\./,
    ],
    ["a loop at the top level", "while (true);", /^✗ .* ran for more than 5 seconds\. Look for a loop/],
    [
      "a list that grows without end",
      "const all = []; for (;;) all.push(new Array(1e6).fill(0));",
      /more than 256 MB\. Look for a list that grows without end\./,
    ],
    ["process.exit", "process.exit(0);", /Your code ended the run before all checks\./],
    ["a promise that never settles", "await new Promise(() => {});", /Your code ended the run before all checks\./],
    ["a syntax error", "export function gradient( {", /Syntax error in line 1/],
  ])("ends %s with a hint, and exits with 2", async (_, source, hint) => {
    const { code, output } = await nabla("practice", NAME, file(source));
    expect(output.replaceAll(/\s+/g, " ")).toMatch(hint);
    expect(code).toBe(2);
  });
  test.each([
    [
      ["clip-a-rnn"],
      /^error: unknown exercise "clip-a-rnn"\. Did you mean clip-an-rnn\? Run npx nabla practice for a list\.\n/,
    ],
    [
      ["something-else-entirely"],
      /^error: unknown exercise "something-else-entirely"\. Run npx nabla practice for a list\.\n/,
    ],
    [[NAME, "/nonexistent.js"], /^nabla: cannot read \/nonexistent\.js: the file does not exist\.\n$/],
    [[NAME, "--hint", "4"], /must be 1, 2 or 3\./],
    [[NAME, "--predict", "many"], /^nabla: --predict must be a number, got "many"\.\n$/],
    [["clip-an-rnn", "--predict", "4"], /^nabla: --predict must be the number of an option, 1 to 3, got "4"\.\n$/],
    [[NAME, "--hint", "1", "--solution"], /^error: give a file or one option, not several\./],
    [["--solution"], /^error: the name of an exercise is missing\. Run npx nabla practice for a list\./],
  ])("%j: exits with 1 and an error message", async (args, wrong) => {
    const { code, output, errors } = await nabla("practice", ...args);
    expect({ code, output }).toEqual({ code: 1, output: "" });
    expect(errors).toMatch(wrong);
  });
});
