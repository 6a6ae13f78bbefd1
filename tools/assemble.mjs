// Assembles the text of a module, and reads the sections of the result.
import binaryen from "binaryen";

/** Exports that src, tests or benchmarks call by name. All other exports are removed. */
export const CALLED =
  /^(run|step|serve|lead|firstOutsideFloat|gemm|rowStep|colStep|fmaCeiling|\w+Workspace|exp|tanh|sigmoid|gelu|relu|add|mul|softmax|sum)$/;

/**
 * Assembles a module, and removes the exports that nothing calls: assembly/ exports every kernel so that asc does not inline it into its
 * dispatcher. Returns its bytes and the names of its functions.
 */
export function assemble(wat) {
  const module = binaryen.parseText(wat);
  module.setFeatures(binaryen.Features.All);
  if (!module.validate())
    throw new Error(
      "the rewritten module is not valid. Check tools/hoist.mjs and tools/order.mjs against the text in build/.",
    );
  const exported = Array.from(
    { length: module.getNumExports() },
    (_, i) => binaryen.getExportInfo(module.getExportByIndex(i)).name,
  );
  for (const name of exported) if (!CALLED.test(name)) module.removeExport(name);
  module.runPasses(["remove-unused-module-elements"]);
  const functions = Array.from({ length: module.getNumFunctions() }, (_, i) =>
    binaryen.getFunctionInfo(module.getFunctionByIndex(i)),
  );
  const bytes = module.emitBinary();
  module.dispose();
  return { bytes, names: functions.filter((one) => !one.module).map(({ name }) => name) };
}

/** Returns an object that reads LEB128 numbers and bytes from a part of a module. */
export function readerOf(part) {
  let at = 0;
  return {
    get isAtEnd() {
      return at >= part.length;
    },
    bytes(count) {
      at += count;
      return part.subarray(at - count, at);
    },
    number() {
      let value = 0;
      for (let shift = 0, more = true; more; shift += 7) {
        const byte = part[at++];
        value |= (byte & 127) << shift;
        more = byte > 127;
      }
      return value >>> 0;
    },
  };
}

/** The sections of a module: their ids and their bytes. */
export function sectionsOf(bytes) {
  const reader = readerOf(bytes.subarray(8));
  const sections = [];
  while (!reader.isAtEnd) {
    const [id] = reader.bytes(1);
    sections.push({ id, body: reader.bytes(reader.number()) });
  }
  return sections;
}
