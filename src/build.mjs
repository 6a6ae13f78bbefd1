// Emits dist/ as tsconfig.build.json says, without what only tests and docs read of the op table: oracles, samples, descriptions.
import ts from "typescript";

const LEFT_OUT = new Set(["reference", "samples", "sample", "doc", "forward64", "backward64"]);

/** Drops those properties from the object literals of src/ops; what only they used falls to any bundler. */
const withoutOracles = (context) => (file) => {
  if (!/[\\/]src[\\/]ops[\\/]/.test(file.fileName)) return file;
  const visit = (node) => {
    const visited = ts.visitEachChild(node, visit, context);
    if (!ts.isObjectLiteralExpression(visited)) return visited;
    const kept = visited.properties.filter(({ name }) => !(name && LEFT_OUT.has(name.text)));
    return ts.factory.updateObjectLiteralExpression(visited, kept);
  };
  return ts.visitEachChild(file, visit, context);
};

const host = { ...ts.sys, onUnRecoverableConfigFileDiagnostic: (diagnostic) => report([diagnostic]) };
function report(diagnostics) {
  if (!diagnostics.length) return;
  console.error(ts.formatDiagnosticsWithColorAndContext(diagnostics, ts.createCompilerHost({})));
  process.exit(1);
}
const config = ts.getParsedCommandLineOfConfigFile("tsconfig.build.json", {}, host);
report(config.errors);
const program = ts.createProgram(config.fileNames, config.options);
report(ts.getPreEmitDiagnostics(program));
program.emit(undefined, undefined, undefined, false, { before: [withoutOracles] });
