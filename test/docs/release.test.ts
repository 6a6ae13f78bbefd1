/** The release script: the next version and the changelog section. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { nextVersion, released } from "../../tools/release.mjs";

describe("nextVersion", () => {
  test.each([
    ["0.1.0", "patch", "0.1.1"],
    ["0.1.9", "minor", "0.2.0"],
    ["1.4.2", "major", "2.0.0"],
    ["0.1.0", "0.3.0", "0.3.0"],
  ])("%s, %s: %s", (current, wanted, expected) => expect(nextVersion(current, wanted)).toBe(expected));
  test.each([
    ["0.1.0", "0.0.9", "the new version must be higher than the current one (0.1.0), got 0.0.9."],
    ["0.1.0", "0.1.0", "the new version must be higher than the current one (0.1.0), got 0.1.0."],
    ["0.1.0", "next", '"next" is not patch, minor, major'],
    ["0.1.0", undefined, '"" is not patch, minor, major'],
  ])("%s, %s is rejected", (current, wanted, message) => {
    expect(() => nextVersion(current, wanted)).toThrow(message);
  });
});

describe("released", () => {
  const before = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- A door.\n\n## [0.1.0] - 2026-01-01\n\n- A house.\n";
  test("dates the section and adds an empty one before it", () => {
    expect(released(before, "0.2.0", "2026-02-02")).toBe(
      "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-02-02\n\n### Added\n\n- A door.\n\n## [0.1.0] - 2026-01-01\n\n- A house.\n",
    );
  });
  test("rejects an empty section", () => {
    expect(() => released(released(before, "0.2.0", "2026-02-02"), "0.3.0", "2026-03-03")).toThrow("is empty");
  });
  test("accepts CHANGELOG.md as it is", () => {
    expect(released(readFileSync("CHANGELOG.md", "utf8"), "9.9.9", "2026-02-02")).toContain("## [9.9.9] - 2026-02-02");
  });
});
