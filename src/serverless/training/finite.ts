/** Finds NaN and infinities in the state before it is stored, so that diverged weights never replace good ones. */
import { tidy } from "nabla";
import type { Learner } from "./learner.ts";

/** The numbers of a tensor or an option, and the name that errors use for it. */
interface Named {
  readonly name: string;
  readonly values: ArrayLike<number>;
}

/** A number that is not finite, and its location, such as `model.0.weight[12]`. */
export interface NonFinite {
  readonly place: string;
  readonly value: number;
}

/** All floating-point numbers that saveState writes for a learner. */
function* numbersOf({ model, optimizer }: Learner): Generator<Named> {
  for (const [name, tensor] of Object.entries(model.stateDict()))
    if (tensor.dtype === "float32") yield { name: `model.${name}`, values: tensor.live() };
  const { groups, state } = optimizer.stateDict();
  for (const [i, slots] of state.entries())
    for (const [name, tensor] of Object.entries(slots))
      if (tensor.dtype === "float32") yield { name: `optimizer.${i}.${name}`, values: tensor.live() };
  for (const [i, group] of groups.entries())
    for (const [name, option] of Object.entries(group))
      yield { name: `group ${i}.${name}`, values: [option].flat().filter((value) => typeof value === "number") };
}

/**
 * The buffers and options that already contain NaN or infinities before training, such as a causal mask of −∞ or a
 * limit of Infinity. Such values may be stored.
 */
export type Constants = ReadonlyMap<string, ArrayLike<number>>;

export function constantsOf(learner: Learner): Constants {
  const trained = new Set(learner.model.parameters());
  const parameters = new Set(
    Object.entries(learner.model.stateDict()).flatMap(([name, tensor]) =>
      trained.has(tensor) ? [`model.${name}`] : [],
    ),
  );
  return tidy(() => {
    const constants = new Map<string, ArrayLike<number>>();
    for (const { name, values } of numbersOf(learner))
      if (!parameters.has(name) && firstNonFinite(values) >= 0) constants.set(name, Array.from(values));
    return constants;
  });
}

/** The first number that is neither finite nor one of the constants. */
export function findNonFinite(learner: Learner, constants: Constants): NonFinite | undefined {
  // Some optimizers allocate tensors in stateDict(), which tidy frees.
  return tidy(() => {
    for (const { name, values } of numbersOf(learner)) {
      const i = firstNonFinite(values, constants.get(name));
      if (i >= 0) return { place: `${name}[${i}]`, value: values[i]! };
    }
    return undefined;
  });
}

function firstNonFinite(values: ArrayLike<number>, constant?: ArrayLike<number>): number {
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    // v − v is 0 for every number except NaN and infinities.
    if (value - value !== 0 && !(constant && Object.is(value, constant[i]))) return i;
  }
  return -1;
}
