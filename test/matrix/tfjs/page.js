/**
 * A page that runs the checks, and trains a layers model, with the complete @tensorflow/tfjs package, which registers its own backends
 * too.
 */
import * as tf from "@tensorflow/tfjs";
import * as nabla from "nabla";
import * as bridge from "nabla/tfjs";
import { check } from "./check.mjs";
import { fitted } from "./layers.mjs";

// Check before anything is awaited.
const checked = check(tf, nabla, bridge);

globalThis.run = async () => ({ ...checked, ...(await fitted(tf)) });
