/** Options that several commands take. */
import { Option } from "commander";
import { whole } from "./mnist/numbers.ts";

/** `--threads <n>`: what init takes. */
export const threadsOption = (): Option =>
  new Option("--threads <n>", 'threads to run on: a number, or "auto" for as many as there are cores')
    .default(1)
    .argParser((text) => (text === "auto" ? text : whole(1, 64)(text)));
