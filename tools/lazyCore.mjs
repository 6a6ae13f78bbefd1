// Makes the core lazy in Node. Parsing layers, optimizers and compile takes a third of the time of `import "nabla"`, and many programs,
// such as a function that multiplies matrices, use none of them. For each entry that imports the core, this plugin adds a copy,
// `index-require.js` for example, that gets the core from `core.cjs`, because only require can load a file synchronously.
// `index-require.js` loads the core on first use, the other copies load it at once. Bundlers use the entries without `-require`, from which
// they can drop unused code.
import ts from "typescript";
import { breakLines } from "./lines.mjs";

const isTop = (flag) => (statement) => ts.isVariableStatement(statement) && statement.declarationList.flags & flag;

/** The names that a chunk exports, by local name. @throws Error if an export may change: a copied variable would keep the old value */
function exportsOf({ fileName, code }) {
  const { statements } = ts.createSourceFile(fileName, code, ts.ScriptTarget.Latest, true, ts.ScriptKind.JS);
  const lets = statements
    .filter(isTop(ts.NodeFlags.Let))
    .flatMap(({ declarationList }) => declarationList.declarations.map(({ name }) => name.text));
  const exported = statements.filter(ts.isExportDeclaration).flatMap(({ exportClause }) => exportClause.elements);
  const pairs = exported.map(({ name, propertyName }) => [(propertyName ?? name).text, name.text]);
  const changing = pairs.filter(([local]) => lets.includes(local));
  if (changing.length) throw new Error(`tools/lazyCore.mjs: ${fileName} exports variables that change: ${changing}.`);
  return pairs;
}

/** Matches an import of a chunk. Captures the imported names, each with its local name if that differs. */
const importOf = ({ fileName }) => new RegExp(`import\\{([^}]*)\\}from"\\./${fileName.replace(".", "\\.")}";`);
/** Rewrites imported names as a destructuring pattern. */
const pattern = (names) => `{${names.replace(/\s+as\s+/g, ":")}}`;

/** The core as a CommonJS module. It exports a function that takes the exports of `base`, and returns those of the core. */
function required(core, base) {
  const returned = exportsOf(core).map(([local, name]) => `${name}:${local}`);
  const [statement, names] = importOf(base).exec(core.code);
  const body = core.code.replace(statement, "").replace(/export\{[^}]*\};?\s*$/, "");
  if (/^(import|export)\b/m.test(body)) throw new Error(`tools/lazyCore.mjs: ${core.fileName} has other imports.`);
  // V8 compiles a `function` in parentheses at once, without a first pass that only looks for its end. It does not do so for arrow functions.
  return `"use strict";let core;module.exports=base=>core??=create(base);const create=(function(
${pattern(names)}){${body}
return{
${returned.join(",\n")}};});
`;
}

/** Code for an entry that loads the core on first use. */
function wrapper(name, core) {
  const names = new RegExp(`\\b${name.replace("$", "\\$")}=\\s*__exportAll\\(\\{([^}]*)\\}\\)`).exec(core.code)?.[1];
  if (names) return `const ${name}=$namespace("${name}",[\n${names.replace(/\s*([\w$]+)\s*:[^,]*/g, '"$1"')}]);`;
  if (new RegExp(`\\bfunction ${name}\\(`).test(core.code)) return `const ${name}=(...e)=>$core().${name}(...e);`;
  throw new Error(`tools/lazyCore.mjs: ${name} is not a function or a namespace, so it cannot be loaded on first use.`);
}

const NAMESPACE = `
const $namespace=(name,keys)=>{const lazy=Object.defineProperty({},Symbol.toStringTag,{value:"Module"});
for(const key of keys)Object.defineProperty(lazy,key,{enumerable:true,get:()=>$core()[name][key]});return lazy};
`;

/**
 * Loads the core. `require` does not exist in Node's ES modules, but bundlers that resolve these entries include the core because of it.
 * The names begin with "$" so that they differ from those in the chunks.
 */
const load = (base) => `
import{createRequire}from"node:module";import*as $base from"./${base.fileName}";
let $loaded;const $core=()=>$loaded??=$load()($base);function $load(){const $require=createRequire(import.meta.url);
try{return $require("./core.cjs")}catch(cause){if(cause.code!=="MODULE_NOT_FOUND")throw cause;
try{return require("./core.cjs")}catch{
throw new Error('nabla: core.cjs is missing. Add the condition "module" to your bundler, or mark nabla as external.',{cause})}}}
`;

export const lazyCore = {
  name: "lazy-core",
  generateBundle(_, output) {
    const chunks = Object.values(output).filter(({ type }) => type === "chunk");
    const [core, base] = ["core", "base"].map((name) => chunks.find(({ fileName }) => fileName.startsWith(`${name}-`)));
    exportsOf(base);
    this.emitFile({ type: "asset", fileName: "core.cjs", source: breakLines(required(core, base)) });
    for (const { fileName, code } of chunks) {
      const [statement, names] = importOf(core).exec(code) ?? [];
      if (!statement) continue;
      const locals =
        fileName === "index.js"
          ? NAMESPACE +
            names
              .split(",")
              .map((name) => `${wrapper(name.trim(), core)}\n`)
              .join("")
          : `const${pattern(names)}=$core();\n`;
      const source = load(base) + locals + code.replace(statement, "");
      this.emitFile({
        type: "asset",
        fileName: fileName.replace(".js", "-require.js"),
        source: breakLines(source.trimStart()),
      });
    }
  },
};
