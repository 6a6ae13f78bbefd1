/** No layers, optimizers or other backends: the least of tfjs that multiplies. */
import { overTfjs } from "./overTfjs.mjs";

await overTfjs(() => import("@tensorflow/tfjs-core"));
