/** An op that runs several pointwise ops over the same elements as one instruction. Only compile's passes create it. */
import { Block, Op } from "../../../assembly/opcodes.ts";
import { WordList } from "../../runtime/encoder.ts";
import { encodeChain } from "../../runtime/instructions.ts";
import type { AnyOp, OpDefinition } from "../definition/op.ts";
import type { Value } from "../definition/value.ts";

/** The number of bytes in a scratch block. All elements have 32 bits. */
const BLOCK_BYTES = 4 * Block.elements;

/** One op of a chain. */
export interface ChainPart {
  readonly op: AnyOp;
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly attributes: unknown;
}

export interface ChainAttributes {
  /** The number of elements. */
  readonly n: number;
  readonly parts: readonly ChainPart[];
  /** The index of the scratch block for a value that only the chain reads; undefined for other values. */
  readonly blockOf: (value: Value) => number | undefined;
  /** The number of scratch blocks in use. */
  readonly blocks: number;
}

/**
 * Runs several pointwise ops in sequence on one block of elements, then on the next block. Used only in compiled
 * functions.
 */
export const chainDefinition: OpDefinition<ChainAttributes> = {
  code: Op.Chain,
  name: "chain",
  cost: 0.25,
  infer: (_, { parts }) => parts.flatMap(({ outputs }) => outputs),
  flops: (_, __, { n, parts }) => n * parts.length,
  encode(encoder, { attributes: { parts, n, blockOf, blocks }, address }) {
    const bytes = blocks * BLOCK_BYTES;
    const scratch = encoder.workspace(bytes);
    const list = new WordList();
    const masks = parts.map(({ op, inputs, outputs, attributes }) => {
      const place = (value: Value): number => {
        const block = blockOf(value);
        return block === undefined ? address(value) : scratch + block * BLOCK_BYTES;
      };
      op.encode(list, { inputs, outputs, attributes, address: place });
      // Pointwise layouts begin with the output, followed by the inputs in order. Bit j of a mask says whether operand
      // j is in scratch memory.
      return [outputs[0]!, ...inputs].reduce((mask, x, j) => mask | (blockOf(x) === undefined ? 0 : 1 << j), 0);
    });
    encodeChain(encoder, { n, masks, scratch: bytes, instructions: list.words });
  },
};

/** Whether an instruction of this op can be part of a chain, given the values that it reads and writes. */
export function isChainable(op: AnyOp, inputs: readonly Value[], [out]: readonly Value[]): boolean {
  if (!op.chainable || !out?.size) return false;
  return inputs.every(
    (x) =>
      (x.shape.length === out.shape.length && x.shape.every((dim, i) => dim === out.shape[i])) ||
      (op.chainable === "scalar" && x.size === 1),
  );
}
