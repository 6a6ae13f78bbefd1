/** `npm run mnist` as users run it: options, exit codes, the report, Ctrl-C. Needs the build in dist/. */
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const script = fileURLToPath(new URL("../../dist/cli/mnist.js", import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
  readonly errors: string;
}

/**
 * Runs the command until it exits. Whenever the command prints something, `onOutput` receives everything printed so
 * far.
 */
function mnist(
  args: readonly string[],
  onOutput: (child: ChildProcess, output: string) => void = () => {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let [output, errors] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      onOutput(child, output);
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      errors += text;
    });
    child.on("error", reject).on("close", (code, signal) => resolve({ code, signal, output, errors }));
  });
}

describe("mnist", () => {
  test("--help lists the options and exits 0", async () => {
    const { code, output } = await mnist(["--help"]);
    expect(code).toBe(0);
    for (const option of ["--epochs", "--batch", "--width", "--lr", "--seed", "--limit", "--data"])
      expect(output).toContain(option);
  });

  test("says how to get the data and exits 1 if the data is missing", async () => {
    const { code, errors } = await mnist(["--data", "/nonexistent"]);
    expect(code).toBe(1);
    expect(errors).toMatch(/^mnist: \/nonexistent\/\S+ does not exist\. Run `npm ci` .*--data\.\n$/);
  });

  test.each([
    [["--epochs", "-1"], "an integer of at least 0"],
    [["--epochs", "1.5"], "an integer of at least 0"],
    [["--batch", "0"], "an integer of at least 1"],
    [["--width", "many"], "an integer from 1 to 65536"],
    [["--lr", "0"], "a number above 0"],
    [["--seed", ""], "an integer of at least 0"],
    [["--bogus"], "unknown option '--bogus'"],
    [["5"], "too many arguments"],
  ])("%j: exits 1 and names the error", async (args, message) => {
    const { code, errors } = await mnist(args);
    expect(code).toBe(1);
    expect(errors).toContain(message);
  });

  test("a short run prints a line for each epoch and the report, without control codes if there is no terminal", async () => {
    const { code, output, errors } = await mnist(["--epochs", "2", "--limit", "2000", "--seed", "3"]);
    expect(errors).toBe("");
    expect(code).toBe(0);
    expect(output).toMatch(/784 → 128 → 10.*101,770 parameters/);
    expect(output).toMatch(/^ {2}2\/2 +0\.\d{4} +\d\d\.\d\d% +\d\d\.\d\d%/m);
    expect(Number(/Test accuracy (\d+\.\d+)%/.exec(output)?.[1])).toBeGreaterThan(80);
    expect(output).toMatch(/Trained for 2 epochs: 4,000 images in .* images\/s/);
    expect(output).toMatch(/Peak memory: .* MB in tensors/);
    expect(output).toMatch(/^ {4}0 .*%$/m);
    expect(output).toMatch(/label \d, read as \d/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the point of the test
    expect(output).not.toMatch(/[\x1b\r]/);
  });

  // Windows has no SIGINT to send.
  describe.skipIf(process.platform === "win32")("Ctrl-C", () => {
    test("stops training, reports the accuracy reached so far, and exits 130", async () => {
      let sent = false;
      const { code, output } = await mnist(["--epochs", "1000"], (child, printed) => {
        if (!sent && printed.includes("25%")) sent = child.kill("SIGINT");
      });
      expect(code).toBe(130);
      expect(output).toMatch(/stopped after [\d,]+ of 60,000/);
      expect(output).toMatch(/Test accuracy \d+\.\d+%/);
      expect(output).toMatch(/Stopped after 0\.\d+ epochs/);
      expect(output).toMatch(/label \d, read as \d/);
    });

    test("ends the process immediately if it is pressed twice", async () => {
      let again: NodeJS.Timeout | undefined;
      const { signal, output } = await mnist(["--epochs", "1000"], (child, printed) => {
        if (printed.includes("25%")) again ??= setInterval(() => child.kill("SIGINT"), 5);
      });
      clearInterval(again);
      expect(signal).toBe("SIGINT");
      expect(output).not.toContain("Test accuracy");
    });
  });
});
