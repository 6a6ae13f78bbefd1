/**
 * Builds deep networks from an activation, initial weights, biases and a remedy. All layers have the same width.
 */
import { nn, type Tensor } from "nabla";

export const activations: Record<string, () => nn.Module> = {
  sigmoid: () => new nn.Sigmoid(),
  tanh: () => new nn.Tanh(),
  relu: () => new nn.ReLU(),
  gelu: () => new nn.GELU(),
};
/** The number of units in every layer. */
export const WIDTH = 32;

/** The weight initializers, keyed by name. */
const inits: Record<string, (w: Tensor) => void> = {
  small: (w) => void nn.init.normal(w, 0, 0.05),
  xavier: (w) => void nn.init.xavierNormal(w),
  kaiming: (w) => void nn.init.kaimingNormal(w, { nonlinearity: "relu" }),
  large: (w) => void nn.init.normal(w, 0, 1),
};

/** x + f(x). */
class Residual extends nn.Module {
  constructor(readonly inner: nn.Module) {
    super();
  }
  forward(x: Tensor): Tensor {
    return (this.inner.forward(x) as Tensor).add(x);
  }
}

/** The choices that determine a network. `bias` is the standard deviation of the initial biases. */
export interface Setup {
  readonly activation: string;
  readonly init: string;
  readonly bias: number;
  readonly remedy: string;
}
export const nameOf = ({ activation, init, bias, remedy }: Setup): string =>
  [activation, init, bias && `biases with std ${bias}`, remedy !== "none" && remedy].filter(Boolean).join(", ");

/** A network with `depth` layers. */
export function build(depth: number, { activation, init, bias, remedy }: Setup): nn.Sequential {
  const block = () => {
    const linear = new nn.Linear(WIDTH, WIDTH);
    inits[init]!(linear.weight);
    nn.init.normal(linear.bias!, 0, bias);
    const inner = new nn.Sequential(
      ...(remedy === "layer norm" ? [new nn.LayerNorm(WIDTH, { elementwiseAffine: false })] : []),
      linear,
      activations[activation]!(),
    );
    return remedy === "residual" ? new Residual(inner) : inner;
  };
  return new nn.Sequential(...Array.from({ length: depth }, block));
}
