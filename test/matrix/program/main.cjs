/** CommonJS: require() returns the same objects as import(). */
const nabla = require("nabla");
const { diagnose } = require("nabla/gradients");

Promise.all([import("nabla"), import("nabla/gradients")]).then(([core, gradients]) => {
  const sum = nabla.tensor([1, 2]).sum().item();
  console.log(JSON.stringify({ sum, same: core.tensor === nabla.tensor && gradients.diagnose === diagnose }));
});
