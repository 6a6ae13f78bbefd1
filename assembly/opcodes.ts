/**
 * Op codes and operand layouts: the one place that both sides of the boundary read (compiled by asc and by tsc).
 *
 * An instruction is a run of 32-bit words:  [code, length in words, operands …]. Operands are addresses (bytes),
 * sizes (elements), floats (bits of an f32) or flags. The enums below name the word of each operand, per family.
 */

/** What a gemm applies to each element of C last; all are differentiable from their output alone. */
export const enum Activation { None, Relu, Tanh, Sigmoid }
