/** Softmax and cross-entropy of rows, along the last dim. */
import { Op } from "../../../assembly/opcodes.ts";
import { DTypeError, ShapeError } from "../../runtime/errors.ts";
import {
  type CrossEntropyCode,
  type CrossEntropyGradCode,
  encodeCrossEntropy,
  encodeCrossEntropyGrad,
  encodeSoftmax,
  encodeSoftmaxGrad,
  type SoftmaxCode,
  type SoftmaxGradCode,
} from "../../runtime/instructions.ts";
import { apply, applyAll, type OpDefinition, type Operand } from "../definition/op.ts";
import { normalizeDim, requireType, type Shape, sameShape, show, type Value } from "../definition/value.ts";
import { labelCheck, oneHotOrZeros } from "../index/gather.ts";
import { mul, neg, sub } from "../pointwise/arithmetic.ts";
import { eq, ne, where } from "../pointwise/comparison.ts";
import { exp } from "../pointwise/exponential.ts";
import { abs } from "../pointwise/extremes.ts";
import { logicalAnd } from "../pointwise/logical.ts";
import { float } from "../pointwise/pointwise.ts";
import { unsqueeze } from "../shape/reshape.ts";
import { transpose } from "../shape/shape.ts";
import { sum } from "./reduce.ts";

const lastDim = (x: { shape: Shape }): number => x.shape[x.shape.length - 1] ?? 1;

/** The properties in which row ops differ. */
interface RowEntry<Code, Rule> {
  code: Code;
  name: string;
  vjp: Rule;
}

function rowOp({ code, name, vjp }: RowEntry<SoftmaxCode, (dy: Value, y: Value) => Value>): OpDefinition<null> {
  return {
    code,
    name,
    cost: 1.6,
    saves: "output",
    inPlace: [0],
    infer: ([x]) => [{ shape: x!.shape, dtype: "float32" }],
    encode(encoder, { inputs: [x], outputs: [out], address }) {
      const n = lastDim(x!);
      encodeSoftmax(encoder, code, { out: address(out!), x: address(x!), rows: n ? x!.size / n : 0, n });
    },
    vjp: (dy, { outputs: [y] }) => [vjp(dy, y!)],
  };
}

function rowGrad({
  code,
  name,
  vjp,
}: RowEntry<SoftmaxGradCode, (d: Value, dy: Value, y: Value) => [Value, Value]>): OpDefinition<null> {
  return {
    code,
    name,
    cost: 0.5,
    saves: "input",
    inPlace: [0, 1],
    infer: ([dy]) => [{ shape: dy!.shape, dtype: "float32" }],
    encode(encoder, { inputs: [dy, y], outputs: [out], address }) {
      const n = lastDim(y!);
      const rows = n ? y!.size / n : 0;
      encodeSoftmaxGrad(encoder, code, { out: address(out!), dy: address(dy!), y: address(y!), rows, n });
    },
    vjp: (d, { inputs: [dy, y] }) => vjp(d, dy!, y!),
  };
}

const rowSum = (x: Value): Value => sum(x, -1, { keepdim: true });
/** x, but with 0 in every row whose weights are all 0. Such rows are ignored, even if they contain NaN or ±∞. */
const counted = (weights: Value, x: Value): Value => where(eq(rowSum(abs(weights)), 0), 0, x);

/** eˣ/Σeˣ along the last dim, without overflow. dx = y(dy − Σ dy·y). */
const softmaxDefinition = rowOp({
  code: Op.Softmax,
  name: "softmax",
  vjp: (dy, y) => softmaxGrad(dy, y),
});
/** y(dy − Σ dy·y). */
const softmaxGradDefinition = rowGrad({
  code: Op.SoftmaxGrad,
  name: "softmaxGrad",
  // The gradient with respect to dy is the same op, applied to d. With respect to y, it is d·(dy − s) − dy·Σ d·y, where
  // s = Σ dy·y.
  vjp(d, dy, y) {
    const seen = counted(dy, y);
    return [
      apply(softmaxGradDefinition, [d, y], null),
      sub(mul(d, sub(dy, rowSum(mul(dy, seen)))), mul(dy, rowSum(mul(d, seen)))),
    ];
  },
});
/** dx = y(dy − Σ dy·y) along the last dim, where y = softmax(x). */
export const softmaxGrad = (dy: Value, y: Value): Value => apply(softmaxGradDefinition, [dy, y], null);
/** x − log Σeˣ along the last dim. dx = dy − eʸ·Σ dy. */
const logSoftmaxDefinition = rowOp({
  code: Op.LogSoftmax,
  name: "logSoftmax",
  vjp: (dy, y) => apply(logSoftmaxGradDefinition, [dy, y], null),
});
/** dy − eʸ·Σ dy. */
const logSoftmaxGradDefinition = rowGrad({
  code: Op.LogSoftmaxGrad,
  name: "logSoftmaxGrad",
  vjp: (d, dy, y) => [sub(d, rowSum(mul(d, exp(y)))), neg(mul(mul(d, exp(counted(dy, y))), rowSum(dy)))],
});

