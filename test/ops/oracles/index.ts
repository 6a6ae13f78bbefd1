/** The oracles for all op codes. The type requires every code, so a missing oracle does not compile. */
import { Op } from "../../../assembly/opcodes.ts";
import type { OpDefinition } from "../../../src/ops/definition/op.ts";
import { activation } from "./activation.ts";
import { arithmetic } from "./arithmetic.ts";
import { attention } from "./attention.ts";
import { box } from "./box.ts";
import { conv } from "./conv.ts";
import { euclid } from "./euclid.ts";
import { folds } from "./fold.ts";
import { gathers } from "./gather.ts";
import { linalg } from "./linalg.ts";
import { matmul } from "./matmul.ts";
import { move } from "./move.ts";
import { norm } from "./norm.ts";
import type { AnyOracle, Oracle, TestedBy } from "./oracle.ts";
import { pool } from "./pool.ts";
import { recurrent } from "./recurrent.ts";
import { rows } from "./rows.ts";

const random: TestedBy = { testedBy: "test/ops/random.test.ts" };
const update: TestedBy = { testedBy: "test/optim/optimizers.test.ts" };
const quantized: TestedBy = { testedBy: "test/ops/quantized.test.ts" };
const widened: TestedBy = { testedBy: "test/ops/widen.test.ts" };

export const oracles: { readonly [code in Op]: AnyOracle | TestedBy } = {
  ...arithmetic,
  ...activation,
  ...move,
  ...box,
  ...gathers,
  ...folds,
  ...euclid,
  ...rows,
  ...norm,
  ...matmul,
  ...linalg,
  ...conv,
  ...pool,
  ...recurrent,
  ...attention,
  [Op.Uniform]: random,
  [Op.Normal]: random,
  [Op.Bernoulli]: random,
  [Op.RandomInteger]: random,
  [Op.RandomPermutation]: random,
  [Op.Advance]: update,
  [Op.Sgd]: update,
  [Op.Adam]: update,
  [Op.RmsProp]: update,
  [Op.Adagrad]: update,
  [Op.Lion]: update,
  [Op.Unique]: { testedBy: "test/ops/sparse.test.ts" },
  [Op.CachedAttention]: { testedBy: "test/nn/cache.test.ts" },
  [Op.Assign]: { testedBy: "test/core/tensor.test.ts" },
  [Op.QuantizeRows]: quantized,
  [Op.QuantizedMatmul]: quantized,
  [Op.Widen]: widened,
  [Op.WidenedMatmul]: widened,
  [Op.Chain]: { testedBy: "test/compile/passes.test.ts" },
  [Op.Check]: { testedBy: "test/compile/compile-checks.test.ts" },
};

/** An op's oracle, if it has one. */
export function oracleOf<A>({ code }: OpDefinition<A>): Oracle<A> | undefined {
  const found = oracles[code];
  return "testedBy" in found ? undefined : found;
}

/** Computes the op in float64. @throws Error if it has no oracle */
export function referenceOf<A>(
  op: OpDefinition<A>,
  ...call: Parameters<Oracle<A>["reference"]>
): ReturnType<Oracle<A>["reference"]> {
  const oracle = oracleOf(op);
  if (!oracle) throw new Error(`${op.name} has no oracle`);
  return oracle.reference(...call);
}

/** An op's samples; an empty list if it has no oracle. */
export const samplesOf = <A>(op: OpDefinition<A>): Oracle<A>["samples"] => oracleOf(op)?.samples ?? [];
