/** As its own README has it: the package, then the backend. */
import { overTfjs } from "./overTfjs.mjs";

await overTfjs(async () => (await import("@tensorflow/tfjs")).default);
