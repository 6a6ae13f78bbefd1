import { nn, type Tensor, tensor, zeros } from "nabla";

/** A model with fields of every kind. */
export class Net extends nn.Module {
  weight = nn.parameter(tensor([2]));
  scale = 1;
  inverted = false;
  mode: "plain" | "square" = "plain";
  options = { shift: 0, deep: { slope: 1 } };
  sizes = [1, 2];
  h = zeros([1]).keep();
  inner: nn.Module = new nn.LeakyReLU(0.5);
  list: nn.Module[] = [new nn.Identity()];
  seen: unknown = null;
  act = (x: Tensor) => x.mul(1);
  table = new Map([["shift", 0]]);
  tensors = new Map([["h", zeros([1]).keep()]]);
  layers = new Map<string, nn.Module>([["last", new nn.LeakyReLU(0.5)]]);
  flags = new Set<string>();
  declare late?: number;
  forward(x: Tensor): Tensor {
    let y = x.mul(this.weight).mul(this.scale).add(this.options.shift).mul(this.options.deep.slope).add(this.sizes[0]!);
    if (this.inverted) y = y.neg();
    if (this.mode === "square") y = y.square();
    for (const layer of this.list) y = layer.forward(y) as Tensor;
    y = (this.inner.forward(y) as Tensor).add(this.h);
    for (const shift of this.table.values()) y = y.add(shift);
    if (this.flags.has("square")) y = y.square();
    if (this.late) y = y.add(this.late);
    return this.act(this.layers.get("last")!.forward(y) as Tensor).add(this.tensors.get("h")!);
  }
}
