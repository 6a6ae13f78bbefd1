/** Reads the examples and the options of a training request. */
import { type BodyType, JSON_TYPE } from "../core/content.ts";
import { Problem } from "../core/problems.ts";
import {
  acceptArrays,
  acceptParameters,
  type FullSpec,
  isObject,
  nestingOf,
  TRAINING_PARAMETERS,
  type TrainingParameters,
} from "../core/schema.ts";
import { type Body, type Elements, readTensors } from "../core/tensors.ts";

/** The examples of a request, and how to train on them. */
export interface Examples {
  readonly inputs: Elements;
  readonly targets: Elements;
  readonly parameters: TrainingParameters;
}

interface ExampleLimits {
  readonly batch: number;
  readonly epochs: number;
  readonly batchSize: number;
}

/** Returns a function that parses bodies. For an invalid body, the function throws a Problem 400, 413 or 422. */
export function exampleReader(
  specs: { readonly input: FullSpec; readonly target: FullSpec },
  limits: ExampleLimits,
): (type: BodyType, bytes: Uint8Array) => Examples {
  const nesting = nestingOf([specs.input, specs.target], limits.batch);
  return (type, bytes) => {
    const body = readTensors(type, bytes, nesting, splitJson);
    const [inputs, targets] = [
      elementsOf(body, "inputs", specs.input, type, limits.batch),
      elementsOf(body, "targets", specs.target, type, limits.batch),
    ];
    const [n, m] = [inputs.shape[0]!, targets.shape[0]!];
    if (n !== m)
      throw new Problem(422, `"inputs" has ${n} examples, but "targets" has ${m}. Send one target for each input.`);
    return { inputs, targets, parameters: acceptParameters(parametersOf(body.options), limits) };
  };
}

/** Separates the arrays of a JSON body from its options. */
function splitJson(json: unknown) {
  const { epochs, batchSize, shuffle, lr, ...arrays } = isObject(json) ? json : {};
  const body = isObject(json) ? arrays : json;
  return {
    arrays: acceptArrays(["inputs", "targets"], body, TRAINING_PARAMETERS),
    options: { epochs, batchSize, shuffle, lr },
  };
}

/** @throws Problem 422 for a single example without a batch dimension, or for a number that is not finite */
function elementsOf(body: Body, name: string, spec: FullSpec, type: BodyType, batch: number): Elements {
  const { single, ...elements } = body.elements(name, spec, batch);
  if (single) throw new Problem(422, `"${name}" must be an array of examples, got a single example.`);
  // JSON cannot represent NaN or infinities, but safetensors files can.
  const wrong = type === JSON_TYPE ? -1 : elements.values.findIndex((value) => value - value !== 0);
  if (wrong >= 0) {
    const example = Math.floor((wrong * elements.shape[0]!) / elements.values.length);
    throw new Problem(422, `"${name}[${example}]" must contain finite numbers, got ${elements.values[wrong]}.`);
  }
  return elements;
}

/** Extracts the training parameters from options. A file's metadata holds them as text, and may have other entries. */
function parametersOf(options: Readonly<Record<string, unknown>>): object {
  const sent = TRAINING_PARAMETERS.filter((key) => Object.hasOwn(options, key) && options[key] !== undefined);
  return Object.fromEntries(sent.map((key) => [key, parseText(options[key])]));
}

function parseText(value: unknown): unknown {
  if (typeof value !== "string") return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}
