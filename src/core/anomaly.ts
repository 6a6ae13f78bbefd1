/** Finding NaN and ±∞: what made them, where, and the eager mode that looks at every op's result (detectAnomaly). */
import { Op } from "../../assembly/opcodes.ts";
import { LARGEST } from "../ops/definition/check.ts";
import type { AnyOp } from "../ops/definition/op.ts";
import { show, type Value } from "../ops/definition/value.ts";
import { check } from "../runtime/arguments.ts";
import { engine, kernels } from "../runtime/engine.ts";
import { NonFiniteError } from "../runtime/errors.ts";
import { currentNode } from "./graph.ts";
import { Journal, type Storage, withJournal } from "./memory.ts";
import { requireSynchronous, tensorsIn } from "./scope.ts";
import { captureSite } from "./site.ts";
import { currentRecorder, type Tensor } from "./tensor.ts";

/** How NaN or ±∞ came into a value. */
export interface Flaw {
  /** The lower, the earlier. */
  readonly order: number;
  readonly isNaN: boolean;
  /** Whether an op made it: it did not come in with an argument, a constant or a tensor from outside. */
  readonly isMade: boolean;
  /** As a clause: `log made -Infinity at train.ts:3:10`, and what else is known: ` from finite inputs (element 0 of float32 [4])`. */
  readonly origin: string;
  readonly details: string;
  readonly remedy: string;
}

interface Found {
  readonly value: number;
  readonly at: number;
}

/** The first element that is not finite, NaN before ±∞. `address` is where x lies. */
export function nonFiniteIn(x: Value, address: number): Found | undefined {
  if (x.dtype !== "float32") return undefined;
  const at = kernels().firstOutsideFloat!(address, x.size, -LARGEST, LARGEST) >>> 0;
  if (at >= x.size) return undefined;
  const { f32 } = engine().heap;
  const first = address / 4;
  for (let i = at; i < x.size; i++) if (Number.isNaN(f32[first + i])) return { value: Number.NaN, at: i };
  return { value: f32[first + at]!, at };
}

const element = ({ at }: Found, x: Value): string => `element ${at} of ${x.dtype} ${show(x.shape)}`;

/** The flaw of something that was there before the first op. */
export const externalFlaw = (what: string, x: Value, found: Found): Flaw => ({
  order: -1,
  isNaN: Number.isNaN(found.value),
  isMade: false,
  origin: `${what} holds ${found.value}`,
  details: ` (${element(found, x)})`,
  remedy: "Clean the values before the call.",
});

/** An op that has run, as messages name it. */
export interface Ran {
  readonly op: AnyOp;
  readonly order: number;
  readonly site: string;
  /** The op whose gradient it belongs to. */
  readonly gradientOf?: string | undefined;
}

/**
 * The flaw of an op's result: its inputs', if an op made that, else made by this op. NaN made of an infinity that was given, such as a
 * mask's, is this op's own.
 */
export function flawOf({ op, order, site, gradientOf }: Ran, x: Value, found: Found, inputs: readonly Flaw[]): Flaw {
  const isNaN = Number.isNaN(found.value);
  const inherited = inputs.find((flaw) => !isNaN || flaw.isNaN || flaw.isMade);
  if (inherited) return { ...inherited, isNaN };
  const who = gradientOf ? `the gradient of ${gradientOf}, in ${op.name},` : op.name;
  const from = inputs.length ? ` from ±Infinity, since ${inputs[0]!.origin}` : " from finite inputs";
  return {
    order,
    isNaN,
    isMade: op.code !== Op.Fill,
    origin: `${who} made ${found.value}${site && ` at ${site}`}`,
    details: `${from} (${element(found, x)})`,
    remedy: "Keep its inputs in range (clamp, an eps, a lower lr).",
  };
}

/** The error for a flaw that got as far as `reach`. */
export const nonFinite = (who: string, { origin, details, remedy }: Flaw, reach = ""): NonFiniteError =>
  new NonFiniteError(`${who}: ${origin}${details}${reach && `, which reaches ${reach}`}. ${remedy}`);

/** Knows, while detectAnomaly runs, which values are not finite. */
export class Watch {
  private readonly flaws = new WeakMap<Storage, Flaw>();
  private ops = 0;

  constructor(private readonly who: string) {}

  /** Refuses to write a value that is not finite to state. @throws NonFiniteError */
  before(op: AnyOp, inputs: readonly Tensor[], attributes: unknown): void {
    const mutated = op.mutates?.(inputs, attributes) ?? [];
    if (!mutated.some((i) => this.isState(inputs[i]!))) return;
    for (const x of inputs) this.require(x, `a write (${op.name})`);
  }

  /** Looks at what an op has written. @throws NonFiniteError where that is state */
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
      const ran = { op, order: this.ops, site: node?.site?.() || captureSite()(), gradientOf: node?.rule.name };
      // What lay in a tensor before the write is known only if it was looked at.
      const flawBefore = (input: Tensor) => (mutated.includes(input) ? this.known(input) : this.flawIn(input));
      this.flaws.set(
        storage,
        flawOf(
          ran,
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
    const made = externalFlaw("a tensor from outside", x, found);
    this.flaws.set(storage, made);
    return made;
  }

  /** @throws NonFiniteError where a tensor holds what is not finite */
  require(x: Tensor, reach: string): void {
    if (x.storage("detectAnomaly").symbolic) return;
    const flaw = this.flawIn(x);
    if (flaw) throw nonFinite(this.who, flaw, reach);
  }

  /** Whether a write to it outlives the function that is watched: what is not kept does not. */
  private isState(x: Tensor): boolean {
    return x.isKept || !this.made.has(x.storage("detectAnomaly"));
  }
  /** Made by the function. */
  private readonly made = new WeakSet<Storage>();
  /** Notes tensors that an op is about to fill. */
  add(outputs: readonly Tensor[]): void {
    for (const x of outputs) this.made.add(x.storage("detectAnomaly"));
  }
}

let watch: Watch | null = null;

/** What looks at every op; null outside of detectAnomaly. */
export const currentWatch = (): Watch | null => watch;

/**
 * Runs f and looks at the result of every op, forward and backward. Where NaN or ±∞ reaches a result of f, a loss that backward is
 * called on, a gradient, or a write (an update, a running statistic, copyFrom), it throws, names the op that made it first, and the
 * line that called the op; of a gradient, the op that it is the gradient of. Parameters, optimizers' state, running statistics and
 * the random counter are then as they were before. What is masked out on the way does not count, such as −∞ among attention scores.
 * Compiled functions called inside run as with `{ finite: true }`. Slow: for finding faults.
 *
 * ```ts
 * detectAnomaly(() => optimizer.minimize(() => losses.mse(model.forward(x), y)));
 * // NonFiniteError: detectAnomaly: the gradient of sqrt, in div, made Infinity at train.ts:12:30 …
 * ```
 * @throws NonFiniteError
 */
export function detectAnomaly<T>(f: () => T): T {
  check("detectAnomaly", arguments, "f:function");
  return runFinite("detectAnomaly", f);
}

/** The same under another name. @internal */
export function runFinite<T>(who: string, f: () => T): T {
  const recorder = currentRecorder();
  if (recorder) recorder.finite?.();
  if (recorder || watch) return f();
  const own = new Watch(who);
  const journal = new Journal();
  watch = own;
  try {
    return withJournal("nonFinite", journal, () => {
      const result = f();
      requireSynchronous(who, result);
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
