/** All of tfjs, as its README recommends: first the package, then the backend. */
import { overTfjs } from "./overTfjs.mjs";

await overTfjs(async () => (await import("@tensorflow/tfjs")).default);
