/** A user's program in strict mode. package.test.ts compiles it against the declarations in the tarball; it never runs. */
import {
  customGradient,
  grad,
  jvp,
  losses,
  nn,
  noGrad,
  optim,
  type Tensor,
  tensor,
  tidy,
  valueAndGrad,
  vjp,
} from "nabla";
import { diagnose } from "nabla/gradients";

class Net extends nn.Module {
  readonly linear = new nn.Linear(2, 3);
  readonly act: nn.ReLU = new nn.ReLU();
  forward(x: Tensor): Tensor {
    return this.act.forward(this.linear.forward(x));
  }
}

const net = new Net();
const optimizer: optim.Optimizer = new optim.SGD(net.parameters(), { lr: 1e-3, momentum: 0.9 });
export const loss: number = optimizer
  .minimize(() => losses.crossEntropy(net.forward(tensor([[1, 2]])), tensor([0], { dtype: "int32" })))
  .item();

const one: Tensor = grad((x: Tensor) => x.square().sum())(tensor([1, 2]));
const [y, [gx, gp]] = valueAndGrad((x: Tensor, p: { w: Tensor }) => x.mul(p.w).sum(), [0, 1])(tensor([1]), { w: one });
export const nested: Tensor[] = [y, gx, gp.w];

const [value, pullback] = vjp((x: Tensor) => x.exp(), tensor([1]));
export const pulled: Tensor[] = pullback(value);
export const clipped = customGradient((x: Tensor) => [x, (dy: Tensor) => [dy.clamp(-1, 1)]])(one);
export const along: [Tensor, Tensor] = noGrad(() => jvp((x: Tensor) => x, tensor([1]), tensor([1])));
export const data: Float32Array | Int32Array | Uint8Array = tidy(() => one.add(1).sum({ keepdim: true })).data;
export const shaped: Tensor = one.reshape(2, 1).reshape([1, 2]).permute(1, 0).slice(0, [0, 1]).softmax(-1).argMax(-1);
// @ts-expect-error: labels are a tensor
losses.crossEntropy(one, [1]);
// @ts-expect-error: no such option
new optim.Adam(net.parameters(), { learningRate: 1 });

const { verdicts } = diagnose(net, () => losses.mse(net.forward(tensor([[1, 2]])), tensor([[0, 0, 1]])));
export const kinds: string[] = verdicts.map(({ kind }) => kind);
