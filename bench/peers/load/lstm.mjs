/** The LSTM for `nabla serve`. It imports the same copy of nabla as the command. */
import { compile, nn, noGrad, tensor, zeros } from "../../../dist/node/index.js";
import { networks } from "./networks.mjs";

const { wx, wh, b, w2, b2 } = networks.lstm.weights;
const lstm = new nn.LSTM(28, 128, { batchFirst: true });
lstm.loadStateDict({
  weightIhL0: tensor(wx, [512, 28]),
  weightHhL0: tensor(wh, [512, 128]),
  biasIhL0: tensor(b),
  biasHhL0: zeros([512]),
});
const head = new nn.Linear(128, 10);
head.loadStateDict({ weight: tensor(w2, [10, 128]), bias: tensor(b2) });
const forward = compile((x) => noGrad(() => head.forward(lstm.forward(x)[0].slice(null, -1))));

export default {
  name: "lstm",
  load: () => forward,
  input: { shape: [null, 28, 28] },
  output: { shape: [null, 10] },
  limits: { concurrency: 1000 },
};
