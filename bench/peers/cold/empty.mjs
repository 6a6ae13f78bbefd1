/** The same script without a library. */
import { report } from "./timed.mjs";

await report(() => () => []);
