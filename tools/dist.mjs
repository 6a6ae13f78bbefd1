// Compiles src, bench, cli and examples to dist/ (tsconfig.build.json), and copies AssemblyScript's loader there, so that browsers
// can load dist/src without a bundler.
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { licences } from "./licences.mjs";

const LOADER = "@assemblyscript/loader";

/** Drops class fields without an initializer, except in src/nn, where these fields determine the order of a module's parameters. */
const withoutEmptyFields = (context) => (file) => {
  if (/[\\/]src[\\/]nn[\\/]/.test(file.fileName)) return file;
  const isEmpty = (node) =>
    ts.isPropertyDeclaration(node) && ts.isIdentifier(node.name) && !node.initializer && !node.modifiers?.length;
  const visit = (node) => (isEmpty(node) ? undefined : ts.visitEachChild(node, visit, context));
  return ts.visitEachChild(file, visit, context);
};

/**
 * Writes a compiled file, with imports of the loader redirected to the copy. Removes the helper that tsc wraps around `import(id)`: the
 * helper hides the call's comments from bundlers, and its top-level `this` makes bundlers warn.
 */
function write(path, text, ...rest) {
  const plain = text
    .replace(/^var __rewriteRelativeImportExtension = [\s\S]*?^};\n/m, "")
    .replace(/__rewriteRelativeImportExtension\(([^()]*)\)/g, "$1")
    .replace(`from "${LOADER}"`, 'from "./loader.js"');
  compiler.writeFile(path, plain, ...rest);
}

const host = { ...ts.sys, onUnRecoverableConfigFileDiagnostic: (diagnostic) => report([diagnostic]) };
function report(diagnostics) {
  if (!diagnostics.length) return;
  console.error(ts.formatDiagnosticsWithColorAndContext(diagnostics, ts.createCompilerHost({})));
  process.exit(1);
}
const config = ts.getParsedCommandLineOfConfigFile("tsconfig.build.json", {}, host);
report(config.errors);
const compiler = ts.createCompilerHost(config.options);
const program = ts.createProgram(config.fileNames, config.options, compiler);
report(ts.getPreEmitDiagnostics(program));
// Remove earlier output first, because the package would otherwise include output from deleted sources.
for (const folder of ["src", "assembly", "bench", "cli", "examples"])
  rmSync(`dist/${folder}`, { recursive: true, force: true });
program.emit(undefined, write, undefined, false, { after: [withoutEmptyFields] });

/** Copies the loader next to load.js, below a comment that bundlers keep, and writes its licence beside it. */
function copyLoader() {
  const source = fileURLToPath(import.meta.resolve(LOADER));
  const { name, version, license, author } = JSON.parse(readFileSync(join(dirname(source), "package.json"), "utf8"));
  const notice = `/*! ${name} ${version} by ${author}. ${license} licence: https://www.apache.org/licenses/LICENSE-2.0 */\n`;
  writeFileSync("dist/src/runtime/loader.js", notice + readFileSync(source, "utf8"));
  writeFileSync("dist/src/runtime/LICENSES", licences([{ moduleIds: [source] }]));
}
copyLoader();

// Copy the binaries for servers that host them, and for runtimes that compile WebAssembly ahead of time.
mkdirSync("dist/wasm", { recursive: true });
for (const build of ["simd", "relaxed"]) copyFileSync(`build/${build}.wasm`, `dist/wasm/${build}.wasm`);
