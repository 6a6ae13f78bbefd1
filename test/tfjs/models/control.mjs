// Control flow and results whose shape depends on values: a recurrent network as a While loop with tensor lists, an If, TensorFlow 1's
// Switch, Merge and loop frames, Where, and non-maximum suppression. Run the model with `executeAsync`, which control flow requires.
import { func, Graph } from "./graph.mjs";

const T = "DT_FLOAT";
const [STEPS, WIDTH] = [5, 4];
const LIST = { element_dtype: T, shape_type: "DT_INT32" };

/** h ← tanh(x·U + h·V) for each step x of the sequences [batch, steps, width] → [final h, all h: [steps, batch, width]]. */
function recurrent(g, sequences) {
  const types = [
    ["i", "DT_INT32"],
    ["h", T],
    ["steps", "DT_VARIANT"],
    ["states", "DT_VARIANT"],
  ];
  g.function("more", types, [["result", "DT_BOOL"]], (f) => {
    f.op("Less", "more/less", ["i", STEPS], { T: "DT_INT32" });
    return ["more/less:z:0"];
  });
  const results = types.map(([name, type]) => [`next_${name}`, type]);
  g.function("step", types, results, (f) => {
    const x = f.op("TensorListGetItem", "step/x", ["steps", "i", [-1, WIDTH]], LIST);
    const product = { T, transpose_a: false, transpose_b: false };
    const fromX = f.op("MatMul", "step/from_x", [x, f.weight("step/U", [WIDTH, WIDTH])], product);
    const fromH = f.op("MatMul", "step/from_h", ["h", f.weight("step/V", [WIDTH, WIDTH])], product);
    const h = f.op("Tanh", "step/tanh", [f.op("AddV2", "step/add", [fromX, fromH], { T })], { T });
    f.op("TensorListSetItem", "step/set", ["states", "i", h], LIST);
    f.op("AddV2", "step/i", ["i", 1], { T: "DT_INT32" });
    f.op("Identity", "step/steps", ["steps"], { T: "DT_VARIANT" });
    return ["step/i:z:0", "step/tanh:y:0", "step/steps:output:0", "step/set:output_handle:0"];
  });
  const order = g.op("Transpose", "steps/transposed", [sequences, [1, 0, 2]], { T, Tperm: "DT_INT32" });
  const steps = g.op("TensorListFromTensor", "steps", [order, [-1, WIDTH]], LIST);
  const states = g.op("TensorListReserve", "states", [[-1, WIDTH], STEPS], LIST);
  const first = g.op("StridedSlice", "first", [sequences, [0, 0, 0], [0, 1, 0], [1, 1, 1]], {
    T,
    Index: "DT_INT32",
    begin_mask: 0b101,
    end_mask: 0b101,
    shrink_axis_mask: 0b010,
  });
  const zeros = g.op("ZerosLike", "zeros", [first], { T });
  const loop = g.op("StatelessWhile", "loop", [0, zeros, steps, states], { cond: func("more"), body: func("step") });
  return [`${loop}:1`, g.op("TensorListStack", "stacked", [`${loop}:3`, [-1, WIDTH]], LIST)];
}

/** TensorFlow 1's loop: y ← y/2 + 1, three times. */
function frames(g, x) {
  const frame = { T, frame_name: "frame", is_constant: false };
  const enter = g.op("Enter", "v1/enter", [x], frame);
  const count = g.op("Enter", "v1/count", [0], { ...frame, T: "DT_INT32" });
  const y = g.op("Merge", "v1/merge", [enter, "v1/next"], { T, N: 2 });
  const i = g.op("Merge", "v1/merge_i", [count, "v1/next_i"], { T: "DT_INT32", N: 2 });
  const limit = g.op("Enter", "v1/limit", [3], { ...frame, T: "DT_INT32", is_constant: true });
  const more = g.op("LoopCond", "v1/more", [g.op("Less", "v1/less", [i, limit], { T: "DT_INT32" })]);
  const current = g.op("Switch", "v1/switch", [y, more], { T });
  const currentI = g.op("Switch", "v1/switch_i", [i, more], { T: "DT_INT32" });
  const one = g.op("Enter", "v1/one_in", [g.float("v1/one", 1)], { ...frame, is_constant: true });
  const half = g.op("Enter", "v1/half_in", [g.float("v1/half", 0.5)], { ...frame, is_constant: true });
  const oneI = g.op("Enter", "v1/one_i_in", [1], { ...frame, T: "DT_INT32", is_constant: true });
  const next = g.op("AddV2", "v1/add", [g.op("Mul", "v1/mul", [`${current}:1`, half], { T }), one], { T });
  g.op("NextIteration", "v1/next", [next], { T });
  g.op("NextIteration", "v1/next_i", [g.op("AddV2", "v1/add_i", [`${currentI}:1`, oneI], { T: "DT_INT32" })], {
    T: "DT_INT32",
  });
  return g.op("Exit", "v1/exit", [`${current}:0`], { T });
}

export function control() {
  const g = new Graph(3);
  const sequences = g.input("sequences", T, [-1, STEPS, WIDTH]);
  const boxes = g.input("boxes", T, [-1, 4]);
  const scores = g.input("scores", T, [-1]);

  const [h, states] = recurrent(g, sequences);
  g.output("states", states);

  const sum = g.op("Sum", "sum", [sequences, [0, 1, 2]], { T, keep_dims: false });
  const isPositive = g.op("Greater", "is_positive", [sum, g.float("zero", 0)], { T });
  const branch = (name, op, value) =>
    g.function(name, [["x", T]], [["result", T]], (f) => {
      f.op(op, `${name}/y`, ["x", f.float(`${name}/value`, value)], { T });
      return [`${name}/y:z:0`];
    });
  branch("doubled", "Mul", 2);
  branch("lowered", "Sub", 1);
  g.output(
    "either",
    g.op("StatelessIf", "either", [isPositive, h], { then_branch: func("doubled"), else_branch: func("lowered") }),
  );

  const sides = g.op("Switch", "sides", [h, isPositive], { T });
  const positive = g.op("Relu", "positive", [`${sides}:1`], { T });
  const negative = g.op("Neg", "negative", [`${sides}:0`], { T });
  g.output("merged", g.op("Merge", "merged", [negative, positive], { T, N: 2 }));
  g.output("looped", frames(g, h));

  const where = g.op("Where", "where", [g.op("Greater", "above", [h, g.float("bound", 0)], { T })], { T: "DT_BOOL" });
  g.output("where", where, "DT_INT32");
  g.output("above", g.op("GatherNd", "gathered", [h, where], { Tparams: T, Tindices: "DT_INT32" }));

  const [iou, lowest] = [g.float("iou", 0.5), g.float("lowest", 0.1)];
  const chosen = g.op("NonMaxSuppressionV3", "chosen", [boxes, scores, 10, iou, lowest], { T, T_threshold: T });
  const gather = { Tparams: T, Tindices: "DT_INT32", Taxis: "DT_INT32", batch_dims: 0 };
  g.output("chosen", g.op("GatherV2", "chosen/boxes", [boxes, chosen, 0], gather));
  return g;
}
