/** The base class of optimizers: parameter groups, state per parameter, step and minimize. */

import { runFinite } from "../core/anomaly.ts";
import { currentRecorder, withGrad, withRecorder } from "../core/context.ts";
import { rejectOtherCopy } from "../core/copies.ts";
import { full } from "../core/creation.ts";
import { type Gradient, SparseGradient, tensorsOf } from "../core/gradient.ts";
import { requireSynchronous, tidy } from "../core/scope.ts";
import { Tensor } from "../core/tensor.ts";
import { withoutUndo, withUndo } from "../core/undo.ts";
import { markListed } from "../nn/parameter.ts";
import { sameShape, show } from "../ops/definition/value.ts";
import { advance } from "../ops/random/random.ts";
import { updateParameter } from "../ops/update/update.ts";
import { check, checkNone, checkOptions } from "../runtime/arguments.ts";
import { Error, TypeError } from "../runtime/errors.ts";
import { describe, kindOf, requireKind } from "../runtime/kinds.ts";
import { withoutUndefined } from "../runtime/options.ts";
import { requireLoss } from "./loss.ts";
import { mergeOptions, type OptimizerState, type State, stateError } from "./optimizerState.ts";
import { type CommonOptions, checkRate, type GroupOptions, ParamGroup } from "./paramGroup.ts";

/** The state that an optimizer keeps per parameter. */
export interface StateRule {
  /** The names of the kernel's state slots; undefined for an unused slot. */
  slots: readonly (string | undefined)[];
  /** The initial value of the slots. Default 0. */
  initial?: number;
  /**
   * What to do with a sparse gradient. "rows": update only the gradient's rows. "dense": treat it as a dense gradient.
   * "weightDecay": throw, because weight decay changes every row. Default: throw, because the optimizer changes every
   * row.
   */
  sparse?: "rows" | "dense" | "weightDecay";
}

/** Options for an optimizer's `minimize`. */
export interface MinimizeOptions {
  /**
   * Whether to check the loss, gradients, parameters and state for NaN and ±∞. If minimize finds such a value, it
   * changes nothing and throws a NonFiniteError with the op and line that produced the first one. Inside compile, the
   * check covers the whole function, like `compile(f, { finite: true })`; in eager mode, it is as slow as
   * detectAnomaly. Default false.
   */
  readonly finite?: boolean;
}

/** An optimizer's kernel, with its state slots and constants. */
export interface UpdateRule extends StateRule {
  kind: Parameters<typeof updateParameter>[0];
  flags: number;
  constants: readonly number[];
}

/** @throws TypeError unless the caller passed a group */
function requireGroup(name: string, group: unknown): void {
  rejectOtherCopy(name, "a parameter", group);
  if (typeof group !== "object" || group === null || !("params" in group))
    throw new TypeError(
      `${name}: params must be tensors or groups { params, … }, got ${describe(group)}. Pass model.parameters().`,
    );
}

/** Base class of optimizers. A subclass names the kernel and its constants in `rule`, or overrides `update`. */
export abstract class Optimizer<O extends CommonOptions = CommonOptions, R extends StateRule = UpdateRule> {
  /** The class's name for errors, which minifiers do not change. */
  static readonly kind: string = "Optimizer";
  /** The parameter groups; their options can be set at any time. */
  readonly paramGroups: ParamGroup<O>[] = [];
  private readonly state = new Map<Tensor, State>();

  protected constructor(
    params: Iterable<Tensor | GroupOptions<O>>,
    private readonly defaults: O,
  ) {
    if (new.target === Optimizer)
      throw new TypeError("Optimizer: this class is abstract. Use a subclass, such as new optim.Adam(params).");
    requireKind(kindOf(this), "params", "list", params);
    const list = [...params];
    if (!list.length)
      throw new Error(
        `${kindOf(this)}: params must have at least one tensor, got []. Assign layers and nn.parameter(…) tensors to public properties of the model, or to arrays there: parameters() finds only those.`,
      );
    for (const item of list) if (!(item instanceof Tensor)) requireGroup(kindOf(this), item);
    const loose = list.filter((item) => item instanceof Tensor);
    const groups = list.filter((item): item is GroupOptions<O> => !(item instanceof Tensor));
    if (loose.length) this.add(loose, {});
    for (const group of groups) this.addParamGroup(group);
  }

