// A small transformer encoder: token ids [batch, length], where 0 is padding → probabilities of 3 classes. Its layers are written as
// TensorFlow exports them: layer normalization from elementary ops, GELU with erf, attention once with reshapes and once with Einsum.
import { Graph } from "./graph.mjs";

const T = "DT_FLOAT";
const [VOCABULARY, LENGTH, WIDTH, HEADS, CLASSES] = [40, 12, 24, 3, 3];
const HEAD = WIDTH / HEADS;

export function transformer() {
  const g = new Graph(2);
  const op = (type, name, inputs, attrs) => g.op(type, name, inputs, { T, ...attrs });
  const tokens = g.input("tokens", "DT_INT32", [-1, LENGTH]);
  const size = g.op("Shape", "shape", [tokens], { T: "DT_INT32", out_type: "DT_INT32" });
  const batch = g.op("StridedSlice", "batch", [size, [0], [1], [1]], {
    T: "DT_INT32",
    Index: "DT_INT32",
    shrink_axis_mask: 1,
  });
  /** Reshapes x to [batch, ...sizes]. */
  const reshape = (name, x, sizes) =>
    op("Reshape", name, [
      x,
      g.op("Pack", `${name}/shape`, [batch, ...sizes], { T: "DT_INT32", N: sizes.length + 1, axis: 0 }),
    ]);

  // 1 for tokens and 0 for padding; attention adds -10⁹ to the scores of padding.
  const isToken = g.op("NotEqual", "mask/not_equal", [tokens, 0], { T: "DT_INT32" });
  const mask = g.op("Cast", "mask", [isToken], { SrcT: "DT_BOOL", DstT: T });
  const padding = op("Sub", "mask/padding", [g.float("one", 1), mask]);
  const penalty = reshape("mask/penalty", op("Mul", "mask/scaled", [padding, g.float("large", -1e9)]), [1, 1, LENGTH]);

  const embedding = g.weight("embedding", [VOCABULARY, WIDTH], { fanIn: 3 });
  const gather = { Tparams: T, Tindices: "DT_INT32", Taxis: "DT_INT32", batch_dims: 0 };
  const embedded = g.op("GatherV2", "embedded", [embedding, tokens, 0], gather);
  let x = op("AddV2", "positioned", [embedded, g.weight("positions", [LENGTH, WIDTH], { fanIn: 30 })]);

  /** γ·(x − mean)/√(variance + ε) + β, as x·s + (β − mean·s) with s = γ/√(variance + ε). */
  function layerNorm(name, x) {
    const mean = op("Mean", `${name}/mean`, [x, [2]], { keep_dims: true });
    const difference = op("SquaredDifference", `${name}/difference`, [x, mean]);
    const variance = op("Mean", `${name}/variance`, [difference, [2]], { keep_dims: true });
    const rsqrt = op("Rsqrt", `${name}/rsqrt`, [
      op("AddV2", `${name}/add`, [variance, g.float(`${name}/epsilon`, 1e-3)]),
    ]);
    const s = op("Mul", `${name}/s`, [rsqrt, g.weight(`${name}/gamma`, [WIDTH], { mean: 1, fanIn: 30 })]);
    const offset = op("Sub", `${name}/offset`, [
      g.weight(`${name}/beta`, [WIDTH], { fanIn: 30 }),
      op("Mul", `${name}/shift`, [mean, s]),
    ]);
    return op("AddV2", name, [op("Mul", `${name}/product`, [x, s]), offset]);
  }

  /** ½·x·(1 + erf(x/√2)) */
  function gelu(name, x) {
    const erf = op("Erf", `${name}/erf`, [op("Mul", `${name}/scaled`, [x, g.float(`${name}/root`, Math.SQRT1_2)])]);
    const half = op("Mul", `${name}/half`, [x, g.float(`${name}/0.5`, 0.5)]);
    return op("Mul", name, [half, op("AddV2", `${name}/add`, [erf, g.float(`${name}/1`, 1)])]);
  }

  const bias = (name, n) => g.weight(`${name}/bias`, [n], { fanIn: 100 });
  /** x·W + b with all rows of the batch in one product. */
  function dense(name, x, inner, outer) {
    const rows = op("Reshape", `${name}/rows`, [x, [-1, inner]]);
    const y = op("MatMul", `${name}/product`, [rows, g.weight(`${name}/kernel`, [inner, outer])], {
      transpose_a: false,
      transpose_b: false,
    });
    return reshape(name, op("BiasAdd", `${name}/biased`, [y, bias(name, outer)], { data_format: "NHWC" }), [
      LENGTH,
      outer,
    ]);
  }

  const scale = g.float("scale", 1 / Math.sqrt(HEAD));
  const weightsOf = (name, scores) =>
    op("Softmax", `${name}/softmax`, [op("AddV2", `${name}/masked`, [scores, penalty])]);

  /** Attention with Reshape, Transpose and BatchMatMulV2. */
  function reshapedAttention(name, x) {
    const [q, k, v] = ["q", "k", "v"].map((part) => {
      const heads = reshape(`${name}/${part}/heads`, dense(`${name}/${part}`, x, WIDTH, WIDTH), [LENGTH, HEADS, HEAD]);
      return op("Transpose", `${name}/${part}/transposed`, [heads, [0, 2, 1, 3]], { Tperm: "DT_INT32" });
    });
    const products = op("BatchMatMulV2", `${name}/products`, [q, k], { adj_x: false, adj_y: true });
    const weights = weightsOf(name, op("Mul", `${name}/scores`, [products, scale]));
    const mixed = op("BatchMatMulV2", `${name}/mixed`, [weights, v], { adj_x: false, adj_y: false });
    const back = op("Transpose", `${name}/back`, [mixed, [0, 2, 1, 3]], { Tperm: "DT_INT32" });
    return dense(`${name}/out`, reshape(`${name}/joined`, back, [LENGTH, WIDTH]), WIDTH, WIDTH);
  }

  /** Attention as Keras' MultiHeadAttention exports it. */
  function einsumAttention(name, x) {
    const einsum = (part, equation, inputs) => op("Einsum", `${name}/${part}`, inputs, { equation, N: 2 });
    const [q, k, v] = ["q", "k", "v"].map((part) => {
      const kernel = g.weight(`${name}/${part}/kernel`, [WIDTH, HEADS, HEAD], { fanIn: WIDTH });
      const b = g.weight(`${name}/${part}/bias`, [HEADS, HEAD], { fanIn: 100 });
      return op("AddV2", `${name}/${part}`, [einsum(`${part}/einsum`, "abc,cde->abde", [x, kernel]), b]);
    });
    const scaled = op("Mul", `${name}/scaled`, [q, scale]);
    const weights = weightsOf(name, einsum("scores", "aecd,abcd->acbe", [k, scaled]));
    const mixed = einsum("mixed", "acbe,aecd->abcd", [weights, v]);
    const out = einsum("out/einsum", "abcd,cde->abe", [
      mixed,
      g.weight(`${name}/out/kernel`, [HEADS, HEAD, WIDTH], { fanIn: WIDTH }),
    ]);
    return op("AddV2", `${name}/out`, [out, bias(`${name}/out`, WIDTH)]);
  }

  [reshapedAttention, einsumAttention].forEach((attention, i) => {
    const name = `layer${i}`;
    x = op("AddV2", `${name}/attended`, [x, attention(`${name}/attention`, layerNorm(`${name}/norm`, x))]);
    const inner = gelu(`${name}/gelu`, dense(`${name}/up`, layerNorm(`${name}/norm2`, x), WIDTH, 2 * WIDTH));
    x = op("AddV2", `${name}/output`, [x, dense(`${name}/down`, inner, 2 * WIDTH, WIDTH)]);
  });
  const encoded = layerNorm("encoded", x);
  g.output("encoded", encoded);

  // The mean over tokens, without padding.
  const column = reshape("pool/mask", mask, [LENGTH, 1]);
  const sum = op("Sum", "pool/sum", [op("Mul", "pool/masked", [encoded, column]), [1]], { keep_dims: false });
  const count = op("Sum", "pool/count", [column, [1]], { keep_dims: false });
  const mean = op("RealDiv", "pool", [sum, count]);
  const logits = op("MatMul", "logits", [mean, g.weight("classifier", [WIDTH, CLASSES])], {
    transpose_a: false,
    transpose_b: false,
  });
  g.output("probabilities", op("Softmax", "probabilities", [logits]));
  g.output("score", g.op("Max", "score", [logits, [1]], { T, keep_dims: false }));
  return g;
}
