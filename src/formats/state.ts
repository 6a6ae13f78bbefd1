/** Saving a training and going on with it: the model, the optimizer, the schedule, the random numbers, in one safetensors file. */

import { tidy } from "../core/scope.ts";
import type { Tensor } from "../core/tensor.ts";
import type { Module, StateDict } from "../nn/module.ts";
import type { EMA } from "../optim/average.ts";
import { checked, type Loadable } from "../optim/loadable.ts";
import type { OptimizerState } from "../optim/optimizer.ts";
import { check } from "../runtime/arguments.ts";
import { randomState, setRandomState } from "../runtime/engine.ts";
import { RangeError, TypeError } from "../runtime/errors.ts";
import { describe, requireKind } from "../runtime/kinds.ts";
import { FormatError } from "./errors.ts";
import { readSafetensors, type VerifyOptions } from "./safetensors.ts";
import { writeSafetensors } from "./write.ts";

/** What has a state of a kind. */
interface Stateful<S> extends Loadable<S> {
  stateDict(): S;
}
/** A schedule: its state is of numbers. */
interface Scheduler {
  stateDict(): unknown;
  loadStateDict(state: never): void;
}

/** What a training consists of. */
export interface Training {
  /** The model that the state is loaded into. */
  readonly model?: Module;
  /** Any of nabla's: those of `nabla/gradients` too. */
  readonly optimizer?: Stateful<OptimizerState>;
  /** The schedule that the state is loaded into. */
  readonly scheduler?: Scheduler;
  /** A moving average of the weights. */
  readonly average?: EMA;
}

/** What else is saved with it. */
export interface Progress {
  /** How far it has come. Default 0. */
  readonly step?: number;
  /** Whatever JSON can hold. */
  readonly extra?: unknown;
}

/** Options of loadState. */
export interface LoadOptions extends VerifyOptions {
  /** Continues the random numbers where they were. Default true. */
  readonly random?: boolean;
}

/** The parts of a training, as arguments. */
const PARTS = "model:module|object optimizer:any scheduler:any average:any";

/** The metadata's entry, and what stands in it. */
const KEY = "nabla.training";
const VERSION = 1;
interface Notes {
  readonly version: number;
  readonly step: number;
  readonly random: readonly number[];
  /** For each parameter, or other part, the names of its state's tensors. */
  readonly optimizer?: { readonly groups: readonly object[]; readonly slots: readonly (readonly string[])[] };
  readonly scheduler?: unknown;
  readonly extra?: unknown;
}

/** JSON knows no infinities and no NaN: they are objects of one text. */
const NUMBER = "nabla.number";
const isSpelt = (value: unknown): value is { [NUMBER]: string } =>
  typeof value === "object" && value !== null && Object.keys(value).join() === NUMBER;
function spell(_: string, value: unknown): unknown {
  if (isSpelt(value))
    throw new TypeError(
      `saveState: extra has an object of "${NUMBER}" alone, which stands for a number. Name it otherwise.`,
    );
  return typeof value === "number" && !Number.isFinite(value) ? { [NUMBER]: String(value) } : value;
}
const read = (_: string, value: unknown): unknown => (isSpelt(value) ? Number(value[NUMBER]) : value);

const prefixed = (prefix: string, tensors: Readonly<Record<string, Tensor>>): [string, Tensor][] =>
  Object.entries(tensors).map(([name, tensor]) => [`${prefix}.${name}`, tensor]);

/**
 * A safetensors file with all that a training needs to go on as if it had not been interrupted, byte for byte: parameters and buffers
 * (`model.*`), the optimizer's options and state (`optimizer.*`), averages of weights (`average.*`), the schedule, the random numbers'
 * state, `step` and `extra`. A checksum in it lets loadState find damage.
 *
 * Functions under other names, such as the loss, are ignored. Any other property is refused: it would not be saved.
 *
 * ```ts
 * writeFileSync("training.safetensors", saveState({ model, optimizer, step }));
 * ```
 * @throws TypeError for what has no stateDict(), FormatError where `extra` is too large (16 MiB)
 */
export function saveState(training: Training & Progress): Uint8Array<ArrayBuffer> {
  check("saveState", arguments, `{${PARTS} step:number extra:any ...}`);
  requireKind("saveState", "training", "object", training);
  const { model, optimizer, scheduler, average, step = 0, extra } = training;
  if (!Number.isFinite(step)) throw new RangeError(`saveState: step is ${step}, but must be a number.`);
  requireStateful("saveState", { model, optimizer, scheduler, average });
  // Some optimizers make their state's tensors for this.
  return tidy(() => {
    const { groups, state } = optimizer?.stateDict() ?? { groups: [], state: [] };
    const notes: Notes = {
      version: VERSION,
      step,
      random: Array.from(randomState()),
      ...(optimizer && { optimizer: { groups, slots: state.map((slots) => Object.keys(slots).sort()) } }),
      ...(scheduler && { scheduler: scheduler.stateDict() }),
      ...(extra !== undefined && { extra }),
    };
    const tensors = [
      ...prefixed("model", model?.stateDict() ?? {}),
      ...state.flatMap((slots, i) => prefixed(`optimizer.${i}`, slots)),
      ...prefixed("average", average?.stateDict() ?? {}),
    ];
    const metadata = { format: "pt", [KEY]: written(notes) };
    return writeSafetensors(Object.fromEntries(tensors), metadata, { checksum: true });
  });
}

