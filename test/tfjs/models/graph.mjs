// Writes TensorFlow graphs in the format of tfjs-converter's `tf.loadGraphModel`: model.json and weights.bin.

/** A floating-point attribute. Plain numbers are integer attributes. */
export const float = (f) => ({ f });
/** A shape, as an attribute. */
export const shape = (sizes) => ({ shape: { dim: sizes.map((size) => ({ size: String(size) })) } });
/** The name of a function in the graph's library, as an attribute. */
export const func = (name) => ({ func: { name } });

const isType = (value) => typeof value === "string" && value.startsWith("DT_");
const base64 = (text) => Buffer.from(text).toString("base64");

/** An attribute as TensorFlow writes it in JSON. */
function attribute(value) {
  if (typeof value === "boolean") return { b: value };
  if (typeof value === "number") return { i: String(value) };
  if (isType(value)) return { type: value };
  if (typeof value === "string") return { s: base64(value) };
  if (!Array.isArray(value)) return value;
  return { list: typeof value[0] === "string" ? { s: value.map(base64) } : { i: value.map(String) } };
}
const attributes = (values) => Object.fromEntries(Object.entries(values).map(([name, v]) => [name, attribute(v)]));

/** Numbers in [-1, 1) from a linear congruential generator (Numerical Recipes). */
export function uniform(seed) {
  let state = seed;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 31 - 1;
}
const sizeOf = (sizes) => sizes.reduce((a, b) => a * b, 1);

/** Nodes in the order in which they are added. A node's inputs are the names of earlier nodes, or arrays and numbers, which become constants. */
class Nodes {
  list = [];
  constructor(weights, random) {
    this.weights = weights;
    this.random = random;
  }

  /** Adds a node and returns its name. */
  op(op, name, inputs, attrs = {}) {
    const input = inputs.map((one, i) => (typeof one === "string" ? one : this.constant(`${name}/${i}`, one)));
    this.list.push({ name, op, ...(input.length && { input }), attr: attributes(attrs) });
    return name;
  }

  /** Adds a constant: int32 unless `dtype` says otherwise. */
  constant(name, values, { sizes = Array.isArray(values) ? [values.length] : [], dtype = "int32" } = {}) {
    const type = dtype === "int32" ? "DT_INT32" : "DT_FLOAT";
    const tensor = { dtype: type, tensorShape: shape(sizes).shape };
    this.list.push({ name, op: "Const", attr: { dtype: { type }, value: { tensor } } });
    this.weights.push({ name, shape: sizes, dtype, values: [values].flat() });
    return name;
  }
  /** Adds a float32 constant. */
  float(name, values, sizes) {
    return this.constant(name, values, { dtype: "float32", ...(sizes && { sizes }) });
  }
  /**
   * Weights around `mean`, whose spread suits sums of `fanIn` terms (default: the product of all sizes but the last).
   */
  weight(name, sizes, { mean = 0, fanIn = sizeOf(sizes.slice(0, -1)) } = {}) {
    const spread = Math.sqrt(3 / fanIn);
    return this.float(
      name,
      Array.from({ length: sizeOf(sizes) }, () => mean + spread * this.random()),
      sizes,
    );
  }
}

const argument = ([name, type]) => ({ name, type });

export class Graph extends Nodes {
  inputs = {};
  outputs = {};
  functions = [];

  constructor(seed) {
    super([], uniform(seed));
  }

  /** A placeholder; -1 stands for any size. */
  input(name, type, sizes) {
    this.inputs[name] = { name: `${name}:0`, dtype: type, tensorShape: shape(sizes).shape };
    return this.op("Placeholder", name, [], { dtype: type, shape: shape(sizes) });
  }
  output(name, node, type = "DT_FLOAT") {
    this.outputs[name] = { name: node.includes(":") ? node : `${node}:0`, dtype: type };
  }

  /**
   * Adds a function to the library. `parameters` and `results` are lists of [name, type]; `build` adds nodes and returns the results'
   * names, which end in ":output:0".
   */
  function(name, parameters, results, build) {
    const body = new Nodes(this.weights, this.random);
    const returned = build(body);
    this.functions.push({
      signature: { name, inputArg: parameters.map(argument), outputArg: results.map(argument) },
      nodeDef: body.list,
      ret: Object.fromEntries(results.map(([result], i) => [result, returned[i]])),
    });
  }

  /** The bytes of both files. */
  files() {
    const bytes = this.weights.map(({ dtype, values }) => {
      const { buffer } = dtype === "int32" ? Int32Array.from(values) : Float32Array.from(values);
      return Buffer.from(buffer);
    });
    const model = {
      format: "graph-model",
      generatedBy: "test/tfjs/models/make.mjs",
      signature: { inputs: this.inputs, outputs: this.outputs },
      modelTopology: {
        node: this.list,
        ...(this.functions.length && { library: { function: this.functions } }),
        versions: { producer: 1482 },
      },
      weightsManifest: [
        {
          paths: ["weights.bin"],
          weights: this.weights.map(({ name, shape, dtype }) => ({ name, shape, dtype })),
        },
      ],
    };
    return { "model.json": `${JSON.stringify(model)}\n`, "weights.bin": Buffer.concat(bytes) };
  }
}
