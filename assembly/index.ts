import { fma } from "./simd";
export function probe(p: usize): void {
  v128.store(p, fma(v128.load(p), v128.load(p, 16), v128.load(p, 32)));
}
