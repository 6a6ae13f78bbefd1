// Assembles the text of a module.
import binaryen from "binaryen";

/** Exports that src, tests or benchmarks call by name. All others are removed. */
const CALLED =
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
