/**
 * Access to the words of the record at `at`: an instruction (layouts.ts, layerLayouts.ts) or a kernel's own record, such as
 * Phase in convPhase.ts. `index` is a member of the record's layout.
 */

@inline
export function word(at: usize, index: i32): u32 { return load<u32>(at + (<usize>index << 2)); }

@inline
export function float(at: usize, index: i32): f32 { return load<f32>(at + (<usize>index << 2)); }

@inline
export function double(at: usize, index: i32): f64 { return load<f64>(at + (<usize>index << 2)); }

@inline
export function setWord(at: usize, index: i32, value: u32): void { store<u32>(at + (<usize>index << 2), value); }
