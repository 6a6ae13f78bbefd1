/** All of TensorFlow.js. Its own backend is registered after nabla's, which stays the default. */
import "nabla/tfjs";
import * as tf from "@tensorflow/tfjs";
import * as nabla from "nabla";
import * as bridge from "nabla/tfjs";
import { check } from "./check.mjs";
import { fitted } from "./layers.mjs";

const checked = check(tf, nabla, bridge);
console.log(JSON.stringify({ ...checked, ...(await fitted(tf)) }));
