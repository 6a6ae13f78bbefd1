/** A small module that shows whether V8 combines pairs of vectors. V8 can combine only one of two loops with the same additions. */

/** The number of sums. The single sums fit into V8's 15 vector registers, and their 7 pairs still hide the latency of an addition. */
const SUMS = 14;

const leb128 = (n: number): number[] => (n < 128 ? [n] : [(n & 127) | 128, ...leb128(n >>> 7)]);
const section = (id: number, ...body: number[]): number[] => [id, ...leb128(body.length), ...body];

/**
 * The code of f(steps, x), which adds x to each sum twice per step. The sums are loaded from, and stored to, addresses that are `gap`
 * bytes apart. V8 combines sums that are stored side by side.
 */
function loop(gap: number): number[] {
  const forEachSum = (code: (at: number[], local: number) => number[]): number[] =>
    Array.from({ length: SUMS }, (_, i) => code(leb128(gap * i), 2 + i)).flat();
  // local = f32x4.add(local, f32x4.splat(x))
  const add = forEachSum((_, local) => [32, local, 32, 1, 253, 19, 253, 228, 1, 33, local]);
  const code = [
    ...[1, SUMS, 123],
    ...forEachSum((at, local) => [65, 0, 253, 0, 4, ...at, 33, local]),
    // loop … local 0 −= 1, br_if
    ...[3, 64, ...add, ...add, 32, 0, 65, 1, 107, 34, 0, 13, 0, 11],
    ...forEachSum((at, local) => [65, 0, 32, local, 253, 11, 4, ...at]),
    11,
  ];
  return [...leb128(code.length), ...code];
}

type Loop = (steps: number, x: number) => void;

/** Compiles the loops: `paired` stores its sums side by side, and `single` leaves gaps. */
export function pairProbe(): { readonly paired: Loop; readonly single: Loop } {
  const bytes = [
    ...[0, 97, 115, 109, 1, 0, 0, 0],
    ...section(1, 1, 96, 2, 127, 125, 0),
    ...section(3, 2, 0, 0),
    ...section(5, 1, 0, 1),
    // The exports "a" and "b".
    ...section(7, 2, 1, 97, 0, 0, 1, 98, 0, 1),
    ...section(10, 2, ...loop(16), ...loop(32)),
  ];
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(bytes)));
  return { paired: exports.a as Loop, single: exports.b as Loop };
}
