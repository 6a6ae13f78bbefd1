/**
 * Optimizer updates. Each makes one pass over a parameter, its gradient and the optimizer's state, and writes in place.
 */
import { Op } from "../../../assembly/opcodes.ts";
import { ShapeError } from "../../runtime/errors.ts";
import { encodeUpdate, type UpdateCode } from "../../runtime/instructions.ts";
import { apply, type OpDefinition } from "../definition/op.ts";
import { requireType, sameShape, show, sizeOf, type Value } from "../definition/value.ts";

export interface UpdateAttributes {
  /** UpdateFlag bits (opcodes.ts). */
  readonly flags: number;
  /** The kernel's constants, in the order in which it reads them. */
  readonly constants: readonly number[];
  /** The state slots (s0, s1, s2) that the inputs after `step` fill. */
  readonly slots: readonly number[];
  /** Whether the gradient is sparse. SGD without momentum, Adam and Adagrad support this. */
  readonly sparse?: boolean;
}

/**
 * Inputs: lr (float32 []), and then, for each parameter: the parameter, its gradient, the step (int32 [], starting at
 * 1) and the optimizer's state. If the gradient g is sparse, g holds only the used rows, and the last input holds their row
 * numbers. Eager mode updates one parameter at a time; compile's passes join updates with the same lr and attributes.
 */
function update(code: UpdateCode, name: string): OpDefinition<UpdateAttributes> {
  const inputsPerPart = ({ slots, sparse }: UpdateAttributes): number => 3 + slots.length + (sparse ? 1 : 0);
  const partsOf = (inputs: readonly Value[], attributes: UpdateAttributes): Value[][] => {
    const size = inputsPerPart(attributes);
    const parts: Value[][] = [];
    for (let i = 1; i < inputs.length; i += size) parts.push(inputs.slice(i, i + size));
    return parts;
  };
  return {
    code,
    name,
    cost: 0.06,
    update: true,
    mutates(inputs, attributes) {
      const places: number[] = [];
      for (let i = 1; i < inputs.length; i += inputsPerPart(attributes)) {
        places.push(i);
        for (let k = 0; k < attributes.slots.length; k++) places.push(i + 3 + k);
      }
      return places;
    },
    infer([, p, g, , ...rest], { slots, sparse }) {
      const state = rest.slice(0, slots.length);
      for (const x of [p!, g!, ...state]) requireType(name, x, "float32");
      for (const s of state)
        if (s.size !== p!.size)
          throw new ShapeError(`${name}: the state ${show(s.shape)} does not fit the parameter ${show(p!.shape)}.`);
      const shape = sparse ? [rest.at(-1)!.size, ...p!.shape.slice(1)] : p!.shape;
      if (!sameShape(shape, g!.shape))
        throw new ShapeError(`${name}: the gradient ${show(g!.shape)} does not fit the parameter ${show(p!.shape)}.`);
      return [];
    },
    flops: (inputs, _, attributes) =>
      FLOPS_PER_ELEMENT * partsOf(inputs, attributes).reduce((total, [, g]) => total + g!.size, 0),
    touches: (inputs, _, attributes) => Math.max(...partsOf(inputs, attributes).map(([, g]) => g!.size)),
    encode(encoder, { inputs, attributes, address }) {
      const { flags, constants, slots, sparse } = attributes;
      const [c0 = 0, c1 = 0, c2 = 0, c3 = 0, c4 = 0] = constants;
      const parts = partsOf(inputs, attributes).map(([p, g, step, ...rest]) => {
        const stateAt = (slot: number): number => {
          const found = slots.indexOf(slot);
          return found < 0 ? 0 : address(rest[found]!);
        };
        return {
          p: address(p!),
          g: address(g!),
          s0: stateAt(0),
          s1: stateAt(1),
          s2: stateAt(2),
          n: g!.size,
          step: address(step!),
          rows: sparse ? address(rest.at(-1)!) : 0,
          width: sparse ? sizeOf(p!.shape.slice(1)) || 1 : 0,
        };
      });
      encodeUpdate(encoder, code, { lr: address(inputs[0]!), flags, c0, c1, c2, c3, c4, parts });
    },
  };
}

/**
 * The number of operations in Adam: two running means, their bias corrections, a root and a quotient. The other
 * optimizers need slightly fewer.
 */
const FLOPS_PER_ELEMENT = 12;

export const updateDefinitions = {
  /** b ← μb + (1 − τ)g; p ← p − lr·b. */
  sgd: update(Op.Sgd, "SGD"),
  /** m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²; p ← p − lr·m̂/(√v̂ + ε). */
  adam: update(Op.Adam, "Adam"),
  /** v ← αv + (1 − α)g²; p ← p − lr·g/(√v + ε). */
  rmsProp: update(Op.RmsProp, "RMSProp"),
  /** p ← p − lr·sign(β₁m + (1 − β₁)g); m ← β₂m + (1 − β₂)g. */
  lion: update(Op.Lion, "Lion"),
  /** s ← s + g²; p ← p − lr·g/(√s + ε). */
  adagrad: update(Op.Adagrad, "Adagrad"),
};

/** Runs an update in place on p and the state. If the gradient is sparse, g holds only the used rows, and `rows` holds their row numbers. */
export function updateParameter(
  kind: keyof typeof updateDefinitions,
  io: {
    p: Value;
    g: Value;
    rows?: Value | undefined;
    lr: Value;
    step: Value;
    state: readonly (Value | undefined)[];
  },
  attributes: { flags: number; constants: readonly number[] },
): void {
  const slots = io.state.flatMap((s, slot) => (s ? [slot] : []));
  const state = io.state.filter((s) => s !== undefined);
  apply(updateDefinitions[kind], [io.lr, io.p, io.g, io.step, ...state, ...(io.rows ? [io.rows] : [])], {
    flags: attributes.flags,
    constants: attributes.constants,
    slots,
    ...(io.rows && { sparse: true }),
  });
}
