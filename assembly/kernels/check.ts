/** Finds elements outside a range: invalid indices before they are used, and values that are not finite. */
import { Check } from "../layouts";
import { Status, Type } from "../opcodes";
import { double, word } from "../operands";

/** A mask of the int32 lanes whose values are in low … high or equal to `skip`. */
@inline
function inIntegers(v: v128, low: v128, high: v128, skip: v128): v128 {
  return v128.or(v128.and(i32x4.ge_s(v, low), i32x4.le_s(v, high)), i32x4.eq(v, skip));
}

/** A mask of the float32 lanes whose values are in low … high; NaN is never in range. */
@inline
function inFloats(v: v128, low: v128, high: v128): v128 {
  return v128.and(f32x4.ge(v, low), f32x4.le(v, high));
}

/** The position of the first of n int32 numbers that is neither in low … high nor equal to `skip`, or n if all pass. */
export function firstOutside(x: usize, n: u32, low: i32, high: i32, skip: i32): u32 {
  const l = i32x4.splat(low), h = i32x4.splat(high), s = i32x4.splat(skip);
  const whole = n & ~15;
  let i: u32 = 0;
  for (; i < whole; i += 16) {
    const at = x + (<usize>i << 2);
    const a = v128.and(inIntegers(v128.load(at), l, h, s), inIntegers(v128.load(at, 16), l, h, s));
    const b = v128.and(inIntegers(v128.load(at, 32), l, h, s), inIntegers(v128.load(at, 48), l, h, s));
    if (!i32x4.all_true(v128.and(a, b))) break;
  }
  for (; i < n; i++) {
    const v = load<i32>(x + (<usize>i << 2));
    if ((v < low || v > high) && v != skip) return i;
  }
  return n;
}

/** The position of the first of n float32 numbers that is not in low … high, or n if all pass. */
export function firstOutsideFloat(x: usize, n: u32, low: f32, high: f32): u32 {
  const l = f32x4.splat(low), h = f32x4.splat(high);
  const whole = n & ~15;
  let i: u32 = 0;
  for (; i < whole; i += 16) {
    const at = x + (<usize>i << 2);
    const a = v128.and(inFloats(v128.load(at), l, h), inFloats(v128.load(at, 16), l, h));
    const b = v128.and(inFloats(v128.load(at, 32), l, h), inFloats(v128.load(at, 48), l, h));
    if (!i32x4.all_true(v128.and(a, b))) break;
  }
  for (; i < n; i++) {
    const v = load<f32>(x + (<usize>i << 2));
    if (!(v >= low && v <= high)) return i;
  }
  return n;
}

/**
 * If an element is out of range, records the check's id and the element's position and value at `status` (layouts.ts:
 * Check). If several checks fail, the lowest id is kept, because eager mode would have failed at that check first.
 */
export function check(instruction: usize): void {
  const status = word(instruction, Check.status), id = word(instruction, Check.id), x = word(instruction, Check.x),
    n = word(instruction, Check.n);
  const low = double(instruction, Check.low), high = double(instruction, Check.high),
    skip = double(instruction, Check.skip);
  const known = load<u32>(status, Status.id);
  if (known && known <= id) return;
  const at = word(instruction, Check.type) == <u32>Type.Float32
    ? firstOutsideFloat(x, n, <f32>low, <f32>high)
    : firstOutside(x, n, <i32>low, <i32>high, <i32>skip);
  if (at >= n) return;
  store<u32>(status, at, Status.at);
  store<u32>(status, load<u32>(x + (<usize>at << 2)), Status.value);
  store<u32>(status, id, Status.id);
}
