/** tools/streams.mjs splits WebAssembly modules into streams, and assembly/streams.ts joins them. */
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import binaryen from "binaryen";
import { expect, test } from "vitest";
import { joinStreams, splitModule } from "../../tools/streams.mjs";

const gzippedSize = (bytes: Uint8Array): number => gzipSync(bytes, { level: 9 }).length;

/** A module with one instruction of every kind that has immediates. */
const EVERY_KIND = `(module
  (import "env" "memory" (memory 1 100 shared))
  (type $unary (func (param i32) (result i32)))
  (table 2 2 funcref)
  (elem (i32.const 0) $f $f)
  (func $f (type $unary) (local $a i64) (local $b f32) (local $c v128) (local $d f64)
    (local.set $a (i64.const -1234567890123))
    (local.set $b (f32.const 1.5))
    (local.set $d (f64.const -0.1))
    (local.set $c (v128.const i32x4 1 2 3 0x40000000))
    (local.set $c (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 31 (local.get $c) (local.get $c)))
    (local.set $c (v128.load32_lane offset=8 2 (local.get 0) (local.get $c)))
    (local.set $c (v128.load64_zero offset=300 align=4 (local.get 0)))
    (local.set $c (f32x4.replace_lane 3 (local.get $c) (local.get $b)))
    (v128.store align=1 (local.get 0) (local.get $c))
    (i32.store16 offset=70000 align=1 (local.get 0) (i32.const -70000))
    (memory.copy (local.get 0) (i32.const 1) (memory.size))
    (memory.fill (local.get 0) (i32.const 1) (memory.grow (i32.const 0)))
    (atomic.fence)
    (drop (i32.atomic.rmw.add offset=4 (local.get 0) (i32.const 1)))
    (block $outer (block $inner (loop $again
      (br_if $again (local.get 0))
      (br_table $again $inner $outer (i32.trunc_sat_f64_s (local.get $d))))))
    (if (result i32) (local.get 0)
      (then (call_indirect (type $unary) (i32.const 3) (i32.const 0)))
      (else (call $f (i32.const 4)))))
  (func (export "f") (param i32) (result i32) (local.get 0)))`;

test("modules with every kind of immediate are restored", () => {
  const module = binaryen.parseText(EVERY_KIND);
  module.setFeatures(binaryen.Features.All);
  expect(module.validate()).toBe(1);
  const bytes = module.emitBinary();
  module.dispose();
  expect(joinStreams(splitModule(bytes))).toEqual(Uint8Array.from(bytes));
});

test.each(["simd", "relaxed"])("the %s build is restored, and its streams are a fifth smaller after gzip", (build) => {
  const bytes = readFileSync(`build/${build}.wasm`);
  const streams = splitModule(bytes);
  expect(Buffer.from(joinStreams(streams)).equals(bytes)).toBe(true);
  expect(gzippedSize(streams)).toBeLessThan(0.8 * gzippedSize(bytes));
});

test("a module that would not be restored is refused", () => {
  // The last byte makes the module's only section end early.
  const header = [0, 97, 115, 109, 1, 0, 0, 0];
  expect(() => splitModule(Uint8Array.from([...header, 10, 7, 1, 0x84, 0, 0, 0x01, 0x01, 11]))).toThrow(
    "splitModule: the streams",
  );
});
