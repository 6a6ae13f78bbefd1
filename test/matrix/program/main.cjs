/** CommonJS: the same objects that `import` gives. */
const nabla = require("nabla");
const gradients = require("nabla/gradients");

import("nabla").then((imported) => {
  const sum = nabla.tensor([1, 2]).sum().item();
  console.log(JSON.stringify({ sum, same: imported.tensor === nabla.tensor, gradients: typeof gradients.diagnose }));
});