  /** The kernel, constants and state slots for a group's options. */
  protected abstract rule(options: O): R;
  /** @throws RangeError if an option is out of range */
  protected abstract validate(options: O): void;
  /** @throws Error if the optimizer cannot update this parameter */
  protected validateParameter(_p: Tensor): void {}

  /**
   * Adds a group of parameters. Options that the group omits are taken from the optimizer.
   * @throws Error if a parameter is already in a group; TypeError if `params` are not tensors
   */
  addParamGroup(group: GroupOptions<O>): void {
    const name = kindOf(this);
    requireGroup(name, group);
    const { params, ...own } = group;
    checkOptions(name, own, `{${Object.keys(this.defaults).join(" ")}}`);
    requireKind(name, "params", "list", params);
    this.add([...params], own);
  }

  private add(list: readonly Tensor[], own: object): void {
    const options: O = { ...this.defaults, ...withoutUndefined<object>(own) };
    checkRate(kindOf(this), options.lr);
    this.validate(options);
    const known = new Set(this.paramGroups.flatMap((group) => group.params));
    for (const p of list) {
      rejectOtherCopy(kindOf(this), "a parameter", p);
      if (!(p instanceof Tensor))
        throw new TypeError(`${kindOf(this)}: params must be tensors, got ${describe(p)}. Pass model.parameters().`);
      if (p.requiresGrad && p.edge !== p) {
        throw new Error(
          `${kindOf(this)}: params must not contain results of ops, got one of shape ${show(p.shape)}. Pass parameters, such as model.parameters().`,
        );
      }
      this.validateParameter(p);
      if (known.has(p))
        throw new Error(
          `${kindOf(this)}: params must not repeat a tensor, got one of shape ${show(p.shape)} twice. Pass it once, in one group.`,
        );
      known.add(p);
    }
    markListed(list);
    this.paramGroups.push(new ParamGroup(list, options, kindOf(this)));
  }

  /** The learning rate of the first group. Assigning to lr sets the rate of every group. */
  get lr(): number {
    return this.paramGroups[0]!.lr;
  }
  set lr(lr: number) {
    for (const group of this.paramGroups) group.lr = lr;
  }

  /** Clears the gradients of all parameters. */
  zeroGrad(): void {
    checkNone("zeroGrad", arguments);
    for (const { params } of this.paramGroups) {
      for (const p of params) p.clearGrad();
    }
  }

  /**
   * Updates every parameter that has a gradient, in place. If memory runs out, no parameter changes. As in PyTorch, you can pass
   * a closure that clears gradients, computes the loss and calls backward; `step` calls it first. `minimize` does all of this for
   * you.
   * @returns the closure's result
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
    const undos: (() => void)[] = [];
    const run = (): void => {
      const updates = this.prepare(undos);
      if (!updates.length && this.paramGroups.some(({ params }) => params.some((p) => p.requiresGrad)))
        this.warnOfIdleStep();
      const update = (): void => {
        for (const { state, run: updateOne } of updates) {
          advance(state.step!);
          tidy(updateOne);
        }
      };
      // Kernels allocate nothing, so their updates cannot fail.
      if (updates.every(({ rule }) => "kind" in rule)) withoutUndo(update);
      else update();
    };
    try {
      withGrad(false, () => withUndo(run));
    } catch (error) {
      for (const undo of undos) undo();
      throw error;
    }
  }

  /** Prints a warning the first time that a step changes nothing. */
  private warnOfIdleStep(): void {
    if (this.isWarned) return;
    this.isWarned = true;
    const name = `${kindOf(this)}.step`;
    console.warn(
      `nabla: ${name}: no parameter has a gradient, so the step changes nothing. Call backward() first, on a loss that depends on these parameters.`,
    );
  }
  private isWarned = false;

  /**
   * Allocates the state of every parameter that has a gradient, before any update. Adds to `undos` functions that
   * remove new state.
   */
  private prepare(undos: (() => void)[]): { readonly state: State; readonly rule: R; readonly run: () => void }[] {
    const groups = this.paramGroups.length;
    currentRecorder()?.guard(() => this.paramGroups.length === groups);
    return this.paramGroups.flatMap((group) => {
      const rule = this.rule(group.options);
      const { changes } = group;
      currentRecorder()?.guard(() => group.changes === changes);
      return group.params.flatMap((p) => {
        const { gradient } = p;
        if (!gradient) return [];
        const g = this.usable(gradient, p, rule);
        const state = this.stateOf(p, rule, undos);
        currentRecorder()?.addFixed?.([p, group.rate, ...Object.values(state)]);
        for (const x of [p, ...tensorsOf(g), ...Object.values(state)]) x.storage(kindOf(this));
        return [{ state, rule, run: () => this.update(p, g, state, group, rule) }];
      });
    });
  }

