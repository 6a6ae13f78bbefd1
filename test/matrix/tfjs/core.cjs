/** CommonJS: require() returns the same objects as import(). */
const tf = require("@tensorflow/tfjs-core");
const nabla = require("nabla");
const bridge = require("nabla/tfjs");

Promise.all([import("./check.mjs"), import("nabla"), import("nabla/tfjs")]).then(([{ check }, core, own]) => {
  const same = core.tensor === nabla.tensor && own.toTfjs === bridge.toTfjs;
  console.log(JSON.stringify({ ...check(tf, nabla, bridge), same }));
});
