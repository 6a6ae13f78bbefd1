// A network that knows nothing at first, as two web functions: POST to /train with the token to train it, and to / to ask it.
import { losses, nn, optim } from "nabla";
import { loadState } from "nabla/formats";
import { combine, inferenceHandler, trainingHandler } from "nabla/serverless";

const network = () => new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 1));
const input = { shape: [null, 2] };
const output = { shape: [null, 1] };

/** The model that answers. Made at the first request: Workers do nothing before. */
let model;
const answering = () => (model ??= network());

/** What was learnt, while the process lives. A file, a bucket or a key-value store keeps it longer. */
let stored;
const store = {
  load: async () => stored,
  async save(state) {
    loadState(state, { model: answering() });
    stored = state;
  },
};

function create() {
  const model = network();
  return { model, optimizer: new optim.Adam(model.parameters(), { lr: 0.02 }), loss: losses.bceWithLogits };
}

/** Both functions. Whoever has the token may train: without one, trainingHandler throws. */
export const functions = (token) =>
  combine({
    "/": inferenceHandler({ name: "xor", load: answering, input, output }),
    "/train": trainingHandler({ name: "xor", create, input, target: output, store, token }),
  });
