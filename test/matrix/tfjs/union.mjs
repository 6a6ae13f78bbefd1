/**
 * Runs the checks, and trains a layers model, with the complete @tensorflow/tfjs package, imported after nabla/tfjs. nabla's backend
 * stays the default, although the package registers its own backend later.
 */
import "nabla/tfjs";
import * as tf from "@tensorflow/tfjs";
import * as nabla from "nabla";
import * as bridge from "nabla/tfjs";
import { check } from "./check.mjs";
import { fitted } from "./layers.mjs";

const checked = check(tf, nabla, bridge);
console.log(JSON.stringify({ ...checked, ...(await fitted(tf)) }));
