/** Times all of tfjs on nabla's backend. */
import { overNabla } from "./overTfjs.mjs";

await overNabla(async () => (await import("@tensorflow/tfjs")).default);
