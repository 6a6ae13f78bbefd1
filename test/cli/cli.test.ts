/** `npx nabla lab`: the list, runs, files, help, errors and exit codes. Needs the build in dist/. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { addLab } from "../../cli/lab.ts";
import { experiment } from "../../lab/experiment.ts";
import { experiments } from "../../lab/experiments/index.ts";

interface Ended {
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

/** Runs a command until it exits. Its output is not a terminal. */
function ended(command: string, args: readonly string[], cwd?: string): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...(cwd && { cwd }) });
    let [output, errors] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => void (output += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => void (errors += text));
    child.on("error", reject).on("close", (code) => resolve({ code, output, errors }));
  });
}
const lab = (...args: string[]): Promise<Ended> => ended(process.execPath, ["dist/bin/nabla.js", "lab", ...args]);

const NAME = "directional-derivative";
let folder: string;
const IN_A_FILE = join(import.meta.filename, "plots.svg");
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "nabla-lab-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("lab: in a checkout, lists every experiment under its section", async () => {
  const { code, output, errors } = await ended("npx", ["nabla", "lab"]);
  expect(errors).toBe("");
  expect(code).toBe(0);
  for (const { name, title, section } of experiments) {
    expect(output).toContain(`  ${name} `);
    expect(output).toContain(title);
    expect(output).toContain(section);
  }
});

test("lab: prints title, claim, plot and findings, without escape codes if there is no terminal", async () => {
  const { code, output, errors } = await lab(NAME, "--x", "-1");
  expect(errors).toBe("");
  expect(code).toBe(0);
  expect(output).toMatch(/^The directional derivative\n/);
  expect(output).toContain("dot product with\nu. It is largest along");
  expect(output).toMatch(/●.*\n.*┤/);
  expect(output).toContain("● from differences    · ‖∇L‖ cos α");
  expect(output).toMatch(/✓ slope of the steepest descent: [\d.]+\n {2}theory: ≈ [\d.]+ ± [\d.e-]+ \(‖∇L‖\)/);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the point of the test
  expect(output).not.toMatch(/[\x1b\r]/);
});

test("lab --json: prints only the result as JSON", async () => {
  const { output, errors } = await lab(NAME, "--direction", "16", "--json");
  expect(errors).toBe("");
  const result = JSON.parse(output) as Record<string, object[]>;
  expect(Object.keys(result)).toEqual(["name", "parameters", "findings", "plots", "tables", "pictures", "graphs"]);
  expect(result.name).toBe(NAME);
  expect(result.parameters).toEqual({ x: 1, y: 0.5, direction: 16 });
  expect(result.findings).toHaveLength(6);
  expect(result.findings![0]).toMatchObject({
    holds: true,
    expected: { equals: expect.closeTo(2.2688, 3), within: expect.any(Number) },
  });
  expect(result.plots![1]).toMatchObject({
    series: [{ points: expect.any(Array) }, { style: "theory" }, { style: "dots" }],
  });
});

