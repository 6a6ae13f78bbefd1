// Collects the licences of the third-party packages in a bundle, for the LICENSES file next to it.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

const manifestOf = (directory) => JSON.parse(readFileSync(join(directory, "package.json"), "utf8"));

/** The folder of a package that code in `directory` imports; undefined if it is not installed. */
function resolve(directory, name) {
  for (let at = directory; ; at = dirname(at)) {
    const found = join(at, "node_modules", name);
    if (existsSync(join(found, "package.json"))) return found;
    if (at === dirname(at)) return undefined;
  }
}

/** The packages and all of their dependencies, because some packages ship copies of their dependencies, whose licences then apply too. */
function withDependencies(directories) {
  const found = new Set();
  const add = (directory) => {
    if (!directory || found.has(directory)) return;
    found.add(directory);
    for (const name of Object.keys(manifestOf(directory).dependencies ?? {})) add(resolve(directory, name));
  };
  directories.forEach(add);
  return found;
}

/** Maps each package that is published without a licence text to a package from the same repository that has one. */
const SIBLINGS = { "@assemblyscript/loader": "assemblyscript" };

/** The text of a package's licence. @throws Error if there is none */
function licenceOf(directory) {
  const sibling = SIBLINGS[manifestOf(directory).name];
  if (sibling) return licenceOf(resolve(directory, sibling));
  const file = readdirSync(directory).find((name) => /^(licen[cs]e|copying)/i.test(name));
  if (file) return readFileSync(join(directory, file), "utf8").trim();
  const readme = readdirSync(directory).find((name) => /^readme/i.test(name));
  const [, section] =
    /\n#+ licen[cs]e\s*\n([\s\S]*?)(\n#|$)/i.exec(readme ? readFileSync(join(directory, readme), "utf8") : "") ?? [];
  if (section?.trim()) return section.trim();
  throw new Error(`${directory} has no licence text. Add a LICENSE file upstream or replace the package.`);
}

/** The licence texts of all packages in a bundle, by package name. */
export function licences(chunks) {
  const modules = chunks.flatMap(({ moduleIds = [] }) => moduleIds);
  const packages = modules.flatMap((id) => /.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0] ?? []);
  const texts = [...withDependencies(packages)].map((directory) => {
    const { name, version, license } = manifestOf(directory);
    return `${name} ${version} (${license})\n\n${licenceOf(directory)}\n`;
  });
  return [...new Set(texts)].sort().join(`\n${"-".repeat(80)}\n\n`);
}
