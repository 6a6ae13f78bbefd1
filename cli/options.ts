/** Options that several commands share. */
import { Option } from "commander";
import { whole } from "./mnist/numbers.ts";

/** The option `--threads <n>`, whose value `init` receives. */
export const threadsOption = (): Option =>
  new Option("--threads <n>", 'number of threads, or "auto" for one per core')
    .default(1)
    .argParser((text) => (text === "auto" ? text : whole(1, 64)(text)));
