/** Times a process that loads no library and computes nothing. */
import { report } from "./timed.mjs";

await report(() => () => []);
