/**
 * Finds the op that made a NaN or ±∞. detectAnomaly checks the result of every eager op; compile uses the same error
 * descriptions.
 */
import { Op } from "../../assembly/opcodes.ts";
import { LARGEST } from "../ops/definition/check.ts";
import type { AnyOp } from "../ops/definition/op.ts";
import { show, type Value } from "../ops/definition/value.ts";
import { check } from "../runtime/arguments.ts";
import { engine, kernels } from "../runtime/engine.ts";
import { NonFiniteError } from "../runtime/errors.ts";
import { currentRecorder } from "./context.ts";
import { currentNode } from "./graph.ts";
import { Journal, type Storage, withJournal } from "./memory.ts";
import { requireSynchronous, tensorsIn } from "./scope.ts";
import { captureSite } from "./site.ts";
import type { Tensor } from "./tensor.ts";

/** Describes where a NaN or ±∞ came from. */
export interface Flaw {
  /** The position in execution order: a lower number is earlier. */
  readonly order: number;
  readonly isNaN: boolean;
  /**
   * Whether an op made the NaN or ±∞. If not, it was in an argument, a constant or a tensor from outside the function.
   */
  readonly isFromOp: boolean;
  /** A clause such as `log produced -Infinity at train.ts:3:10`. */
  readonly origin: string;
  /** Further details, such as ` from finite inputs (element 0 of float32 [4])`. */
  readonly details: string;
  readonly remedy: string;
}

/** An element that is not finite. */
interface NonFiniteElement {
  readonly value: number;
  readonly index: number;
}

/**
 * Finds the first NaN in x or, if there is none, the first ±∞. Returns undefined if all elements are finite.
 * @param address the address of x
 */
export function nonFiniteIn(x: Value, address: number): NonFiniteElement | undefined {
  if (x.dtype !== "float32") return undefined;
  const at = kernels().firstOutsideFloat!(address, x.size, -LARGEST, LARGEST) >>> 0;
  if (at >= x.size) return undefined;
  const { f32 } = engine().heap;
  const first = address / 4;
  for (let i = at; i < x.size; i++) if (Number.isNaN(f32[first + i])) return { value: Number.NaN, index: i };
  return { value: f32[first + at]!, index: at };
}

const elementText = ({ index }: NonFiniteElement, x: Value): string =>
  `element ${index} of ${x.dtype} ${show(x.shape)}`;

/** The flaw in a value that no op made. */
export const externalFlaw = (what: string, x: Value, found: NonFiniteElement): Flaw => ({
  order: -1,
  isNaN: Number.isNaN(found.value),
  isFromOp: false,
  origin: `${what} contains ${found.value}`,
  details: ` (${elementText(found, x)})`,
  remedy: "Remove NaN and ±Infinity from the values before the call.",
});

/** An op that ran, as error messages describe it. */
export interface ExecutedOp {
  readonly op: AnyOp;
  readonly order: number;
  readonly site: string;
  /** The op whose gradient this op helps to compute, if any. */
  readonly gradientOf?: string | undefined;
}

/**
 * The flaw in an op's result. If an input has a flaw, the result inherits it. There is one exception: if this op turns
 * an infinity that no op computed, such as −∞ in a mask, into NaN, the flaw comes from this op.
 */
export function flawOf(
  { op, order, site, gradientOf }: ExecutedOp,
  x: Value,
  found: NonFiniteElement,
  inputs: readonly Flaw[],
): Flaw {
  const isNaN = Number.isNaN(found.value);
  const inherited = inputs.find((flaw) => !isNaN || flaw.isNaN || flaw.isFromOp);
  if (inherited) return { ...inherited, isNaN };
  const subject = gradientOf ? `the gradient of ${gradientOf}, in ${op.name},` : op.name;
  const from = inputs.length ? ` from ±Infinity, since ${inputs[0]!.origin}` : " from finite inputs";
  return {
    order,
    isNaN,
    isFromOp: op.code !== Op.Fill,
    origin: `${subject} produced ${found.value}${site && ` at ${site}`}`,
    details: `${from} (${elementText(found, x)})`,
    remedy: "Keep the op's inputs in range, for example with clamp, an eps or a lower lr.",
  };
}

/** The error for a flaw. @param reached what the flaw reached, such as "a result" */
export const nonFinite = (caller: string, { origin, details, remedy }: Flaw, reached = ""): NonFiniteError =>
  new NonFiniteError(`${caller}: ${origin}${details}${reached && `, which reaches ${reached}`}. ${remedy}`);

/** Tracks NaN and ±∞ while detectAnomaly runs. */
export class Watch {
  private readonly flaws = new WeakMap<Storage, Flaw>();
  private ops = 0;

  constructor(private readonly caller: string) {}

