/** Runs the checks with only the peers of nabla/tfjs. */
import * as tf from "@tensorflow/tfjs-core";
import * as nabla from "nabla";
import * as bridge from "nabla/tfjs";
import { check } from "./check.mjs";

console.log(JSON.stringify(check(tf, nabla, bridge)));
