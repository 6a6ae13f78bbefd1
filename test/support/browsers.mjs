// Finds the browsers that the tests drive, or installs Debian's. Fails loudly, with the remedy, if one cannot be had.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

const CHROMIUM = [process.env.CHROME_PATH, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FIREFOX = [process.env.FIREFOX_PATH, "/usr/bin/firefox-esr", "/usr/bin/firefox"];

const first = (paths) => paths.find((path) => path && existsSync(path));

/** The path of a Chromium, or undefined. */
export const findChromium = () => first(CHROMIUM);
/** The path of a Firefox, or undefined. */
export const findFirefox = () => first(FIREFOX);

const run = (...args) => spawnSync("apt-get", args, { stdio: ["ignore", "ignore", "inherit"] }).status === 0;

/** Installs Debian's package where the browser is missing. */
function ensure(name, find, variable) {
  if (find()) return;
  console.log(`${name} is not installed: installing Debian's package for the browser tests.`);
  run("update", "-q");
  if (run("install", "-y", "-q", "--no-install-recommends", name) && find()) return;
  console.error(
    `The browser tests need ${name}. Install it (apt-get install ${name}), or set ${variable} to where it is.`,
  );
  process.exitCode = 1;
}

if (process.argv[1] === import.meta.filename) {
  ensure("chromium", findChromium, "CHROME_PATH");
  ensure("firefox-esr", findFirefox, "FIREFOX_PATH");
}
