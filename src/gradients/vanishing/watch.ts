/**
 * watch: measures gradients, updates and activations in each layer during training, and diagnoses problems. Works with
 * any training loop in eager mode. For compiled loops, check individual steps with `diagnose`.
 */

import { currentRecorder, withGrad } from "../../core/context.ts";
import { table } from "../../core/printing.ts";
import { tidy } from "../../core/scope.ts";
import { Tensor } from "../../core/tensor.ts";
import { intercept } from "../../nn/intercept.ts";
import * as layers from "../../nn/layers.ts";
import { type Module, nameOf } from "../../nn/module.ts";
import { check } from "../../runtime/arguments.ts";
import { Error } from "../../runtime/errors.ts";
import { norm, type Vector } from "../math/vector.ts";
import { objective } from "../objective.ts";
import { type DepthRow, gradientByDepth, isLeaf } from "./depth.ts";
import { type ActivationRow, type ParameterRow, type Verdict, verdictsOf, type WatchedStep } from "./verdict.ts";

/** For each type of activation, a mask of the outputs that are in its flat part. */
const flatWhere: readonly [type: new () => Module, flat: (y: Tensor) => Tensor, oneSided: boolean][] = [
  [layers.Sigmoid, (y) => y.sub(0.5).abs().gt(0.49), false],
  [layers.Tanh, (y) => y.abs().gt(0.98), false],
  [layers.ReLU, (y) => y.le(0), true],
  [layers.ReLU6, (y) => y.le(0).logicalOr(y.ge(6)), true],
  [layers.Hardtanh, (y) => y.abs().ge(1), false],
  [layers.Hardsigmoid, (y) => y.le(0).logicalOr(y.ge(1)), false],
];

/** A diagnosis of the last step, which prints as tables. */
export class WatchReport {
  constructor(
    /** The measurements of the last step. An average over steps would hide spikes. */
    readonly last: WatchedStep,
    /** The findings, with remedies. */
    readonly verdicts: readonly Verdict[],
  ) {}
  /** Whether no problem was found. */
  get healthy(): boolean {
    return this.verdicts.every(({ kind }) => kind === "healthy");
  }
  /** The tables as text. */
  toString(): string {
    const digits = (v: number): string => (Number.isNaN(v) ? "" : v.toPrecision(3));
    const share = (v: number): string => `${(100 * v).toFixed(1)} %`;
    const { parameters, activations } = this.last;
    const tables = [
      table(
        [
          ["parameter", "‖gradient‖", "‖weight‖", "update/weight"],
          ...parameters.map((p) => [p.name, digits(p.gradient), digits(p.weight), digits(p.update)]),
        ],
        [1, 2, 3],
      ),
      activations.length &&
        table(
          [
            ["activation", "saturated", "dead units", "rms"],
            ...activations.map((a) => [`${a.name} ${a.type}`, share(a.saturated), share(a.dead), digits(a.rms)]),
          ],
          [1, 2, 3],
        ),
      this.verdicts.map(({ text, remedy }) => (remedy ? `${text} ${remedy}` : text)).join("\n"),
    ];
    return tables.filter(Boolean).join("\n\n");
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }
}

/** Watches a model until you call `stop`. */
export class Watcher {
  /** The measurements of each `step`, oldest first. */
  readonly history: WatchedStep[] = [];
  private activations: ActivationRow[] = [];
  private before: Float64Array[] | undefined;
  private readonly restore: () => void;

  /**
   * @param always whether to also observe forward passes in evaluation mode, default false
   * @throws Error if the model has no parameters
   */
  constructor(
    private readonly model: Module,
    always = false,
  ) {
    check("Watcher", arguments, "model:module always?:boolean");
    const names = new Set([...model.namedParameters()].map(([name]) => name));
    if (!names.size) throw new Error("watch: the model has no parameters. Pass a model with parameters.");
    this.restore = intercept(model, ({ name, module, forward }) => {
      const y = forward();
      if (y instanceof Tensor && (always || module.training) && !currentRecorder()) this.observe(name, module, y);
      return y;
    });
  }

