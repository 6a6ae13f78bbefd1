// Serves an untrained network as two web functions: POST to /train with the token to train it, and to / to run it.
import { losses, nn, optim } from "nabla";
import { loadState } from "nabla/formats";
import { combine, inferenceHandler, trainingHandler } from "nabla/serverless";

const network = () => new nn.Sequential(new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 1));
const input = { shape: [null, 2] };
const output = { shape: [null, 1] };

/** The model for inference. The first request creates it, because Workers must not compute before a request arrives. */
let model;
const servedModel = () => (model ??= network());

/** Keeps the weights in memory. Use a file, a bucket or a key-value store to keep them longer. */
let stored;
const store = {
  load: async () => stored,
  async save(state) {
    loadState(state, { model: servedModel() });
    stored = state;
  },
};

function create() {
  const model = network();
  return { model, optimizer: new optim.Adam(model.parameters(), { lr: 0.02 }), loss: losses.bceWithLogits };
}

/**
 * Combines both functions into one handler. Clients need the token to train. Without a token, trainingHandler throws.
 */
export const functions = (token) =>
  combine({
    "/": inferenceHandler({ name: "xor", load: servedModel, input, output }),
    "/train": trainingHandler({ name: "xor", create, input, target: output, store, token }),
  });
