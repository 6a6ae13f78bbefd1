/**
 * Encoders write instructions: the encoder of eager mode runs each instruction immediately, and the encoder of a
 * compiled function appends it to a list.
 */
import { Head, type Op } from "../../assembly/opcodes.ts";
import { engine, execute } from "./engine.ts";
import { RangeError } from "./errors.ts";
import { type Heap, SCRATCH, SCRATCH_WORDS } from "./heap.ts";

/**
 * Writes instructions. `begin` opens an instruction, the `set…` methods (called by instructions.ts) write its words,
 * and `end` closes it. Call `workspace` before `begin`, because `workspace` may grow the memory.
 */
export interface Encoder {
  /** The number of shares into which each of the next instructions is divided; 1 if they are not divided. */
  shares: number;
  begin(code: Op, words: number): void;
  set(word: number, value: number): void;
  setFloat(word: number, value: number): void;
  setDouble(word: number, value: number): void;
  end(): void;
  /** Returns the address of scratch memory for the next instruction, with `bytesPerShare` bytes for each share. */
  workspace(bytesPerShare: number): number;
}

const double = new Float64Array(1);
const doubleWords = new Uint32Array(double.buffer);
const float = new Float32Array(1);
const floatWord = new Uint32Array(float.buffer);

/** The bits of a number after its conversion to float32. */
export function bitsOf(value: number): number {
  float[0] = value;
  return floatWord[0]!;
}

/** The first word of an instruction. */
const headOf = (code: Op, shares: number): number => (shares > 1 ? code | (shares << Head.shares) : code);

/** The encoder of eager mode: each instruction runs as soon as it is closed. */
class Immediate implements Encoder {
  shares = 1;
  private heap: Heap | undefined;
  private scratch = 0;
  private scratchBytes = 0;

  begin(code: Op, words: number): void {
    if (words > SCRATCH_WORDS)
      throw new RangeError(`an instruction must have at most ${SCRATCH_WORDS} words, got ${words}.`);
    this.set(Head.code, headOf(code, this.shares));
    this.set(Head.length, words);
  }
  set(word: number, value: number): void {
    engine().heap.u32[SCRATCH / 4 + word] = value;
  }
  setFloat(word: number, value: number): void {
    engine().heap.f32[SCRATCH / 4 + word] = value;
  }
  setDouble(word: number, value: number): void {
    double[0] = value;
    engine().heap.u32.set(doubleWords, SCRATCH / 4 + word);
  }
  end(): void {
    execute(SCRATCH, 1, this.shares > 1);
  }
  workspace(bytesPerShare: number): number {
    const { heap } = engine();
    const bytes = bytesPerShare * this.shares;
    if (heap !== this.heap) {
      this.heap = heap;
      this.scratchBytes = 0;
    }
    if (bytes > this.scratchBytes) {
      const scratch = heap.allocate(bytes);
      if (this.scratchBytes) heap.release(this.scratch, this.scratchBytes);
      this.scratch = scratch;
      this.scratchBytes = bytes;
    }
    return this.scratch;
  }
}

/** Appends instructions to a list of words, to run later. */
export class WordList implements Encoder {
  readonly words: number[] = [];
  /** The position at which each instruction begins. */
  readonly starts: number[] = [];
  workspaceBytes = 0;
  shares = 1;
  private start = 0;

  /** @param workspaceAddress the address of scratch memory that all instructions share, at least `workspaceBytes` bytes */
  constructor(private readonly workspaceAddress = 0) {}
  begin(code: Op, words: number): void {
    this.start = this.words.length;
    this.starts.push(this.start);
    for (let i = 0; i < words; i++) this.words.push(0);
    this.set(Head.code, headOf(code, this.shares));
    this.set(Head.length, words);
  }
  set(word: number, value: number): void {
    this.words[this.start + word] = value;
  }
  setFloat(word: number, value: number): void {
    this.set(word, bitsOf(value));
  }
  setDouble(word: number, value: number): void {
    double[0] = value;
    this.set(word, doubleWords[0]!);
    this.set(word + 1, doubleWords[1]!);
  }
  end(): void {}
  workspace(bytesPerShare: number): number {
    this.workspaceBytes = Math.max(this.workspaceBytes, bytesPerShare * this.shares);
    return this.workspaceAddress;
  }
}

export const immediate: Encoder = new Immediate();

/** Writes instructions to SCRATCH without running them, for kernels that read operands from there. */
class Draft extends Immediate {
  override end(): void {}
}

export const draft: Encoder = new Draft();

/** Calls `write` with encoder.shares = 1, for instructions that are too small to divide. */
export function encodeAlone(encoder: Encoder, write: () => void): void {
  const { shares } = encoder;
  encoder.shares = 1;
  write();
  encoder.shares = shares;
}