  private observe(name: string, module: Module, y: Tensor): void {
    const [, flat, oneSided = false] = flatWhere.find(([type]) => module instanceof type) ?? [];
    const units = y.shape.at(-1);
    if (!flat || !units || !y.size) return;
    tidy(() =>
      withGrad(false, () => {
        const mask = flat(y.detach()).reshape([-1, units]).to("float32");
        const uses = this.activations.filter((row) => row.name === name || row.name.startsWith(`${name} (`)).length;
        this.activations.push({
          name: uses ? `${name} (use ${uses + 1})` : name,
          type: nameOf(module),
          oneSided,
          saturated: mask.mean().item(),
          dead: mask.min(0).mean().item(),
          rows: mask.shape[0]!,
          rms: y.square().mean().sqrt().item(),
        });
      }),
    );
  }

  /**
   * Ends a step. Call it after the optimizer's step, while the parameters still have their gradients.
   * @returns the measurements
   */
  step(): WatchedStep {
    const named = [...this.model.namedParameters()];
    const now = named.map(([, p]) => Float64Array.from(p.live()));
    const rows = named.map(([name, p], i): ParameterRow => {
      const weight = norm(now[i]!);
      const old = this.before?.[i];
      const moved = old ? Math.sqrt(now[i]!.reduce((sum, v, k) => sum + (v - old[k]!) ** 2, 0)) : Number.NaN;
      return {
        name,
        gradient: p.grad ? norm(Float64Array.from(p.grad.data)) : 0,
        weight,
        shape: p.shape,
        update: moved / weight,
      };
    });
    this.before = now;
    return this.record(rows);
  }

  /** Records a step with these gradients and the activations observed since the last one. @internal */
  record(parameters: readonly ParameterRow[], depth: readonly DepthRow[] = []): WatchedStep {
    const step = { depth, parameters, activations: this.activations };
    this.activations = [];
    this.history.push(step);
    return step;
  }

  /** Diagnoses the last step. @throws Error before the first step */
  report(): WatchReport {
    const last = this.history.at(-1);
    if (!last) throw new Error("watch: there is no step to report yet. Call step() after the optimizer's step.");
    return new WatchReport(last, verdictsOf(last));
  }

  /** Stops watching and restores the model. */
  stop(): void {
    this.restore();
  }
}

/**
 * Starts watching a model's layers: gradient norms, relative updates, saturated activations and dead units.
 *
 * ```ts
 * const watcher = watch(model);
 * for (const [x, y] of batches) { optimizer.minimize(() => losses.mse(model.forward(x), y)); watcher.step(); }
 * console.log(watcher.report());
 * ```
 */
export function watch(model: Module): Watcher {
  check("watch", arguments, "model:module");
  return new Watcher(model);
}

/** Whether a module has weights and no children. */
const hasWeights = (module: Module): boolean =>
  isLeaf(module) && module.parameters().some(({ shape }) => shape.length > 1);

/**
 * Diagnoses one forward and backward pass, in the model's current mode. Runs the loss twice, and uses the gradient at
 * each layer's output to decide whether gradients vanish or explode. Changes no parameter, `grad` or running statistic.
 *
 * ```ts
 * console.log(diagnose(model, () => losses.crossEntropy(model.forward(x), labels)));
 * ```
 */
export function diagnose(model: Module, loss: () => Tensor): WatchReport {
  check("diagnose", arguments, "model:module loss:function");
  const watcher = new Watcher(model, true);
  const at = objective(model, loss);
  let gradients: Record<string, Vector>;
  try {
    gradients = at.gradientsByName();
  } finally {
    watcher.stop();
  }
  watcher.record(
    at.names.map((name, i) => ({
      name,
      gradient: norm(gradients[name]!),
      weight: norm(Float64Array.from(at.parameters[i]!.live())),
      shape: at.parameters[i]!.shape,
      update: Number.NaN,
    })),
    at.at(undefined, () => gradientByDepth(model, loss, { which: hasWeights })),
  );
  return watcher.report();
}