/** Applies a row op along any dimension. */
function along(definition: OpDefinition<null>, x: Operand, dim: number): Value {
  const v = float(x);
  if (!v.shape.length) return along(definition, unsqueeze(v, 0), 0);
  const at = normalizeDim(definition.name, dim, v.shape.length);
  return transpose(apply(definition, [transpose(v, at, -1)], null), at, -1);
}

/**
 * eˣᵢ / Σⱼ eˣʲ along `dim`, computed without overflow. The results are positive and add up to 1. With y = softmax(x),
 * dx = y(dy − Σ dy·y).
 *
 * x: any shape → the same shape, float32.
 *
 * @param dim The dim along which the results add up to 1. Default -1.
 * @throws ShapeError if the dim does not exist
 * @example
 * ```ts
 * const x = tensor([[1, 2, 3]]);
 * x.softmax().toArray(); // [[0.09, 0.2447, 0.6652]]
 * ```
 * @op
 */
export function softmax(x: Operand, dim = -1): Value {
  return along(softmaxDefinition, x, dim);
}

/**
 * x − log Σⱼ eˣʲ along `dim`: the logarithm of softmax(x), without underflow. With y = logSoftmax(x), dx = dy − eʸ·Σ
 * dy.
 *
 * x: any shape → the same shape, float32.
 *
 * @param dim The dim along which the probabilities add up to 1. Default -1.
 * @throws ShapeError if the dim does not exist
 * @example
 * ```ts
 * const x = tensor([0, 1000]);
 * x.logSoftmax().toArray(); // [-1000, 0]
 * ```
 * @op
 */
export function logSoftmax(x: Operand, dim = -1): Value {
  return along(logSoftmaxDefinition, x, dim);
}

export interface CrossEntropyAttributes {
  readonly ignoreIndex: number;
}

/** −log softmax(logits), but 0 where it is not finite and the target is 0, as in the loss. */
function costs(logits: Value, target: Value): Value {
  const logP = logSoftmax(logits);
  return neg(where(logicalAnd(eq(target, 0), ne(mul(logP, 0), 0)), 0, logP));
}

function crossEntropyOp(
  code: CrossEntropyCode,
  gradCode: CrossEntropyGradCode,
  name: string,
  infer: (logits: Value, target: Value) => void,
  checks: OpDefinition<CrossEntropyAttributes>["checks"],
  /** Converts the target to probabilities, with zeros in ignored rows. */
  probabilities: (logits: Value, target: Value, attributes: CrossEntropyAttributes) => Value,
): {
  forward: OpDefinition<CrossEntropyAttributes>;
  grad: OpDefinition<CrossEntropyAttributes>;
} {
  const forward: OpDefinition<CrossEntropyAttributes> = {
    code,
    name,
    cost: 1.5,
    saves: "both",
    infer([logits, target]) {
      requireType(name, logits!, "float32", "logits");
      infer(logits!, target!);
      return [
        { shape: [logits!.shape[0]!], dtype: "float32" },
        { shape: [logits!.shape[0]!, 2], dtype: "float32" },
      ];
    },
    ...(checks ? { checks } : {}),
    encode(encoder, { inputs: [logits, target], outputs: [loss, lse], attributes, address }) {
      const [rows, classes] = logits!.shape as [number, number];
      encodeCrossEntropy(encoder, code, {
        loss: address(loss!),
        lse: address(lse!),
        logits: address(logits!),
        target: address(target!),
        rows,
        classes,
        ignoreIndex: attributes.ignoreIndex,
      });
    },
    vjp: (dy, { inputs: [logits, target], outputs: [, lse], attributes, needs }) => [
      needs[0] ? apply(grad, [dy, logits!, target!, lse!], attributes) : null,
      // For probabilities t, dL/dt = lse − logits.
      needs[1] ? mul(costs(logits!, target!), unsqueeze(dy, -1)) : null,
    ],
  };
  const grad: OpDefinition<CrossEntropyAttributes> = {
    code: gradCode,
    name: `${name}Grad`,
    cost: 1.5,
    saves: "input",
    // The gradient for probabilities reads the logits twice, so it must not overwrite them.
    inPlace: gradCode === Op.CrossEntropyGrad ? [1] : [],
    infer: ([, logits]) => [{ shape: logits!.shape, dtype: "float32" }],
    encode(encoder, { inputs: [dy, logits, target, lse], outputs: [out], attributes, address }) {
      const [rows, classes] = logits!.shape as [number, number];
      encodeCrossEntropyGrad(encoder, gradCode, {
        out: address(out!),
        dy: address(dy!),
        logits: address(logits!),
        target: address(target!),
        lse: address(lse!),
        rows,
        classes,
        ignoreIndex: attributes.ignoreIndex,
      });
    },
    vjp(d, { inputs: [dy, logits, target], attributes, needs }) {
      // out = dy·(s·m − t), where s = softmax(logits) and m = Σ t. Rows without a target are ignored, even if their
      // logits are NaN or ±∞.
      const t = probabilities(logits!, target!, attributes);
      const m = rowSum(t);
      const s = softmax(counted(t, logits!));
      const scaled = mul(unsqueeze(dy!, -1), d);
      return [
        needs[0] ? sum(mul(d, sub(mul(s, m), t)), -1) : null,
        needs[1] ? mul(m, apply(softmaxGradDefinition, [scaled, s], null)) : null,
        needs[2] ? sub(rowSum(mul(scaled, s)), scaled) : null,
        null,
      ];
    },
  };
  return { forward, grad };
}

