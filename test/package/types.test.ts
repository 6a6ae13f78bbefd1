/** The declarations that users get: a strict program compiles against them, and they compile themselves. */
import ts from "typescript";
import { expect, test } from "vitest";

test("a strict user's program compiles against dist, without skipLibCheck", () => {
  const program = ts.createProgram(["test/package/consumer.ts"], {
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    noEmit: true,
    types: [],
    target: ts.ScriptTarget.ES2022,
    lib: ["lib.es2022.d.ts", "lib.esnext.disposable.d.ts", "lib.dom.d.ts"],
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
  });
  const declarations = program.getSourceFiles().map((file) => file.fileName);
  expect(declarations.some((name) => name.endsWith("dist/src/index.d.ts"))).toBe(true);
  const problems = ts.getPreEmitDiagnostics(program).map((d) => ts.flattenDiagnosticMessageText(d.messageText, "\n"));
  expect(problems).toEqual([]);
});
