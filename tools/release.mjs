/**
 * `npm run release -- patch|minor|major|VERSION [--skip-tests]`: sets the version in package.json and package-lock.json, dates the
 * changelog's "Unreleased" section, runs .ci/run, packs the tarball and checks it, commits and tags. It publishes nothing.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

/**
 * The version after `current`. `wanted` is the part to increase, or the version itself. @throws Error if `wanted` is neither a part nor a
 * version higher than `current`
 */
export function nextVersion(current, wanted) {
  const parts = current.split(".").map(Number);
  const at = ["major", "minor", "patch"].indexOf(wanted);
  if (at >= 0) return parts.map((part, i) => (i < at ? part : i === at ? part + 1 : 0)).join(".");
  if (!/^\d+\.\d+\.\d+$/.test(wanted ?? ""))
    throw new Error(`release: "${wanted ?? ""}" is not patch, minor, major or a version such as 1.2.3.`);
  const next = wanted.split(".").map(Number);
  const first = next.findIndex((part, i) => part !== parts[i]);
  if (first < 0 || next[first] < parts[first])
    throw new Error(`release: the new version must be higher than the current one (${current}), got ${wanted}.`);
  return wanted;
}

/**
 * The changelog for a release: the "Unreleased" section becomes that of `version`, dated `date`, below a new, empty "Unreleased" section.
 * @throws Error if there is nothing to release
 */
export function released(changelog, version, date) {
  const heading = "## [Unreleased]\n";
  const start = changelog.indexOf(heading);
  if (start < 0) throw new Error('release: CHANGELOG.md has no "## [Unreleased]" section.');
  const rest = changelog.slice(start + heading.length);
  const end = rest.search(/^## /m);
  const section = (end < 0 ? rest : rest.slice(0, end)).trim();
  if (!section) throw new Error('release: the "Unreleased" section of CHANGELOG.md is empty. Describe what changed.');
  const later = end < 0 ? "" : `\n${rest.slice(end)}`;
  return `${changelog.slice(0, start)}${heading}\n## [${version}] - ${date}\n\n${section}\n${later}`;
}

function main() {
  const args = process.argv.slice(2);
  const isTested = !args.includes("--skip-tests");
  const [wanted] = args.filter((arg) => !arg.startsWith("--"));
  const run = (command, ...rest) => execFileSync(command, rest, { stdio: "inherit" });
  const read = (command, ...rest) => execFileSync(command, rest, { encoding: "utf8" }).trim();

  if (read("git", "status", "--porcelain")) throw new Error("release: the tree has changes. Commit or stash them.");
  const { version: current } = JSON.parse(readFileSync("package.json", "utf8"));
  const version = nextVersion(current, wanted);
  const date = new Date().toISOString().slice(0, 10);
  const changelog = released(readFileSync("CHANGELOG.md", "utf8"), version, date);

  if (isTested) run(".ci/run");
  else run("npm", "run", "build");
  run("npm", "version", version, "--no-git-tag-version");
  writeFileSync("CHANGELOG.md", changelog);
  const [packed] = JSON.parse(read("npm", "pack", "--json", "--pack-destination", "build"));
  console.log(`\n${packed.filename}: ${packed.entryCount} files, ${packed.size} bytes, ${packed.integrity}`);
  run("git", "commit", "--all", "--message", `release: ${version}`);
  run("git", "tag", "--annotate", `v${version}`, "--message", `nabla ${version}`);
  console.log(
    `\nPublish it:\n  git push --follow-tags\n  npm publish build/${packed.filename} --provenance --access public`,
  );
}

if (process.argv[1] === import.meta.filename) {
  try {
    main();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