/** log Σ exp(logits) − logits[label] for each row, and 0 where label = ignoreIndex. dx = dy·(softmax − onehot). */
const hard = crossEntropyOp(
  Op.CrossEntropy,
  /** dy·(softmax(logits)·Σ target − target) for each row. `lse` is the second output of the forward op. */
  Op.CrossEntropyGrad,
  "crossEntropy",
  (logits, labels) => {
    requireType("crossEntropy", labels, "int32", "target");
    if (logits.shape.length !== 2 || labels.shape.length !== 1 || labels.shape[0] !== logits.shape[0]) {
      throw new ShapeError(
        `crossEntropy: labels must be [batch] and logits [batch, classes], got ${show(labels.shape)} and ${show(logits.shape)}.`,
      );
    }
  },
  ([logits], { ignoreIndex }) => [labelCheck(1, logits!.shape, ignoreIndex)],
  (logits, labels, { ignoreIndex }) => {
    const t = oneHotOrZeros(labels, logits.shape[1]!);
    return ignoreIndex < 0 ? t : mul(t, unsqueeze(ne(labels, ignoreIndex), -1));
  },
);
/**
 * Σ target·(log Σ exp(logits) − logits) for each row, skipping the classes with target 0. dx = dy·(softmax·Σ target −
 * target).
 */
const soft = crossEntropyOp(
  Op.SoftCrossEntropy,
  /** dy·(softmax(logits)·Σ target − target) for each row. `lse` is the second output of the forward op. */
  Op.SoftCrossEntropyGrad,
  "crossEntropy",
  (logits, target) => {
    requireType("crossEntropy", target, "float32", "target");
    if (logits.shape.length !== 2 || !sameShape(logits.shape, target.shape)) {
      throw new ShapeError(
        `crossEntropy: probabilities ${show(target.shape)} must have the shape of logits ${show(logits.shape)}, [batch, classes].`,
      );
    }
  },
  undefined,
  (_, target) => target,
);

/**
 * The cross-entropy of each row of logits [batch, classes], given int32 labels [batch] or float32 probabilities [batch,
 * classes]. Returns [batch].
 * @throws ShapeError, DTypeError, RangeError if a label is not one of the classes
 */
export function crossEntropyRows(logits: Value, target: Value, ignoreIndex = -100): Value {
  if (target.dtype !== "int32" && target.dtype !== "float32") {
    throw new DTypeError(
      `crossEntropy: the target must be int32 labels or float32 probabilities, got ${target.dtype}. Convert it with .to(…).`,
    );
  }
  return applyAll(target.dtype === "int32" ? hard.forward : soft.forward, [logits, target], { ignoreIndex })[0]!;
}

export const rowDefinitions = {
  softmax: softmaxDefinition,
  softmaxGrad: softmaxGradDefinition,
  logSoftmax: logSoftmaxDefinition,
  logSoftmaxGrad: logSoftmaxGradDefinition,
  crossEntropy: hard.forward,
  crossEntropyGrad: hard.grad,
  softCrossEntropy: soft.forward,
  softCrossEntropyGrad: soft.grad,
};
