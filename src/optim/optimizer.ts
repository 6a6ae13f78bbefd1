/** What all optimizers share: parameter groups, learning rates in memory, state per parameter, minimize. */

import { runFinite } from "../core/anomaly.ts";
import { currentRecorder, withGrad, withRecorder } from "../core/context.ts";
import { rejectOtherCopy } from "../core/copies.ts";
import { full } from "../core/creation.ts";
import { requireSynchronous, tidy } from "../core/scope.ts";
import { Tensor } from "../core/tensor.ts";
import { withoutUndo, withUndo } from "../core/undo.ts";
import { markListed } from "../nn/parameter.ts";
import { sameShape, show } from "../ops/definition/value.ts";
import { advance } from "../ops/random/random.ts";
import { updateParameter } from "../ops/update/update.ts";
import { check, checkNone, checkOptions } from "../runtime/arguments.ts";
import { Error, requireRange, ShapeError, TypeError } from "../runtime/errors.ts";
import { describe, kindOf, requireKind } from "../runtime/kinds.ts";

/** Options every optimizer has. */
export interface CommonOptions {
  /** Learning rate. */
  lr: number;
}

/** Parameters with options of their own: those not given are the optimizer's. */
export type GroupOptions<O> = Partial<O> & {
  /** The tensors of the group. */
  params: Iterable<Tensor>;
};

/** Parameters that share options. All of them may be set at any time. */
export class ParamGroup<O extends CommonOptions> {
  /** The tensors that the group moves. */
  readonly params: readonly Tensor[];
  /** The group's options; a change applies from the next step. */
  readonly options: O;
  /** float32 []: read by the update kernels, so that a new rate needs no new program. */
  readonly rate: Tensor;
  /** How often an option other than lr was set: they are part of what compile records. */
  changes = 0;

  constructor(params: Iterable<Tensor>, options: O, optimizer = "ParamGroup") {
    check(optimizer, [params, options], "params:list options:object");
    this.params = [...params];
    this.rate = full([], options.lr).keep();
    const values: Record<string, unknown> = Object.fromEntries(Object.entries(options));
    const property = (key: string): PropertyDescriptor => ({
      enumerable: true,
      get: () => values[key],
      set: (value: unknown) => {
        if (key === "lr") {
          checkRate(optimizer, value);
          this.rate.copyFrom([value as number]);
        } else if (!isSame(value, values[key])) this.changes++;
        values[key] = value;
      },
    });
    this.options = Object.defineProperties(
      {},
      Object.fromEntries(Object.keys(values).map((key) => [key, property(key)])),
    ) as O;
  }
  /** The group's learning rate; schedules set it. */
  get lr(): number {
    return this.options.lr;
  }
  set lr(lr: number) {
    this.options.lr = lr;
  }
}

/** Whether two values of an option are one: numbers, flags, or lists of them. */
const isSame = (a: unknown, b: unknown): boolean =>
  Object.is(a, b) ||
  (Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((v, i) => isSame(v, b[i])));

/** @throws TypeError, RangeError */
export function checkRate(who: string, lr: unknown): void {
  requireKind(who, "lr", "number", lr);
  requireRange(who, { lr: lr as number }, (v) => v >= 0 && v < Infinity, "a number ≥ 0");
}

/** Options without those given as undefined, which would hide the defaults. */
export function given<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;
}

/** What does not fit. */
export const foreign = (optimizer: string, what: string): Error =>
  new Error(`${optimizer}: the state ${what}. Is it another optimizer's, or another model's?`);

/** Whether a saved value is of the kind of one's own: null stands for a name that is not given. */
const isAlike = (own: unknown, saved: unknown): boolean =>
  Array.isArray(own)
    ? Array.isArray(saved) && own.length === saved.length && own.every((v, i) => isAlike(v, saved[i]))
    : own === null || saved === null
      ? own === saved || typeof (own ?? saved) === "string"
      : typeof own === typeof saved;

/** @throws TypeError unless a value is a group { params, … } */
function requireGroup(name: string, group: unknown): void {
  rejectOtherCopy(name, "a parameter", group);
  if (typeof group !== "object" || group === null || !("params" in group))
    throw new TypeError(
      `${name}: params must be tensors or groups { params, … }, got ${describe(group)}. Pass model.parameters().`,
    );
}

/** One's own values with saved ones over them. @throws Error where those have other names, or are of other kinds */
export function mergedOptions<O extends object>(optimizer: string, own: O, saved: object): O {
  for (const [key, value] of Object.entries(saved ?? {}))
    if (!Object.hasOwn(own, key) || !isAlike(own[key as keyof O], value))
      throw foreign(optimizer, `has ${key} as ${describe(value)}`);
  return { ...own, ...saved };
}

/** Tensors of a parameter by name. */
export type State = Record<string, Tensor>;

