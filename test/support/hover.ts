/** The hover texts that editors show for every export, member and option of the public API, from the TypeScript language service. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import ts from "typescript";

/** The hover text of one symbol. */
export interface Hover {
  /**
   * The symbol's path, such as `nabla.nn.Linear#forward` or `nabla.softmax`. An option's path has the form
   * `nabla.sort(options).descending`.
   */
  readonly path: string;
  readonly kind: "export" | "member" | "option";
  readonly name: string;
  /** The documentation, without tags. */
  readonly text: string;
  readonly tags: readonly { readonly name: string; readonly text: string }[];
  /** The file and position of the declaration. */
  readonly file: string;
  readonly at: number;
}

const ENTRIES = {
  nabla: "src/index.ts",
  "nabla/gradients": "src/gradients/index.ts",
  "nabla/formats": "src/formats/index.ts",
  "nabla/tfjs": "src/tfjs/index.ts",
  "nabla/serverless": "src/serverless/index.ts",
};

function languageService(): ts.LanguageService {
  const host = { ...ts.sys, onUnRecoverableConfigFileDiagnostic: () => {} };
  const { options } = ts.getParsedCommandLineOfConfigFile("tsconfig.json", { noEmit: true }, host)!;
  const files = Object.values(ENTRIES).map((file) => resolve(file));
  return ts.createLanguageService({
    getScriptFileNames: () => files,
    getScriptVersion: () => "1",
    getScriptSnapshot: (name) =>
      ts.sys.fileExists(name) ? ts.ScriptSnapshot.fromString(readFileSync(name, "utf8")) : undefined,
    getCurrentDirectory: () => process.cwd(),
    getCompilationSettings: () => options,
    getDefaultLibFileName: ts.getDefaultLibFilePath,
    fileExists: ts.sys.fileExists,
    readFile: ts.sys.readFile,
    readDirectory: ts.sys.readDirectory,
  });
}

/** Every public export, the public members of classes and interfaces, and the options of functions. */
export function hovers(): Hover[] {
  const service = languageService();
  const program = service.getProgram()!;
  const checker = program.getTypeChecker();
  const found: Hover[] = [];
  const visited = new Set<ts.Symbol>();

  const isOwn = (symbol: ts.Symbol): boolean =>
    symbol.declarations?.some((one) => /\/src\//.test(one.getSourceFile().fileName)) ?? false;
  const isInternal = (symbol: ts.Symbol): boolean =>
    symbol.getJsDocTags(checker).some(({ name }) => name === "internal") ||
    (symbol.declarations ?? []).some(
      (one) => ts.getCombinedModifierFlags(one) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected),
    );
  const ask = (symbol: ts.Symbol, path: string, kind: Hover["kind"]): void => {
    const declaration = symbol.valueDeclaration ?? symbol.declarations?.[0];
    if (!declaration) return;
    const source = declaration.getSourceFile();
    const name = ts.getNameOfDeclaration(declaration) ?? declaration;
    const info = service.getQuickInfoAtPosition(source.fileName, name.getStart(source));
    found.push({
      path,
      kind,
      name: symbol.name,
      text: ts.displayPartsToString(info?.documentation).trim(),
      tags: (info?.tags ?? []).map((tag) => ({ name: tag.name, text: ts.displayPartsToString(tag.text) })),
      file: source.fileName,
      at: name.getStart(source),
    });
  };

  /** Visits the fields of an object type of this package, recursively. */
  const fields = (type: ts.Type, path: string): void => {
    for (const part of type.isUnionOrIntersection() ? type.types : [type]) {
      const symbol: ts.Symbol | undefined = part.aliasSymbol ?? part.symbol;
      if (!symbol || !isOwn(symbol) || visited.has(symbol) || part.getCallSignatures().length) continue;
      const flags = part.symbol?.flags ?? 0;
      if (flags & ts.SymbolFlags.Class || !(flags & (ts.SymbolFlags.Interface | ts.SymbolFlags.TypeLiteral))) continue;
      visited.add(symbol);
      for (const property of part.getProperties())
        if (isOwn(property) && !isInternal(property)) {
          ask(property, `${path}.${property.name}`, "option");
          parameters(checker.getTypeOfSymbol(property), `${path}.${property.name}`);
        }
    }
  };
  /** Visits the options that a function takes and the objects that it returns. */
  const parameters = (type: ts.Type, path: string): void => {
    for (const signature of [...type.getCallSignatures(), ...type.getConstructSignatures()]) {
      for (const parameter of signature.getParameters())
        fields(checker.getNonNullableType(checker.getTypeOfSymbol(parameter)), `${path}(${parameter.name})`);
      const result = checker.getReturnTypeOfSignature(signature);
      fields(checker.getAwaitedType(result) ?? result, `${path}()`);
    }
  };
  const members = (symbol: ts.Symbol, path: string): void => {
    const type = checker.getDeclaredTypeOfSymbol(symbol);
    const statics = [...(symbol.exports?.values() ?? [])].filter(({ name }) => name !== "prototype");
    for (const member of [...type.getProperties(), ...statics]) {
      // Skip names that callers do not write, such as __@dispose and #held, and an error's `name`, which JavaScript documents.
      if (!isOwn(member) || isInternal(member) || /^(__|#)/.test(member.name)) continue;
      if (member.name === "name" && path.endsWith("Error")) continue;
      if (statics.includes(member) && member.name === "kind") continue;
      ask(member, `${path}#${member.name}`, "member");
      parameters(checker.getTypeOfSymbol(member), `${path}#${member.name}`);
    }
  };
  const visit = (exported: ts.Symbol, path: string): void => {
    const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
    if (symbol.flags & ts.SymbolFlags.Module && !(symbol.flags & ts.SymbolFlags.Value && !isOwn(symbol))) {
      if (symbol.valueDeclaration && ts.isSourceFile(symbol.valueDeclaration)) {
        for (const one of checker.getExportsOfModule(symbol)) visit(one, `${path}.${one.name}`);
        return;
      }
    }
    if (!isOwn(symbol)) return;
    ask(symbol, path, "export");
    if (symbol.flags & (ts.SymbolFlags.Class | ts.SymbolFlags.Interface)) {
      visited.add(symbol);
      members(symbol, path);
    } else if (symbol.flags & ts.SymbolFlags.TypeAlias) fields(checker.getDeclaredTypeOfSymbol(symbol), path);
    if (symbol.flags & ts.SymbolFlags.Value) parameters(checker.getTypeOfSymbol(symbol), path);
  };
  for (const [entry, file] of Object.entries(ENTRIES)) {
    const module = checker.getSymbolAtLocation(program.getSourceFile(resolve(file))!)!;
    for (const one of checker.getExportsOfModule(module)) visit(one, `${entry}.${one.name}`);
  }
  return found;
}
