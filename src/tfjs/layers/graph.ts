/** Plans whole models: which layers run, in which order, and on which tensors. */
import type { Tensor } from "../../core/tensor.ts";
import { Error, quote } from "../../runtime/errors.ts";
import {
  type Config,
  type Layer,
  type Model,
  type Outputs,
  type Penalty,
  type Plan,
  reject,
  type SymbolicTensor,
  type Weight,
} from "./plan.ts";
import { rules } from "./rules.ts";

/**
 * A call to a layer. `inputs` are the numbers of the tensors that the layer takes; its results get the next free
 * numbers.
 */
interface Call {
  readonly name: string;
  readonly inputs: readonly number[];
}

const isModel = (layer: Layer): layer is Model => "outputs" in layer;

/** Plans a model. A layer that is used several times has only one plan. @throws Error if a layer or an option is not supported */
export function planOf(model: Model): Plan {
  const plans = new Map<Layer, Plan>();
  const plan = (layer: Layer): Plan => {
    const known = plans.get(layer);
    if (known) return known;
    const made = isModel(layer) ? planModel(layer, plan) : planLayer(layer, plan);
    plans.set(layer, made);
    return made;
  };
  return plan(model);
}

function planLayer(layer: Layer, plan: (inner: Layer) => Plan): Plan {
  const className = layer.getClassName();
  if (!Object.hasOwn(rules, className))
    reject(
      layer,
      "is of a class that is not supported",
      "Replace the layer, or train with TensorFlow.js on nabla's backend",
    );
  const config = layer.getConfig();
  const constrained = layer.weights.find(({ constraint }) => constraint);
  if (constrained)
    reject(
      layer,
      `has a constraint on ${constrained.originalName}`,
      "Create the layer without one, and clamp the weight after each step",
    );
  const variables = Object.fromEntries(layer.weights.map((v) => [v.originalName.split("/").pop()!, v]));
  const { weights = {}, layers = new Map(), run } = rules[className]!({ layer, config, variables, plan });
  return { className, weights, layers, calls: [...layers.keys()], penalties: penaltiesOf(layer, config, weights), run };
}

/** The layer's regularizers. TensorFlow.js ignores those of recurrent layers, whose `losses` are empty. */
function penaltiesOf(layer: Layer, config: object, weights: Plan["weights"]): Penalty[] {
  if (!layer.losses.length) return [];
  return Object.entries(config as Config).flatMap(([option, value]) => {
    const [, name] = /^(.*)Regularizer$/.exec(option) ?? [];
    if (!name || !value) return [];
    const { className, config: options } = value as Config;
    if (className !== "L1L2")
      reject(layer, `has the ${option} ${className}`, "Create the layer without one, and add the penalty to your loss");
    const isIts = ({ variable }: Weight): boolean =>
      [name, `${name}_kernel`].includes(variable.originalName.split("/").pop()!);
    // There may be no such weight: a layer without a bias can have a biasRegularizer.
    const weight = Object.keys(weights).find((own) => isIts(weights[own]!));
    return weight ? [{ weight, l1: options.l1, l2: options.l2 }] : [];
  });
}

function planModel(model: Model, plan: (inner: Layer) => Plan): Plan {
  if (!model.outputs.length)
    throw new Error(`fromLayersModel: model ${quote(model.name)} is not built. Give its first layer an inputShape.`);
  const layers = new Map<string, Plan>();
  const calls: Call[] = [];
  const numbers = new Map<SymbolicTensor, number>(model.inputs.map((x, i) => [x, i]));
  const visit = (y: SymbolicTensor): number => {
    const known = numbers.get(y);
    if (known !== undefined) return known;
    const inputs = y.inputs.map(visit);
    const layer = y.sourceLayer;
    const own = plan(layer);
    let { name } = layer;
    while ((layers.get(name) ?? own) !== own) name += "_";
    layers.set(name, own);
    calls.push({ name, inputs });
    const node = layer.inboundNodes.find(({ outputTensors }) => outputTensors.includes(y))!;
    for (const output of node.outputTensors) numbers.set(output, numbers.size);
    return numbers.get(y)!;
  };
  const outputs = model.outputs.map(visit);
  return {
    className: model.getClassName(),
    weights: {},
    layers,
    calls: calls.map(({ name }) => name),
    penalties: [],
    run(own, ...inputs): Outputs {
      const values: Tensor[] = [...inputs];
      for (const call of calls)
        values.push(...[own.layers[call.name]!.forward(...call.inputs.map((i) => values[i]!))].flat());
      return outputs.length === 1 ? values[outputs[0]!]! : outputs.map((i) => values[i]!);
    },
  };
}