/** What stateDict returns. */
export interface OptimizerState {
  /** The options and state of each parameter group. */
  readonly groups: readonly object[];
  /** State by the parameter's place among all groups' parameters. */
  readonly state: readonly State[];
}

/** The state of one parameter. */
export interface StateRule {
  /** The kernel's state slots by name, undefined where a slot is not used; each starts at `initial` (0). */
  slots: readonly (string | undefined)[];
  initial?: number;
}

export interface MinimizeOptions {
  /**
   * Whether to look for NaN and ±∞ in the loss, gradients, parameters and state. If there is one, minimize throws a NonFiniteError that
   * names the op and line that made the first, and changes nothing. Inside compile it holds for all that the function does, as
   * `compile(f, { finite: true })`; outside it is slow, as detectAnomaly. Default false.
   */
  readonly finite?: boolean;
}

/** What one update needs from an optimizer whose formula is a kernel. */
export interface UpdateRule extends StateRule {
  kind: Parameters<typeof updateParameter>[0];
  flags: number;
  constants: readonly number[];
}

/** What a loss function returned. @throws TypeError unless it is a tensor, ShapeError unless of one number, Error without a gradient */
export function lossOf(name: string, value: unknown): Tensor {
  requireSynchronous(name, value);
  if (value === undefined) throw new TypeError(`${name}: the function returned nothing. Return the loss from it.`);
  rejectOtherCopy(name, "the loss", value);
  if (!(value instanceof Tensor))
    throw new TypeError(
      `${name}: the loss must be a tensor, got ${describe(value)}. Return the loss tensor itself, without item() or toArray().`,
    );
  if (value.size !== 1)
    throw new ShapeError(`${name}: the loss is ${show(value.shape)}, not one number. Reduce it with mean() or sum().`);
  if (!value.requiresGrad)
    throw new Error(
      `${name}: the loss depends on nothing that requires a gradient. Compute it from the model's parameters, outside noGrad and without detach() or item().`,
    );
  return value;
}

/** The base of optimizers: a subclass says which kernel runs with which constants, or updates a parameter by ops. */
export abstract class Optimizer<O extends CommonOptions = CommonOptions, R extends StateRule = UpdateRule> {
  /** What it is, whatever a minifier makes of the class's name. */
  static readonly kind: string = "Optimizer";
  /** The groups of parameters, each with its own options. */
  readonly paramGroups: ParamGroup<O>[] = [];
  private readonly state = new Map<Tensor, State>();

  protected constructor(
    params: Iterable<Tensor | GroupOptions<O>>,
    private readonly defaults: O,
  ) {
    if (new.target === Optimizer)
      throw new TypeError("Optimizer: is abstract. Use one such as new optim.Adam(params).");
    requireKind(kindOf(this), "params", "list", params);
    const list = [...params];
    if (!list.length) throw new Error(`${kindOf(this)}: no parameters given. Pass model.parameters().`);
    for (const item of list) if (!(item instanceof Tensor)) requireGroup(kindOf(this), item);
    const loose = list.filter((item) => item instanceof Tensor);
    const groups = list.filter((item): item is GroupOptions<O> => !(item instanceof Tensor));
    if (loose.length) this.add(loose, {});
    for (const group of groups) this.addParamGroup(group);
  }

  /** Kernel and constants for a group. */
  protected abstract rule(options: O): R;
  /** @throws RangeError where an option is out of range */
  protected abstract validate(options: O): void;
  /** @throws Error where a parameter is not of a kind that it can update */
  protected validateParameter(_p: Tensor): void {}

  /** Adds parameters, with options of their own. @throws Error where one belongs to a group already */
  addParamGroup(group: GroupOptions<O>): void {
    const name = kindOf(this);
    requireGroup(name, group);
    const { params, ...own } = group;
    checkOptions(name, own, `{${Object.keys(this.defaults).join(" ")}}`);
    requireKind(name, "params", "list", params);
    this.add([...params], own);
  }

  private add(list: readonly Tensor[], own: object): void {
    const options: O = { ...this.defaults, ...given(own) };
    checkRate(kindOf(this), options.lr);
    this.validate(options);
    const known = new Set(this.paramGroups.flatMap((group) => group.params));
    for (const p of list) {
      rejectOtherCopy(kindOf(this), "a parameter", p);
      if (!(p instanceof Tensor))
        throw new TypeError(`${kindOf(this)}: params must be tensors, got ${describe(p)}. Pass model.parameters().`);
      if (p.requiresGrad && p.edge !== p) {
        throw new Error(
          `${kindOf(this)}: a tensor ${show(p.shape)} is the result of an op, not a parameter: only leaves are learnt.`,
        );
      }
      this.validateParameter(p);
      if (known.has(p)) throw new Error(`${kindOf(this)}: a parameter ${show(p.shape)} is in two groups.`);
      known.add(p);
    }
    markListed(list);
    this.paramGroups.push(new ParamGroup(list, options, kindOf(this)));
  }

