/** Optimizer updates: one pass over a parameter, its gradient and the optimizer's state, all in place. */
import { Op, Update } from "../../assembly/opcodes.ts";
import { ShapeError } from "../runtime/errors.ts";
import { apply, type OpDefinition } from "./op.ts";
import { requireType, sameShape, show, type Value } from "./value.ts";

interface UpdateAttributes {
  /** UpdateFlag bits (opcodes.ts). */
  readonly flags: number;
  /** The kernel's constants, in its order. */
  readonly constants: readonly number[];
  /** Which state slots (s0, s1, s2) the inputs after `step` fill. */
  readonly slots: readonly number[];
}

/** Inputs: parameter, gradient, lr (float32 []), step (int32 [], from 1), state…. */
function update(code: Op, name: string, doc: string): OpDefinition<UpdateAttributes> {
  return {
    code,
    name,
    doc,
    mutates: [0, 4, 5, 6],
    infer([p, g, , , ...state]) {
      for (const x of [p!, g!, ...state]) requireType(name, x, "float32");
      for (const s of state)
        if (s.size !== p!.size)
          throw new ShapeError(`${name}: state ${show(s.shape)} for parameter ${show(p!.shape)}.`);
      if (!sameShape(p!.shape, g!.shape))
        throw new ShapeError(`${name}: gradient ${show(g!.shape)} for parameter ${show(p!.shape)}.`);
      return [];
    },
    encode(encoder, { inputs: [p, g, lr, step, ...state], attributes: { flags, constants, slots }, address }) {
      encoder.begin(code, Update.words);
      encoder.set(Update.p, address(p!));
      encoder.set(Update.g, address(g!));
      for (let slot = 0; slot < 3; slot++) {
        const at = slots.indexOf(slot);
        encoder.set(Update.s0 + slot, at < 0 ? 0 : address(state[at]!));
      }
      encoder.set(Update.n, p!.size);
      encoder.set(Update.lr, address(lr!));
      encoder.set(Update.step, address(step!));
      encoder.set(Update.flags, flags);
      for (let i = 0; i < 4; i++) encoder.setDouble(Update.c0 + 2 * i, constants[i] ?? 0);
      encoder.end();
    },
  };
}

export const updateDefinitions = {
  sgd: update(Op.Sgd, "SGD", "b ← μb + (1 − τ)g; p ← p − lr·b."),
  adam: update(Op.Adam, "Adam", "m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²; p ← p − lr·m̂/(√v̂ + ε)."),
  rmsProp: update(Op.RmsProp, "RMSProp", "v ← αv + (1 − α)g²; p ← p − lr·g/(√v + ε)."),
  adagrad: update(Op.Adagrad, "Adagrad", "s ← s + g²; p ← p − lr·g/(√s + ε)."),
};

/** Runs an update in place on p and the state. */
export function updateParameter(
  kind: keyof typeof updateDefinitions,
  io: {
    p: Value;
    g: Value;
    lr: Value;
    step: Value;
    state: readonly (Value | undefined)[];
  },
  attributes: { flags: number; constants: readonly number[] },
): void {
  const slots = io.state.flatMap((s, slot) => (s ? [slot] : []));
  const state = io.state.filter((s) => s !== undefined);
  apply(updateDefinitions[kind], [io.p, io.g, io.lr, io.step, ...state], {
    ...attributes,
    slots,
  });
}
