/** A recording made runnable: one arena, one list of instructions in linear memory, one call into WebAssembly. */
import { Head, type Op } from "../../assembly/opcodes.ts";
import { Storage } from "../memory.ts";
import type { Value } from "../ops/value.ts";
import { type Encoder, engine, kernels } from "../runtime/engine.ts";
import { TraceError } from "../runtime/errors.ts";
import type { Tensor } from "../tensor.ts";
import { plan, withoutDeadCode } from "./passes.ts";
import type { Recording, Step } from "./recording.ts";

/** Writes instructions one behind the other into a list of words. */
class ListEncoder implements Encoder {
  readonly words: number[] = [];
  instructions = 0;
  workspaceBytes = 0;
  private start = 0;
  private readonly bits = new DataView(new ArrayBuffer(8));

  constructor(private readonly workspaceAddress: number) {}
  begin(code: Op, words: number): void {
    this.start = this.words.length;
    for (let i = 0; i < words; i++) this.words.push(0);
    this.set(Head.code, code);
    this.set(Head.length, words);
    this.instructions++;
  }
  set(word: number, value: number): void {
    this.words[this.start + word] = value;
  }
  setFloat(word: number, value: number): void {
    this.bits.setFloat32(0, value, true);
    this.set(word, this.bits.getUint32(0, true));
  }
  setDouble(word: number, value: number): void {
    this.bits.setFloat64(0, value, true);
    this.set(word, this.bits.getUint32(0, true));
    this.set(word + 1, this.bits.getUint32(4, true));
  }
  end(): void {}
  workspace(bytes: number): number {
    this.workspaceBytes = Math.max(this.workspaceBytes, bytes);
    return this.workspaceAddress;
  }
}

export class Program {
  readonly steps: readonly Step[];
  readonly arenaBytes: number;
  readonly naiveBytes: number;
  private readonly memory: Storage[] = [];
  private readonly address: number;
  private readonly instructions: number;
  private readonly written: readonly Storage[];

  /** @param places real memory for symbolic values that outlive a call: inputs, results, gradients */
  constructor(
    private readonly recording: Recording<unknown>,
    places: ReadonlyMap<Storage, Tensor>,
  ) {
    this.steps = withoutDeadCode(recording.steps, new Set(places.keys()));
    const { offsets, bytes, naive } = plan(this.steps, new Set(places.keys()));
    this.arenaBytes = bytes;
    this.naiveBytes = naive;
    const arena = this.allocate(bytes);
    const addressIn = (step: Step) => (value: Value) => {
      const storage = step.storageOf.get(value as Tensor)!;
      if (!storage.symbolic) return storage.address;
      return places.get(storage)?.storage("compile").address ?? arena + offsets.get(storage)!;
    };
    const encode = (workspace: number): ListEncoder => {
      const encoder = new ListEncoder(workspace);
      for (const step of this.steps) step.op.encode(encoder, { ...step, address: addressIn(step) });
      return encoder;
    };
    // The first writing tells how much workspace is needed, the second knows where it is.
    const { words, instructions } = encode(this.allocate(encode(0).workspaceBytes));
    this.instructions = instructions;
    this.address = this.allocate(4 * words.length);
    engine().heap.u32.set(words, this.address / 4);
    this.written = this.steps.flatMap(({ op, inputs, storageOf }) =>
      (op.mutates ?? []).flatMap((i) => (inputs[i] ? [storageOf.get(inputs[i])!] : [])),
    );
  }

  private allocate(bytes: number): number {
    const storage = new Storage(bytes);
    this.memory.push(storage);
    return storage.address;
  }

  /** Runs the whole list: one crossing. @throws TraceError where a tensor that it uses was disposed */
  run(): void {
    for (const x of this.recording.captured) {
      if (x.isDisposed) {
        throw new TraceError(
          `compile: a ${x.dtype} tensor that the function used when it was recorded was disposed since. Compile it anew.`,
        );
      }
    }
    for (const storage of this.written) storage.version++;
    kernels().run!(this.address, this.instructions, 0, 1);
  }

  /** Frees the arena, the instructions, and what was retained for them. */
  dispose(): void {
    for (const storage of [...this.memory, ...this.recording.retained]) storage.release();
    this.memory.length = 0;
  }
}