  /** The first group's learning rate; setting it sets every group's. */
  get lr(): number {
    return this.paramGroups[0]!.lr;
  }
  set lr(lr: number) {
    for (const group of this.paramGroups) group.lr = lr;
  }

  /** Forgets all gradients. */
  zeroGrad(): void {
    checkNone("zeroGrad", arguments);
    for (const { params } of this.paramGroups) {
      for (const p of params) p.clearGrad();
    }
  }

  /**
   * Updates every parameter that has a gradient, in place. If memory runs out, nothing is changed. Given a function that forgets the
   * gradients, computes the loss and calls its backward, as in PyTorch, runs that first. `minimize` does all of this.
   * @returns what the function returned
   */
  step(): void;
  step<T>(closure: () => T): T;
  step<T>(closure?: () => T): T | undefined {
    if (arguments.length) check(`${kindOf(this)}.step`, arguments, "closure?:function");
    const result = closure && withGrad(true, closure);
    requireSynchronous(`${kindOf(this)}.step`, result);
    this.updateAll();
    return result;
  }

  private updateAll(): void {
    const made: (() => void)[] = [];
    const run = (): void => {
      const updates = this.prepare(made);
      const update = (): void => {
        for (const one of updates) {
          advance(one.state.step!);
          tidy(one.update);
        }
      };
      // A kernel's update allocates nothing.
      if (updates.every(({ rule }) => "kind" in rule)) withoutUndo(update);
      else update();
    };
    try {
      withGrad(false, () => withUndo(run));
    } catch (error) {
      for (const undo of made) undo();
      throw error;
    }
  }

  /** Makes all that the next step needs memory for, the state of every parameter that has a gradient; `made` removes it again. */
  private prepare(made: (() => void)[]): { readonly state: State; readonly rule: R; readonly update: () => void }[] {
    const groups = this.paramGroups.length;
    currentRecorder()?.guard(() => this.paramGroups.length === groups);
    return this.paramGroups.flatMap((group) => {
      const rule = this.rule(group.options);
      const { changes } = group;
      currentRecorder()?.guard(() => group.changes === changes);
      return group.params.flatMap((p) => {
        const { grad } = p;
        if (!grad) return [];
        const state = this.stateOf(p, rule, made);
        currentRecorder()?.addFixed?.([p, group.rate, ...Object.values(state)]);
        for (const x of [p, grad, ...Object.values(state)]) x.storage(kindOf(this));
        return [{ state, rule, update: () => this.update(p, grad, state, group, rule) }];
      });
    });
  }

  /** One parameter's update in place, by its kernel. */
  protected update(p: Tensor, g: Tensor, state: State, { rate }: ParamGroup<O>, rule: R): void {
    const kernel = rule as StateRule as UpdateRule; // optimizers without a kernel override this method
    const slots = rule.slots.map((name) => (name === undefined ? undefined : state[name]));
    updateParameter(kernel.kind, { p, g, lr: rate, step: state.step!, state: slots }, kernel);
  }

  /** A parameter's state, made if it is not there yet; `made` receives what removes it again. */
  private stateOf(p: Tensor, { slots, initial = 0 }: StateRule, made: (() => void)[]): State {
    const state: State = this.state.get(p) ?? {};
    const make = (name: string, create: () => Tensor): void => {
      if (state[name]) return;
      // State outlives the step: it is made for real even while the step is being recorded.
      state[name] = withRecorder(null, create).keep();
      made.push(() => {
        state[name]!.dispose();
        delete state[name];
        if (name === "step") this.state.delete(p);
      });
    };
    make("step", () => full([], 0, { dtype: "int32" }));
    // An option that was switched on later brings a slot that is not there yet.
    for (const name of slots) if (name !== undefined) make(name, () => full(p.shape, initial));
    this.state.set(p, state);
    return state;
  }

  /**
   * One step on a loss: forgets old gradients, runs backward, updates. Given a function, all that it makes is freed; given several,
   * one step on their mean, of which each is run backward before the next: gradient accumulation, with memory for one at a time.
   *
   * ```ts
   * const loss = optimizer.minimize(() => losses.mse(model.forward(x), y));
   * optimizer.minimize(parts.map(([x, y]) => () => losses.mse(model.forward(x), y)));
   * ```
   * If linear memory runs out, parameters, state, running statistics and the random generator are as before the call, including what
   * the loss function wrote.
   * @returns the loss before the step
   */
  minimize(loss: Tensor | (() => Tensor) | readonly (() => Tensor)[], options: MinimizeOptions = {}): Tensor {
    const name = `${kindOf(this)}.minimize`;
    check(name, arguments, "loss:tensor|function|array {finite:boolean}");
    if (options.finite) return runFinite(name, () => this.minimize(loss));
    return withUndo(() =>
      tidy(() => {
        const several = Array.isArray(loss) ? (loss as readonly (() => Tensor)[]) : undefined;
        if (several?.length === 0) throw new Error(`${kindOf(this)}: minimize was given no losses.`);
        const value = !several && lossOf(name, typeof loss === "function" ? withGrad(true, loss) : loss);
        this.zeroGrad();
        try {
          if (value) value.backward();
          const mean = value || this.accumulate(several!);
          this.step();
          return mean.detach();
        } catch (error) {
          this.zeroGrad();
          throw error;
        }
      }),
    );
  }

