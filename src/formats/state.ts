/** Saves and restores a training run in one safetensors file: model, optimizer, schedule, averages and random numbers. */

import { tidy } from "../core/scope.ts";
import type { Tensor } from "../core/tensor.ts";
import type { Module, StateDict } from "../nn/module.ts";
import type { EMA } from "../optim/average.ts";
import { checkLoad, type Loadable } from "../optim/loadable.ts";
import type { OptimizerState } from "../optim/optimizerState.ts";
import { check } from "../runtime/arguments.ts";
import { randomState, setRandomState } from "../runtime/engine.ts";
import { RangeError, TypeError } from "../runtime/errors.ts";
import { describe, requireKind } from "../runtime/kinds.ts";
import { FormatError } from "./errors.ts";
import { readSafetensors, type VerifyOptions } from "./safetensors.ts";
import { writeSafetensors } from "./write.ts";

/** An object that saves and loads a state of type S. */
interface Stateful<S> extends Loadable<S> {
  stateDict(): S;
}
/** A schedule, whose state must be a JSON value. */
interface Scheduler {
  stateDict(): unknown;
  loadStateDict(state: never): void;
}

/** The parts of a training run. */
export interface Training {
  /** The model. Default: none. */
  readonly model?: Module;
  /** The optimizer, from `optim` or from `nabla/gradients`. Default: none. */
  readonly optimizer?: Stateful<OptimizerState>;
  /** The learning-rate schedule. Default: none. */
  readonly scheduler?: Scheduler;
  /** The moving average of the weights. Default: none. */
  readonly average?: EMA;
}

/** Values that saveState stores with the parts, and that loadState returns. */
export interface Progress {
  /** The number of steps taken. Default 0. */
  readonly step?: number;
  /** Any JSON value, which may contain NaN and ±Infinity. Default: none. */
  readonly extra?: unknown;
}

/** Options for loadState. */
export interface LoadOptions extends VerifyOptions {
  /** Whether to restore the state of the random generator. Default true. */
  readonly random?: boolean;
}

/** The parts of a training run, as options in a signature for `check` (runtime/arguments.ts). */
const PARTS = "model:module|object optimizer:any scheduler:any average:any";

/** The metadata entry that holds everything except the tensors. */
const KEY = "nabla.training";
const VERSION = 1;
interface TrainingRecord {
  readonly version: number;
  readonly step: number;
  readonly random: readonly number[];
  /** The options, and the names of the state tensors for each parameter (or other part). */
  readonly optimizer?: { readonly groups: readonly object[]; readonly slots: readonly (readonly string[])[] };
  readonly scheduler?: unknown;
  readonly extra?: unknown;
}

/** JSON has no infinities and no NaN. They are encoded as objects such as { [NUMBER]: "NaN" }. */
const NUMBER = "nabla.number";
const isEncoded = (value: unknown): value is { [NUMBER]: string } =>
  typeof value === "object" && value !== null && Object.keys(value).join() === NUMBER;
function encodeNumber(_: string, value: unknown): unknown {
  if (isEncoded(value))
    throw new TypeError(
      `saveState: extra contains an object whose only key is "${NUMBER}", which is reserved. Use another key.`,
    );
  return typeof value === "number" && !Number.isFinite(value) ? { [NUMBER]: String(value) } : value;
}
const decodeNumber = (_: string, value: unknown): unknown => (isEncoded(value) ? Number(value[NUMBER]) : value);

const addPrefix = (prefix: string, tensors: Readonly<Record<string, Tensor>>): [string, Tensor][] =>
  Object.entries(tensors).map(([name, tensor]) => [`${prefix}.${name}`, tensor]);

/**
 * Writes a safetensors file from which training resumes with byte-identical results: parameters and buffers (`model.*`), the optimizer's
 * options and state (`optimizer.*`), averages of weights (`average.*`), the schedule, the state of the random generator, `step` and
 * `extra`. A checksum lets loadState detect damage.
 *
 * Functions under other names, such as the loss, are ignored. For any other property, saveState throws, because the
 * property would not be saved.
 *
 * ```ts
 * writeFileSync("training.safetensors", saveState({ model, optimizer, step }));
 * ```
 * @throws TypeError if a part has no stateDict(), or JSON cannot represent `extra`; RangeError if step is not finite; FormatError if `extra`
 * exceeds 16 MiB
 */
export function saveState(training: Training & Progress): Uint8Array<ArrayBuffer> {
  check("saveState", arguments, `{${PARTS} step:number extra:any ...}`);
  requireKind("saveState", "training", "object", training);
  const { model, optimizer, scheduler, average, step = 0, extra } = training;
  if (!Number.isFinite(step)) throw new RangeError(`saveState: step must be a finite number, got ${step}.`);
  requireStateful("saveState", { model, optimizer, scheduler, average });
  // Free the tensors that some optimizers create for their state dict.
  return tidy(() => {
    const { groups, state } = optimizer?.stateDict() ?? { groups: [], state: [] };
    const record: TrainingRecord = {
      version: VERSION,
      step,
      random: Array.from(randomState()),
      ...(optimizer && { optimizer: { groups, slots: state.map((slots) => Object.keys(slots).sort()) } }),
      ...(scheduler && { scheduler: scheduler.stateDict() }),
      ...(extra !== undefined && { extra }),
    };
    const tensors = [
      ...addPrefix("model", model?.stateDict() ?? {}),
      ...state.flatMap((slots, i) => addPrefix(`optimizer.${i}`, slots)),
      ...addPrefix("average", average?.stateDict() ?? {}),
    ];
    const metadata = { format: "pt", [KEY]: encode(record) };
    return writeSafetensors(Object.fromEntries(tensors), metadata, { checksum: true });
  });
}

