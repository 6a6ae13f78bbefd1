// Finds Chromium for the tests, or installs Debian's. Prints its path; fails loudly, with the remedy, if it cannot be had.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

const PATHS = [process.env.CHROME_PATH, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** The path of a Chromium, or undefined. */
export const findChromium = () => PATHS.find((path) => path && existsSync(path));

if (process.argv[1] === import.meta.filename && !findChromium()) {
  console.log("Chromium is not installed: installing Debian's package for the browser tests.");
  const run = (...args) => spawnSync("apt-get", args, { stdio: ["ignore", "ignore", "inherit"] }).status === 0;
  run("update", "-q");
  if (!run("install", "-y", "-q", "--no-install-recommends", "chromium") || !findChromium()) {
    console.error("The browser tests need Chromium. Install it (apt-get install chromium), or set CHROME_PATH to one.");
    process.exit(1);
  }
}