  /** Adds the gradients of the mean of several losses, one after the other. */
  private accumulate(losses: readonly (() => Tensor)[]): Tensor {
    return losses
      .map((loss) =>
        tidy(() => {
          requireKind(`${kindOf(this)}.minimize`, "a loss of the list", "function", loss);
          const part = lossOf(`${kindOf(this)}.minimize`, withGrad(true, loss)).div(losses.length);
          part.backward();
          return part.detach();
        }),
      )
      .reduce((a, b) => a.add(b));
  }

  /** Options and state, for saving. Tensors are the optimizer's own: clone() what is to stay as it is. */
  stateDict(): OptimizerState {
    return {
      groups: this.paramGroups.map((group) => ({ ...group.options })),
      state: this.paramGroups.flatMap(({ params }) => params.map((p) => this.state.get(p) ?? {})),
    };
  }

  /** Loads options and state. Everything is checked before anything is changed. @throws Error where they do not fit */
  loadStateDict(state: OptimizerState): void {
    tidy(() => this.checkState(state)());
  }

  /** Checks a state, in a scope. @returns what takes it over there, and cannot fail @internal */
  checkState({ groups, state }: OptimizerState): () => void {
    const params = this.paramGroups.flatMap((group) => group.params);
    if (groups?.length !== this.paramGroups.length || state?.length !== params.length) {
      throw foreign(
        kindOf(this),
        `is of ${groups?.length} groups with ${state?.length} parameters, but must be of ${this.paramGroups.length} with ${params.length}`,
      );
    }
    let place = 0;
    const takes = this.paramGroups.flatMap((group, i) => {
      const options = mergedOptions(kindOf(this), group.options, groups[i]!);
      group.rate.storage("loadStateDict");
      checkRate(kindOf(this), options.lr);
      this.validate(options);
      const rule = this.rule(options);
      const states = group.params.map((p) => this.checkStateOf(p, state[place]!, rule, place++));
      return [...states, () => Object.assign(group.options, options)];
    });
    return () => withGrad(false, () => takes.forEach((take) => take()));
  }

  /** Checks the saved state of one parameter: none, or a step count and at least the slots that are in use. @throws Error */
  private checkStateOf(p: Tensor, saved: State, { slots, initial = 0 }: StateRule, place: number): () => void {
    const names = Object.keys(saved);
    const expected = ["step", ...slots.filter((name) => name !== undefined)];
    const wrong = (what: string): Error => foreign(kindOf(this), `of parameter ${place} has ${what}`);
    if (names.length && expected.some((name) => !Object.hasOwn(saved, name)))
      throw wrong(`${names.join(", ")}, but must have ${expected.join(", ")}`);
    for (const [name, tensor] of Object.entries(saved)) {
      const [dtype, shape] = name === "step" ? ["int32", []] : ["float32", p.shape];
      if (tensor.dtype !== dtype || !sameShape(tensor.shape, shape))
        throw wrong(`${name} as ${tensor.dtype} ${show(tensor.shape)}, but it must be ${dtype} ${show(shape)}`);
    }
    const own = this.state.get(p) ?? {};
    // Who was disposed says so now.
    for (const x of [...Object.values(own), ...Object.values(saved)]) x.storage("loadStateDict");
    const fresh = names.flatMap((name) => (Object.hasOwn(own, name) ? [] : [[name, saved[name]!.clone()] as const]));
    return () => {
      // A state that is there already stays where it is: what compile recorded uses it.
      for (const [name, tensor] of Object.entries(own))
        tensor.copyFrom(saved[name] ?? new Float32Array(tensor.size).fill(name === "step" ? 0 : initial));
      for (const [name, tensor] of fresh) own[name] = tensor.keep();
      if (fresh.length) this.state.set(p, own);
    };
  }

  /** Frees the optimizer's state. The parameters are not its own. */
  dispose(): void {
    for (const state of this.state.values()) for (const tensor of Object.values(state)) tensor.dispose();
    this.state.clear();
    for (const group of this.paramGroups) group.rate.dispose();
  }
}
