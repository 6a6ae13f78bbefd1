/** The program that the contenders run, without a library. */
import { report } from "./timed.mjs";

await report(() => () => []);
