/** jax-js on its wasm device, on one thread (Node has no global Worker). Calls consume their arguments; `.ref` keeps a reference. */
import { blockUntilReady, defaultDevice, init, jit, nn, numpy as np, valueAndGrad } from "@jax-js/jax";

export async function open() {
  await init("wasm");
  defaultDevice("wasm");
  return "jax-js wasm 0.1.25";
}

const array = (values, shape) => np.array(values).reshape(shape);

export function matmul({ m, k, n, a, b }) {
  const [left, right] = [array(a, [m, k]), array(b, [k, n])];
  // Arrays are lazy, so compile the product once, and wait for each result without copying it out.
  const product = jit((p, q) => np.matmul(p, q));
  return {
    run: async () => {
      const c = product(left.ref, right.ref);
      await blockUntilReady(c);
      c.dispose();
    },
    result: () => product(left.ref, right.ref).dataSync(),
    close() {
      left.dispose();
      right.dispose();
    },
  };
}

/**
 * The whole step (forward, backward, and Adam as in optax) is one jitted function. Adam's bias corrections are arguments, because they
 * change in every step.
 */
export function step({ kind, batch, inputs, hidden, outputs, lr, start }) {
  const classes = kind === "classes";
  const x = array(start.x, [batch, inputs]);
  const target = classes ? nn.oneHot(np.array(start.labels), outputs) : array(start.targets, [batch, outputs]);
  const shapes = [[hidden, inputs], [hidden], [outputs, hidden], [outputs]];
  const names = ["w1", "b1", "w2", "b2"];
  const linear = (input, w, b) => np.matmul(input, np.transpose(w)).add(b);

  const lossOf = ([w1, b1, w2, b2], input, wanted) => {
    const z = linear(classes ? nn.relu(linear(input, w1, b1)) : np.tanh(linear(input, w1, b1)), w2, b2);
    return classes
      ? nn
          .logSoftmax(z)
          .mul(wanted)
          .sum()
          .mul(-1 / batch)
      : np.square(nn.sigmoid(z).sub(wanted)).mean();
  };
  const update = jit((parameters, m, v, input, wanted, rate, correction) => {
    const [loss, gradients] = valueAndGrad(lossOf)(
      parameters.map((p) => p.ref),
      input,
      wanted,
    );
    const newM = gradients.map((g, i) => m[i].mul(0.9).add(g.ref.mul(0.1)));
    const newV = gradients.map((g, i) => v[i].mul(0.999).add(np.square(g).mul(0.001)));
    const newP = parameters.map((p, i) =>
      p.sub(newM[i].ref.mul(rate.ref).div(np.sqrt(newV[i].ref).mul(correction.ref).add(1e-8))),
    );
    rate.dispose();
    correction.dispose();
    return [loss, newP, newM, newV];
  });
  let state;
  let count = 0;
  const free = () => state?.flat().forEach((value) => value.dispose());
  return {
    reset() {
      free();
      const zero = () => shapes.map((shape) => np.zeros(shape));
      state = [names.map((name, i) => array(start[name], shapes[i])), zero(), zero()];
      count = 0;
    },
    async run() {
      count++;
      const rate = np.array(lr / (1 - 0.9 ** count));
      const correction = np.array(1 / Math.sqrt(1 - 0.999 ** count));
      const [loss, ...next] = update(...state, x.ref, target.ref, rate, correction);
      state = next;
      await blockUntilReady(state);
      return loss.item ? loss.item() : loss.dataSync()[0];
    },
    close() {
      free();
      x.dispose();
      target.dispose();
    },
  };
}
