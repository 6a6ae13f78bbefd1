/** Times all of tfjs, imported as its README recommends: first the package, then the WASM backend. */
import { overTfjs } from "./overTfjs.mjs";

await overTfjs(async () => (await import("@tensorflow/tfjs")).default);
