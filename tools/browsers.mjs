// Finds the browsers that the tests drive, or installs them from Debian's packages. Fails with instructions if a browser cannot be
// installed.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

const CHROMIUM = [process.env.CHROME_PATH, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FIREFOX = [process.env.FIREFOX_PATH, "/usr/bin/firefox-esr", "/usr/bin/firefox"];

const WEBKIT = [process.env.WEBKIT_DRIVER_PATH, "/usr/bin/WebKitWebDriver"];
const SCREENS = ["/usr/bin/Xvfb"];

const first = (paths) => paths.find((path) => path && existsSync(path));

/** The path to Chromium, or undefined if it is not installed. */
export const findChromium = () => first(CHROMIUM);
/** The path to Firefox, or undefined if it is not installed. */
export const findFirefox = () => first(FIREFOX);
/** The path to a WebDriver for WebKitGTK, which needs a virtual screen; undefined if either is missing. */
export const findWebKit = () => first(SCREENS) && first(WEBKIT);

const run = (...args) => spawnSync("apt-get", args, { stdio: ["ignore", "ignore", "inherit"] }).status === 0;

/** Installs a browser's Debian packages if the browser is missing. Tests skip an optional browser with a message. */
function ensure(names, find, variable, { optional = false } = {}) {
  if (find()) return;
  const name = names.join(" and ");
  console.log(`${name} is not installed: installing Debian's package for the browser tests.`);
  run("update", "-q");
  if (run("install", "-y", "-q", "--no-install-recommends", ...names) && find()) return;
  console.error(
    `The browser tests ${optional ? "skip" : "need"} ${name}. Install it (apt-get install ${names.join(" ")}), or set ${variable} to its path.`,
  );
  if (!optional) process.exitCode = 1;
}

if (process.argv[1] === import.meta.filename) {
  ensure(["chromium"], findChromium, "CHROME_PATH");
  ensure(["firefox-esr"], findFirefox, "FIREFOX_PATH");
  ensure(["webkit2gtk-driver", "xvfb"], findWebKit, "WEBKIT_DRIVER_PATH", { optional: true });
}