  /** The gradient in the form that `update` takes. @throws Error if the optimizer needs a dense gradient instead of a sparse one */
  private usable(g: Gradient<Tensor>, p: Tensor, { sparse }: R): Gradient<Tensor> {
    if (!(g instanceof SparseGradient) || sparse === "rows") return g;
    if (sparse === "dense") return g.dense;
    const fix = sparse
      ? `Set ${sparse} to 0 in the parameter's group, or use an embedding without sparse: true.`
      : "Use optim.SparseAdam, SGD or Adagrad, or an embedding without sparse: true.";
    throw new Error(
      `${kindOf(this)}: a parameter ${show(p.shape)} has a sparse gradient, but ${sparse ?? kindOf(this)} changes every row. ${fix}`,
    );
  }

  /** Updates one parameter in place, with the kernel. The gradient is sparse only if the rule accepts sparse gradients. */
  protected update(p: Tensor, gradient: Gradient<Tensor>, state: State, { rate }: ParamGroup<O>, rule: R): void {
    const kernel = rule as StateRule as UpdateRule; // optimizers without a kernel override `update`
    const slots = rule.slots.map((name) => (name === undefined ? undefined : state[name]));
    const [g, rows] = gradient instanceof SparseGradient ? [gradient.rows, gradient.index] : [gradient];
    updateParameter(kernel.kind, { p, g, rows, lr: rate, step: state.step!, state: slots }, kernel);
  }

  /** A parameter's state, created on first use. Adds to `undos` a function that removes new state. */
  private stateOf(p: Tensor, { slots, initial = 0 }: StateRule, undos: (() => void)[]): State {
    const state: State = this.state.get(p) ?? {};
    const make = (name: string, create: () => Tensor): void => {
      if (state[name]) return;
      // State outlives the step, so create it outside the recording.
      state[name] = withRecorder(null, create).keep();
      undos.push(() => {
        state[name]!.dispose();
        delete state[name];
        if (name === "step") this.state.delete(p);
      });
    };
    make("step", () => full([], 0, { dtype: "int32" }));
    // Options that are turned on later, such as momentum, add slots.
    for (const name of slots) if (name !== undefined) make(name, () => full(p.shape, initial));
    this.state.set(p, state);
    return state;
  }

  /**
   * Takes one step on a loss of shape []: clears gradients, runs backward and updates the parameters. If you pass a
   * function, minimize frees everything that the function creates. Pass several functions to take one step on the mean of their
   * losses (gradient accumulation). minimize runs backward for each loss before it calls the next function, so only one
   * graph at a time is in memory.
   *
   * ```ts
   * const loss = optimizer.minimize(() => losses.mse(model.forward(x), y));
   * optimizer.minimize(parts.map(([x, y]) => () => losses.mse(model.forward(x), y)));
   * ```
   * If linear memory runs out, parameters, state, running statistics, the random generator and everything that the loss
   * function wrote are restored to their values before the call.
   * @returns the loss before the step, float32 []
   * @throws TypeError, ShapeError or Error if the loss is not a single number that depends on the optimizer's parameters; NonFiniteError with `finite`
   */
  minimize(loss: Tensor | (() => Tensor) | readonly (() => Tensor)[], options: MinimizeOptions = {}): Tensor {
    const name = `${kindOf(this)}.minimize`;
    check(name, arguments, "loss:tensor|function|array {finite:boolean}");
    if (options.finite) return runFinite(name, () => this.minimize(loss));
    return withUndo(() =>
      tidy(() => {
        const several = Array.isArray(loss) ? (loss as readonly (() => Tensor)[]) : undefined;
        if (several?.length === 0) throw new Error(`${name}: the list of losses is empty. Pass at least one function.`);
        const value = !several && requireLoss(name, typeof loss === "function" ? withGrad(true, loss) : loss);
        this.zeroGrad();
        try {
          if (value) value.backward();
          const mean = value || this.accumulate(several!);
          if (!this.paramGroups.some(({ params }) => params.some((p) => p.gradient)))
            throw new Error(
              `${name}: the loss depends on none of the optimizer's parameters. Create the optimizer with the parameters of the model that computes the loss.`,
            );
          this.step();
          return mean.detach();
        } catch (error) {
          this.zeroGrad();
          throw error;
        }
      }),
    );
  }

