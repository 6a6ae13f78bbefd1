/** Times the core of tfjs, without layers, optimizers or other backends: the smallest part that can multiply matrices. */
import { overTfjs } from "./overTfjs.mjs";

await overTfjs(() => import("@tensorflow/tfjs-core"));
