/** The same program without a library. */
import { report } from "./timed.mjs";

await report(() => () => []);