  /** Accumulates gradients for the mean of several losses. @returns the mean */
  private accumulate(losses: readonly (() => Tensor)[]): Tensor {
    return losses
      .map((loss) =>
        tidy(() => {
          requireKind(`${kindOf(this)}.minimize`, "each loss", "function", loss);
          const part = requireLoss(`${kindOf(this)}.minimize`, withGrad(true, loss)).div(losses.length);
          part.backward();
          return part.detach();
        }),
      )
      .reduce((a, b) => a.add(b));
  }

  /** Options and state, for saving. The tensors are the optimizer's own and change with each step; clone() them to keep a snapshot. */
  stateDict(): OptimizerState {
    return {
      groups: this.paramGroups.map((group) => ({ ...group.options })),
      state: this.paramGroups.flatMap(({ params }) => params.map((p) => this.state.get(p) ?? {})),
    };
  }

  /**
   * Loads options and state. Checks everything first, so an error changes nothing.
   * @throws Error if the options or the state do not fit the optimizer
   */
  loadStateDict(state: OptimizerState): void {
    tidy(() => this.checkState(state)());
  }

  /**
   * Checks a saved state. Call this method, and the function that it returns, in one scope. That function loads the state and cannot fail.
   * @internal
   */
  checkState({ groups, state }: OptimizerState): () => void {
    const params = this.paramGroups.flatMap((group) => group.params);
    if (groups?.length !== this.paramGroups.length || state?.length !== params.length) {
      throw stateError(
        kindOf(this),
        `has ${groups?.length ?? 0} groups and ${state?.length ?? 0} parameters, but must have ${this.paramGroups.length} and ${params.length}`,
      );
    }
    let index = 0;
    const loads = this.paramGroups.flatMap((group, i) => {
      const options = mergeOptions(kindOf(this), group.options, groups[i]!);
      group.rate.storage("loadStateDict");
      checkRate(kindOf(this), options.lr);
      this.validate(options);
      const rule = this.rule(options);
      const states = group.params.map((p) => this.checkStateOf(p, state[index]!, rule, index++));
      return [...states, () => Object.assign(group.options, options)];
    });
    return () => withGrad(false, () => loads.forEach((load) => load()));
  }

  /**
   * Checks the saved state of one parameter: it must be empty, or have a step count and at least the slots in use.
   * @returns a function that loads the state
   * @throws Error
   */
  private checkStateOf(p: Tensor, saved: State, { slots, initial = 0 }: StateRule, index: number): () => void {
    const names = Object.keys(saved);
    const expected = ["step", ...slots.filter((name) => name !== undefined)];
    const wrong = (what: string): Error => stateError(kindOf(this), `of parameter ${index} has ${what}`);
    if (names.length && expected.some((name) => !Object.hasOwn(saved, name)))
      throw wrong(`${names.join(", ")}, but must have ${expected.join(", ")}`);
    for (const [name, tensor] of Object.entries(saved)) {
      const [dtype, shape] = name === "step" ? ["int32", []] : ["float32", p.shape];
      if (tensor.dtype !== dtype || !sameShape(tensor.shape, shape))
        throw wrong(`${name} as ${tensor.dtype} ${show(tensor.shape)}, but must be ${dtype} ${show(shape)}`);
    }
    const own = this.state.get(p) ?? {};
    // Throw here, before anything changes, if a tensor was disposed.
    for (const x of [...Object.values(own), ...Object.values(saved)]) x.storage("loadStateDict");
    const fresh = names.flatMap((name) => (Object.hasOwn(own, name) ? [] : [[name, saved[name]!.clone()] as const]));
    return () => {
      // Write to existing state tensors in place, because compiled functions refer to them.
      for (const [name, tensor] of Object.entries(own))
        tensor.copyFrom(saved[name] ?? new Float32Array(tensor.size).fill(name === "step" ? 0 : initial));
      for (const [name, tensor] of fresh) own[name] = tensor.keep();
      if (fresh.length) this.state.set(p, own);
    };
  }

  /** Frees the optimizer's state, but not the parameters. */
  dispose(): void {
    for (const state of this.state.values()) for (const tensor of Object.values(state)) tensor.dispose();
    this.state.clear();
    for (const group of this.paramGroups) group.rate.dispose();
  }
}