/** @throws TypeError if JSON cannot hold `extra` */
function written(notes: Notes): string {
  try {
    return JSON.stringify(notes, spell);
  } catch (error) {
    if (error instanceof TypeError) throw error;
    throw new TypeError("saveState: extra holds a BigInt or contains itself, which JSON cannot. Leave it out.", {
      cause: error,
    });
  }
}

function notesOf(metadata: Readonly<Record<string, string>>): Notes {
  const text = metadata[KEY];
  if (text === undefined)
    throw new FormatError(
      "loadState: the file was not written by saveState. Load weights alone with model.loadStateDict(readSafetensors(file).tensors).",
    );
  const malformed = (): FormatError => new FormatError("loadState: what the file says of the training is not whole.");
  let notes: Notes | null;
  try {
    notes = JSON.parse(text, read) as Notes | null;
  } catch {
    throw malformed();
  }
  if (notes?.version !== VERSION)
    throw new FormatError(`loadState: the file is of version ${notes?.version}, but ${VERSION} is read here.`);
  const { step, random, optimizer } = notes;
  const isWord = (word: unknown): boolean =>
    Number.isInteger(word) && (word as number) >= 0 && (word as number) < 2 ** 32;
  const isWhole =
    Number.isFinite(step) &&
    Array.isArray(random) &&
    random.length === 4 &&
    random.every(isWord) &&
    (!optimizer ||
      (Array.isArray(optimizer.groups) &&
        optimizer.groups.every((group) => typeof group === "object" && group !== null) &&
        Array.isArray(optimizer.slots) &&
        optimizer.slots.every(Array.isArray)));
  if (!isWhole) throw malformed();
  return notes;
}

/** What `prefixed` put together: the tensors by their own names. */
const unprefixed = (prefix: string, tensors: StateDict): StateDict =>
  Object.fromEntries(
    Object.entries(tensors).flatMap(([name, tensor]) =>
      name.startsWith(`${prefix}.`) ? [[name.slice(prefix.length + 1), tensor]] : [],
    ),
  );

function optimizerState({ optimizer }: Notes, tensors: StateDict): OptimizerState {
  if (!optimizer)
    throw new FormatError("loadState: the file has no optimizer. Leave it out, or save it with saveState.");
  const state = optimizer.slots.map((slots, i) =>
    Object.fromEntries(
      slots.map((slot) => {
        const name = `optimizer.${i}.${slot}`;
        if (!Object.hasOwn(tensors, name)) throw new FormatError(`loadState: the file lacks ${name}.`);
        return [slot, tensors[name]!];
      }),
    ),
  );
  return { groups: optimizer.groups, state };
}

/** @throws TypeError where one has no state */
function requireStateful(name: string, parts: Readonly<Record<string, object | undefined>>): void {
  for (const part of Object.values(parts) as (Partial<Stateful<unknown>> | undefined)[])
    if (part && !(typeof part.stateDict === "function" && typeof part.loadStateDict === "function"))
      throw new TypeError(
        `${name}: ${describe(part)} has no stateDict() and loadStateDict(), so it cannot be saved. Leave it out.`,
      );
}

/**
 * Restores what saveState wrote, into a model and an optimizer made as they were then. If the file is damaged or does not fit, nothing
 * changes; only a custom loadStateDict is not checked beforehand. States without a checksum load too.
 * @throws FormatError if the file is malformed, damaged, or lacks something; ShapeError or Error if it does not fit
 */
export function loadState(
  file: Uint8Array | ArrayBuffer,
  training: Training & LoadOptions,
): {
  /** The step at which the state was saved. */
  step: number;
  /** What was saved as extra. */
  extra: unknown;
} {
  check("loadState", arguments, `file:bytes {${PARTS} random:boolean verify:boolean ...}`);
  requireKind("loadState", "training", "object", training);
  const { model, optimizer, scheduler, average, random = true, verify = true } = training;
  requireStateful("loadState", { model, optimizer, scheduler, average });
  return tidy(() => {
    const { tensors, metadata } = readSafetensors(file, { verify });
    const notes = notesOf(metadata);
    const saved = optimizer && optimizerState(notes, tensors);
    if (scheduler && notes.scheduler === undefined)
      throw new FormatError("loadState: the file has no schedule. Leave it out, or save it with saveState.");
    const averages = unprefixed("average", tensors);
    if (average && !Object.keys(averages).length)
      throw new FormatError("loadState: the file has no averages. Leave them out, or save them with saveState.");
    // The optimizer comes after the schedule, which sets rates: they may have been changed since.
    const takes = [
      checked(scheduler as Stateful<unknown> | undefined, notes.scheduler),
      checked(model, unprefixed("model", tensors)),
      checked(optimizer, saved!),
      checked(average, averages),
    ];
    for (const take of takes) take();
    if (random) setRandomState(notes.random);
    return { step: notes.step, extra: notes.extra };
  });
}