/** @throws TypeError if JSON cannot represent `extra` */
function encode(record: TrainingRecord): string {
  try {
    return JSON.stringify(record, encodeNumber);
  } catch (error) {
    if (error instanceof TypeError) throw error;
    throw new TypeError("saveState: extra contains a BigInt or a cycle, which JSON cannot represent. Remove it.", {
      cause: error,
    });
  }
}

/** @throws FormatError if the entry is missing or malformed, or has a different version */
function decodeRecord(metadata: Readonly<Record<string, string>>): TrainingRecord {
  const text = metadata[KEY];
  if (text === undefined)
    throw new FormatError(
      "loadState: the file was not written by saveState. Load weights with model.loadStateDict(readSafetensors(file).tensors).",
    );
  const malformedError = (): FormatError => new FormatError(`loadState: the metadata entry "${KEY}" is malformed.`);
  let record: TrainingRecord | null;
  try {
    record = JSON.parse(text, decodeNumber) as TrainingRecord | null;
  } catch {
    throw malformedError();
  }
  if (record?.version !== VERSION)
    throw new FormatError(
      `loadState: the file has version ${record?.version}, but this release reads version ${VERSION}.`,
    );
  const { step, random, optimizer } = record;
  const isWord = (word: unknown): boolean =>
    Number.isInteger(word) && (word as number) >= 0 && (word as number) < 2 ** 32;
  const isValid =
    Number.isFinite(step) &&
    Array.isArray(random) &&
    random.length === 4 &&
    random.every(isWord) &&
    (!optimizer ||
      (Array.isArray(optimizer.groups) &&
        optimizer.groups.every((group) => typeof group === "object" && group !== null) &&
        Array.isArray(optimizer.slots) &&
        optimizer.slots.every(Array.isArray)));
  if (!isValid) throw malformedError();
  return record;
}

/** The inverse of addPrefix: selects the tensors whose names have this prefix, and removes the prefix. */
const removePrefix = (prefix: string, tensors: StateDict): StateDict =>
  Object.fromEntries(
    Object.entries(tensors).flatMap(([name, tensor]) =>
      name.startsWith(`${prefix}.`) ? [[name.slice(prefix.length + 1), tensor]] : [],
    ),
  );

function optimizerState({ optimizer }: TrainingRecord, tensors: StateDict): OptimizerState {
  if (!optimizer)
    throw new FormatError("loadState: the file has no optimizer. Omit optimizer, or pass it to saveState too.");
  const state = optimizer.slots.map((slots, i) =>
    Object.fromEntries(
      slots.map((slot) => {
        const name = `optimizer.${i}.${slot}`;
        if (!Object.hasOwn(tensors, name)) throw new FormatError(`loadState: the file has no tensor "${name}".`);
        return [slot, tensors[name]!];
      }),
    ),
  );
  return { groups: optimizer.groups, state };
}

/** @throws TypeError if a part has no state */
function requireStateful(name: string, parts: Readonly<Record<string, object | undefined>>): void {
  for (const [key, part] of Object.entries(parts) as [string, Partial<Stateful<unknown>> | undefined][])
    if (part && !(typeof part.stateDict === "function" && typeof part.loadStateDict === "function"))
      throw new TypeError(
        `${name}: ${key} must have stateDict() and loadStateDict(), got ${describe(part)}. Omit it, or add these methods.`,
      );
}

/**
 * Restores a training run from a file that saveState wrote. Create the model, the optimizer and the other parts as before, and
 * pass them. Checks everything before it changes a part, so an error changes nothing. The exception is a part with its own
 * loadStateDict, which cannot be checked in advance. Files without a checksum can be loaded too.
 *
 * ```ts
 * const { step } = loadState(readFileSync("training.safetensors"), { model, optimizer });
 * ```
 * @returns the saved `step` and `extra`
 * @throws FormatError if the file is malformed, damaged, or lacks a part; ShapeError or Error if a part does not match the file
 */
export function loadState(
  file: Uint8Array | ArrayBuffer,
  training: Training & LoadOptions,
): {
  /** The step at which the state was saved. */
  step: number;
  /** The value that was saved as `extra`. */
  extra: unknown;
} {
  check("loadState", arguments, `file:bytes {${PARTS} random:boolean verify:boolean ...}`);
  requireKind("loadState", "training", "object", training);
  const { model, optimizer, scheduler, average, random = true, verify = true } = training;
  requireStateful("loadState", { model, optimizer, scheduler, average });
  return tidy(() => {
    const { tensors, metadata } = readSafetensors(file, { verify });
    const record = decodeRecord(metadata);
    const saved = optimizer && optimizerState(record, tensors);
    if (scheduler && record.scheduler === undefined)
      throw new FormatError("loadState: the file has no schedule. Omit scheduler, or pass it to saveState too.");
    const averages = removePrefix("average", tensors);
    if (average && !Object.keys(averages).length)
      throw new FormatError("loadState: the file has no averages. Omit average, or pass it to saveState too.");
    // Load the optimizer after the schedule: its saved rates are right even if they were changed after the schedule set them.
    const loads = [
      checkLoad(scheduler as Stateful<unknown> | undefined, record.scheduler),
      checkLoad(model, removePrefix("model", tensors)),
      checkLoad(optimizer, saved!),
      checkLoad(average, averages),
    ];
    for (const load of loads) load();
    if (random) setRandomState(record.random);
    return { step: record.step, extra: record.extra };
  });
}
