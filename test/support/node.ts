/** Other versions of Node than the one that runs the tests. */
import { run } from "../matrix/run.ts";

interface Node {
  readonly path: string;
  readonly version: string;
}

const found = new Map<number, Promise<Node>>();

/**
 * The Node executable with this major version: the one that runs the tests if its version matches, or else one from the npm registry.
 * @throws Error if the registry does not provide it
 */
export function nodeOf(major: number): Promise<Node> {
  const node = found.get(major) ?? find(major);
  found.set(major, node);
  return node;
}

async function find(major: number): Promise<Node> {
  const own = process.versions.node;
  if (Number.parseInt(own, 10) === major) return { path: process.execPath, version: own };
  const program = "console.log(JSON.stringify({ path: process.execPath, version: process.versions.node }))";
  return JSON.parse(await run("npx", ["-y", "-p", `node@${major}`, "node", "-e", program])) as Node;
}
