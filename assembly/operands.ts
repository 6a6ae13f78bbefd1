/** Reading the operands of an instruction at `at`: `index` is a member of its layout (layouts.ts, layerLayouts.ts). */

@inline
export function word(at: usize, index: i32): u32 { return load<u32>(at + (<usize>index << 2)); }

@inline
export function float(at: usize, index: i32): f32 { return load<f32>(at + (<usize>index << 2)); }

@inline
export function double(at: usize, index: i32): f64 { return load<f64>(at + (<usize>index << 2)); }
