/** Where the wide build runs: on Node 24 or newer, on an x64 processor with AVX2. */
import { readFileSync } from "node:fs";

/** Whether this processor has AVX2. Only Linux lists a processor's features in a file; on other systems, assume AVX2. */
const hasAvx2 = process.platform !== "linux" || /\bavx2\b/.test(readFileSync("/proc/cpuinfo", "utf8"));

/** Whether init({ wide: true }) must start the wide build on this major version of Node. */
export const expectsWide = (major: number): boolean => major >= 24 && process.arch === "x64" && hasAvx2;