test("lab --svg, --html: write self-contained files", async () => {
  const [svg, html] = [join(folder, "plots.svg"), join(folder, "page.html")];
  const { code, output, errors } = await lab(NAME, "--json", "--svg", svg, "--html", html);
  expect(code).toBe(0);
  expect(errors).toBe(`Wrote ${svg}\nWrote ${html}\n`);
  expect(() => JSON.parse(output)).not.toThrow();
  const page = readFileSync(html, "utf8");
  expect(page).toMatch(/<math .*<svg .*Findings/s);
  expect(page).not.toMatch(/<(script|link)\b|src="(?!data:)/);
  expect(readFileSync(svg, "utf8")).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg".*<\/svg>\n$/s);
});

test("lab --help: lists the parameters of an experiment with ranges and defaults", async () => {
  const { code, output } = await lab(NAME, "--help");
  expect(code).toBe(0);
  expect(output).toMatch(/--x <number> +θ₁: -2 to 2 \(default: 1\)/);
  expect(output).toMatch(/--direction <number> +direction of u, degrees: -180 to 180 \(default: 40\)/);
});

describe("lab: invalid usage exits with 1 and says what is valid", () => {
  test.each([
    [["directional"], 'unknown experiment "directional".'],
    [["directional-derivate"], "Did you mean directional-derivative?"],
    [[NAME, "--x", "9"], 'x must be a number from -2 to 2, got "9".'],
    [["vanishing", "--depth", "9.5"], 'depth must be a whole number from 2 to 40, got "9.5".'],
    [[NAME, "--directions", "9"], "Did you mean --direction?"],
    [[NAME, "extra"], "too many arguments"],
    [[NAME, "--svg", "missing/plots.svg"], "cannot write missing/plots.svg: the folder "],
    [[NAME, "--svg", IN_A_FILE], "cli.test.ts is not a folder."],
  ])("%j", async (args, message) => {
    const { code, output, errors } = await lab(...args);
    expect(code).toBe(1);
    expect(output).toBe("");
    expect(errors).toContain(message);
    expect(errors).not.toMatch(/^ +at /m);
  });
});

test("lab --check: exits with 0 if all findings match theory", async () => {
  expect((await lab(NAME, "--check")).code).toBe(0);
});

test("lab and practice run from the installed package, without other packages", async () => {
  const packed = await ended("npm", ["pack", "--silent", "--pack-destination", folder]);
  expect(packed.code, packed.errors).toBe(0);
  const install = ["install", "--offline", "--no-audit", "--no-fund", join(folder, packed.output.trim())];
  const installed = await ended("npm", ["--prefix", folder, ...install], folder);
  expect(installed.code, installed.errors).toBe(0);
  const { code, output, errors } = await ended("npx", ["nabla", "lab", NAME], folder);
  expect(errors).toBe("");
  expect(code).toBe(0);
  expect(output).toContain("✓ slope of the steepest descent");
  const solution = await ended("npx", ["nabla", "practice", "logistic-gradient", "--solution"], folder);
  writeFileSync(join(folder, "answer.mjs"), `import { tensor } from "nabla";\n${solution.output}`);
  const checked = await ended("npx", ["nabla", "practice", "logistic-gradient", "answer.mjs"], folder);
  expect(checked.errors).toBe("");
  expect(checked.code).toBe(0);
  expect(checked.output).toContain("All 5 checks passed.");
});

test("lab --check: exits with 2 if a finding does not match theory, and writes Infinity to JSON as a string", async () => {
  const wrong = experiment({
    name: "wrong",
    title: "A wrong claim",
    section: "None",
    claim: "Infinity is at most 1.",
    formula: "\\infty\\le 1",
    functions: [],
    parameters: {},
    run: () => ({
      findings: [{ text: "infinity", measured: Number.POSITIVE_INFINITY, expected: { atMost: 1 }, theory: "none" }],
      plots: [],
    }),
  });
  const program = new Command();
  addLab(program, [wrong]);
  const output: string[] = [];
  const write = vi.spyOn(process.stdout, "write").mockImplementation((text) => output.push(String(text)) > 0);
  const before = process.exitCode;
  try {
    await program.parseAsync(["lab", "wrong", "--json", "--check"], { from: "user" });
    expect(process.exitCode).toBe(2);
  } finally {
    process.exitCode = before;
    write.mockRestore();
  }
  const { findings } = JSON.parse(output.join("")) as { findings: object[] };
  expect(findings).toMatchObject([{ measured: "Infinity", holds: false }]);
});

test("lab --json prints the list of experiments, and --version prints the version", async () => {
  const { output } = await lab("--json");
  expect((JSON.parse(output) as { name: string }[]).map(({ name }) => name)).toEqual(
    experiments.map(({ name }) => name),
  );
  const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
  expect((await ended(process.execPath, ["dist/bin/nabla.js", "--version"])).output.trim()).toBe(version);
});

test("lab: reports a missing folder before the run", async () => {
  const { code, output, errors } = await lab("saliency", "--svg", join(folder, "none", "x.svg"));
  expect(code).toBe(1);
  expect(output).toBe("");
  expect(errors).toMatch(/the folder .*none does not exist\. Create it first/);
});

test("lab: wraps tables to the width of the terminal", async () => {
  const { output } = await lab("vanishing", "--depth", "20", "--init", "large");
  for (const line of output.split("\n")) expect(line.length, line).toBeLessThanOrEqual(90);
});

// Only Linux has /dev/full.
test.skipIf(process.platform !== "linux")(
  "lab: exits with 1 if its output cannot be written, and with 0 if the reader stops early",
  async () => {
    const shell = (command: string) => ended("bash", ["-c", command]);
    const full = await shell(`${process.execPath} dist/bin/nabla.js lab ${NAME} > /dev/full`);
    expect(full.code).toBe(1);
    expect(full.errors).toContain("could not write the output");
    const piped = await shell(`${process.execPath} dist/bin/nabla.js lab ${NAME} | head -n 1`);
    expect(piped).toMatchObject({ code: 0, errors: "", output: "The directional derivative\n" });
  },
);

test("chart: the series of a plot have different symbols", async () => {
  const { chart } = await import("../../cli/chart.ts");
  const { terminalOf } = await import("../../cli/terminal.ts");
  const terminal = terminalOf(process.stdout);
  const series = [...Array(8).keys()].flatMap((i) =>
    (["line", "theory"] as const).map((style) => ({
      name: `s${i}${style}`,
      style,
      points: [
        [0, i],
        [1, i + 0.5],
      ] as [number, number][],
    })),
  );
  const text = chart({ title: "t", x: { label: "x" }, y: { label: "y" }, series }, 100, terminal);
  const symbols = series.map(({ name }) => new RegExp(`(\\S) ${name}(?!\\w)`).exec(text)?.[1]);
  expect(symbols.every(Boolean)).toBe(true);
  expect(new Set(symbols).size).toBe(series.length);
});

test("chart: the series have the colours of the page, each with its own code in the 256-colour palette", async () => {
  const { chart } = await import("../../cli/chart.ts");
  const { terminalOf } = await import("../../cli/terminal.ts");
  const { COLOURS } = await import("../../lab/scale.ts");
  const stream = { isTTY: true, columns: 100, hasColors: () => true } as unknown as NodeJS.WriteStream;
  const series = COLOURS.map((_, i) => ({ name: `s${i}`, points: [[0, i]] as [number, number][] }));
  const again = { name: "again", points: [[1, 1]] as [number, number][], sameAs: 1 };
  const text = chart(
    { title: "t", x: { label: "x" }, y: { label: "y" }, series: [series[0]!, series[1]!, again, ...series.slice(2)] },
    100,
    terminalOf(stream),
  );
  const codes = series.map(({ name }) => new RegExp(`38;5;(\\d+)m\\S+ ${name}`).exec(text)?.[1]);
  expect(codes[1]).toBe("166"); // #d75f00 is the palette's colour nearest to vermilion, #d55e00
  expect(codes.every(Boolean)).toBe(true);
  expect(new Set(codes).size).toBe(COLOURS.length);
});
