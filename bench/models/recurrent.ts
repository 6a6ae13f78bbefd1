/** A classifier of sequences. */
import { nn, type Tensor } from "../../src/index.ts";
import type { RecurrentNetwork } from "../networks.ts";

/** A recurrent layer, and a linear layer on its last state: [steps, batch, inputs] → logits [batch, outputs]. */
export class Recurrent extends nn.Module {
  private readonly recurrent: nn.LSTM | nn.GRU;
  private readonly linear: nn.Linear;

  constructor({ kind, inputs, hidden, outputs }: Pick<RecurrentNetwork, "kind" | "inputs" | "hidden" | "outputs">) {
    super();
    this.recurrent = kind === "lstm" ? new nn.LSTM(inputs, hidden) : new nn.GRU(inputs, hidden);
    this.linear = new nn.Linear(hidden, outputs);
  }
  forward(x: Tensor): Tensor {
    const [, last] = this.recurrent.forward(x);
    return this.linear.forward((Array.isArray(last) ? last[0] : last).squeeze(0));
  }
}
