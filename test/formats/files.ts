/** Files, streams and leak checks that the safetensors tests share. */
import { memory, ones, type Tensor } from "nabla";
import { afterEach, beforeEach } from "vitest";

/**
 * A file with the given header and `bytes` zeros. The header is text, or a value that is written as JSON. `length` replaces the correct
 * header length.
 */
export function fileOf(header: unknown, bytes = 0, length?: bigint): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + json.length + bytes);
  new DataView(file.buffer).setBigUint64(0, length ?? BigInt(json.length), true);
  file.set(json, 8);
  return file;
}

/** A stream of the bytes in chunks. The sizes of the chunks cycle through `sizes`. */
export function inChunks(bytes: Uint8Array<ArrayBuffer>, ...sizes: number[]): ReadableStream<Uint8Array<ArrayBuffer>> {
  let [at, turn] = [0, 0];
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      const next = at + sizes[turn++ % sizes.length]!;
      controller.enqueue(bytes.slice(at, next));
      at = next;
    },
  });
}

/**
 * Registers hooks that dispose the tensors that a test passes to `own`. `leaked` returns the tensors and bytes in use beyond those at the
 * start of the test.
 */
export function trackTensors() {
  const made: Tensor[] = [];
  let before: ReturnType<typeof memory>;
  beforeEach(() => {
    ones([1]).dispose();
    before = memory();
  });
  afterEach(() => {
    for (const x of made.splice(0)) x.dispose();
  });
  return {
    own<T extends Record<string, Tensor>>(tensors: T): T {
      made.push(...Object.values(tensors));
      return tensors;
    },
    leaked: () => ({ tensors: memory().tensors - before.tensors, bytes: memory().bytes - before.bytes }),
  };
}