  /** Called before each op. @throws NonFiniteError if the op would use NaN or ±∞ to update state */
  before(op: AnyOp, inputs: readonly Tensor[], attributes: unknown): void {
    const mutated = op.mutates?.(inputs, attributes) ?? [];
    if (!mutated.some((i) => this.isState(inputs[i]!))) return;
    for (const x of inputs) this.require(x, `a write (${op.name})`);
  }

  /** Called after each op, to check what the op wrote. @throws NonFiniteError if the op wrote NaN or ±∞ to state */
  after(op: AnyOp, inputs: readonly Tensor[], outputs: readonly Tensor[], attributes: unknown): void {
    this.ops++;
    const mutated = (op.mutates?.(inputs, attributes) ?? []).map((i) => inputs[i]!);
    for (const x of [...outputs, ...mutated]) {
      const storage = x.storage(op.name);
      const found = nonFiniteIn(x, storage.address);
      if (!found) {
        this.flaws.delete(storage);
        continue;
      }
      const node = currentNode();
      const executed = { op, order: this.ops, site: node?.site?.() || captureSite()(), gradientOf: node?.rule.name };
      // The old contents of an overwritten tensor are gone, so only an earlier check can tell whether they had a flaw.
      const flawBefore = (input: Tensor) => (mutated.includes(input) ? this.known(input) : this.flawIn(input));
      this.flaws.set(
        storage,
        flawOf(
          executed,
          x,
          found,
          inputs.flatMap((input) => flawBefore(input) ?? []),
        ),
      );
      if (mutated.includes(x) && this.isState(x)) this.require(x, `state (${op.name})`);
    }
  }

  private known(x: Tensor): Flaw | undefined {
    return this.flaws.get(x.storage("detectAnomaly"));
  }
  private flawIn(x: Tensor): Flaw | undefined {
    const known = this.known(x);
    if (known) return known;
    const storage = x.storage("detectAnomaly");
    const found = nonFiniteIn(x, storage.address);
    if (!found) return undefined;
    const flaw = externalFlaw("a tensor from outside", x, found);
    this.flaws.set(storage, flaw);
    return flaw;
  }

  /** @throws NonFiniteError if a tensor contains NaN or ±∞ */
  require(x: Tensor, reached: string): void {
    if (x.storage("detectAnomaly").symbolic) return;
    const flaw = this.flawIn(x);
    if (flaw) throw nonFinite(this.caller, flaw, reached);
  }

  /** Whether x, and therefore any write to it, outlives the watched function. */
  private isState(x: Tensor): boolean {
    return x.isKept || !this.made.has(x.storage("detectAnomaly"));
  }
  /** The storages that the watched function made. */
  private readonly made = new WeakSet<Storage>();
  /** Registers the outputs of an op before it runs. */
  add(outputs: readonly Tensor[]): void {
    for (const x of outputs) this.made.add(x.storage("detectAnomaly"));
  }
}

let watch: Watch | null = null;

/** The active watch; null outside detectAnomaly. */
export const currentWatch = (): Watch | null => watch;

/**
 * Runs f and checks the result of every op, forward and backward. Throws if a NaN or ±∞ reaches a result of f, a loss
 * that backward is called on, a gradient, or a write (an update, a running statistic, copyFrom). The error names the
 * first op that made a NaN or ±∞ and the line that called the op; for a gradient, it also names the op that the
 * gradient belongs to. Before throwing, detectAnomaly restores parameters, optimizer state, running statistics and the
 * random generator. Values that are masked out later, such as −∞ in attention scores, are allowed. Compiled functions
 * that f calls run as if they were compiled with `{ finite: true }`. detectAnomaly is slow, so use it only for
 * debugging.
 *
 * ```ts
 * detectAnomaly(() => optimizer.minimize(() => losses.mse(model.forward(x), y)));
 * // NonFiniteError: detectAnomaly: the gradient of sqrt, in div, produced Infinity at train.ts:12:30 …
 * ```
 * @throws NonFiniteError
 */
export function detectAnomaly<T>(f: () => T): T {
  check("detectAnomaly", arguments, "f:function");
  return runFinite("detectAnomaly", f);
}

/** Implements detectAnomaly. Errors begin with the caller's name. @internal */
export function runFinite<T>(caller: string, f: () => T): T {
  const recorder = currentRecorder();
  recorder?.requireFinite?.();
  if (recorder || watch) return f();
  const own = new Watch(caller);
  const journal = new Journal();
  watch = own;
  try {
    return withJournal("nonFinite", journal, () => {
      const result = f();
      requireSynchronous(caller, result);
      for (const x of tensorsIn(result)) own.require(x, "a result");
      return result;
    });
  } catch (error) {
    if (error instanceof NonFiniteError) journal.restore();
    throw error;
  } finally {
    watch = null;
  }
}
