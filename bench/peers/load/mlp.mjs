/** The MLP for `nabla serve`. It imports the same copy of nabla as the command. */
import { compile, linear, tensor } from "../../../dist/node/index.js";
import { networks } from "./networks.mjs";

const { w1, b1, w2, b2 } = networks.mlp.weights;
const [v1, c1, v2, c2] = [tensor(w1, [128, 784]), tensor(b1), tensor(w2, [10, 128]), tensor(b2)].map((x) => x.keep());
const forward = compile((x) => linear(linear(x, v1, c1).relu(), v2, c2));

export default {
  name: "mlp",
  load: () => forward,
  input: { shape: [null, 784] },
  output: { shape: [null, 10] },
  limits: { concurrency: 1000 },
};
