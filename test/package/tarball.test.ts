/** The package contains exactly the files that it needs, with their licences. Builds are reproducible. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import ts from "typescript";
import { describe, expect, test } from "vitest";

const [packed] = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json"], { encoding: "utf8" })) as [
  { files: { path: string; size: number }[]; size: number; unpackedSize: number },
];
const files = packed!.files.map(({ path }) => path);
const read = (path: string): string => readFileSync(path, "utf8");

describe("the tarball", () => {
  test("contains code, declarations, kernels, digits and texts in their folders, and no other file", () => {
    const expected = [
      /^(package\.json|README\.md|LICENSE|NOTICE|SECURITY\.md)$/,
      /^dist\/src\/[\w/-]+\.(js|d\.ts)$/,
      /^dist\/src\/(runtime|serverless)\/LICENSES$/,
      /^dist\/assembly\/opcodes\.(js|d\.ts)$/,
      /^dist\/node\/[\w-]+\.c?js$/,
      /^dist\/bin\/([\w-]+\.js|LICENSES|digits\.gz)$/,
      /^dist\/wasm\/(simd|relaxed)\.wasm$/,
    ];
    expect(files.filter((file) => !expected.some((pattern) => pattern.test(file)))).toEqual([]);
    for (const pattern of expected)
      expect(
        files.some((file) => pattern.test(file)),
        String(pattern),
      ).toBe(true);
  });
  test("contains no declarations whose source does not exist", () => {
    for (const file of files.filter((path) => /^dist\/(src|assembly)\/.*\.d\.ts$/.test(path))) {
      const source = file.replace(/^dist\//, "").replace(/\.d\.ts$/, ".ts");
      expect(statSync(source, { throwIfNoEntry: false })?.isFile(), source).toBe(true);
    }
  });
  test("is smaller than 3 MB, and smaller than 7.5 MB when unpacked", () => {
    expect(packed!.size).toBeLessThan(3e6);
    expect(packed!.unpackedSize).toBeLessThan(7.5e6);
  });
  test("contains no binaries in declarations: no string of 500 characters, no file of 128 KB", () => {
    const declarations = files.filter((file) => file.endsWith(".d.ts"));
    expect(declarations.length).toBeGreaterThan(100);
    for (const file of declarations) {
      const text = read(file);
      expect(text.length, file).toBeLessThan(2 ** 17);
      expect(text.replace(/\/\*[\s\S]*?\*\//g, ""), file).not.toMatch(/"[^"\n]{500}/);
    }
    for (const build of ["simd", "relaxed", "wide"])
      expect(read(`dist/src/runtime/binaries/${build}.d.ts`)).toMatch(/declare const _default: string;/);
  });
});

/** The packages that a shipped file imports, statically, dynamically or in types. */
const outside = (file: string): string[] =>
  ts
    .preProcessFile(read(file), true, true)
    .importedFiles.map(({ fileName }) => fileName)
    .filter((name) => !/^\.\.?\//.test(name));

/** The optional peers of nabla/tfjs. */
const PEERS = ["@tensorflow/tfjs-backend-cpu", "@tensorflow/tfjs-core"];

describe("imports", () => {
  const manifest = JSON.parse(read("package.json")) as {
    exports: object;
    dependencies: object;
    devDependencies: Record<string, string>;
    peerDependencies: object;
    peerDependenciesMeta: object;
  };
  const code = files.filter((file) => /^dist\/.*\.(c?js|d\.ts)$/.test(file));
  const entries = Object.keys(manifest.exports).map((name) => name.replace(/^\./, "nabla"));

  test("the package depends only on the loader, in the same version as the compiler, and dist contains a copy", () => {
    expect(manifest.dependencies).toEqual({ "@assemblyscript/loader": manifest.devDependencies.assemblyscript });
    expect(manifest.peerDependencies).toEqual(Object.fromEntries(PEERS.map((name) => [name, "^4.22.0"])));
    expect(manifest.peerDependenciesMeta).toEqual(Object.fromEntries(PEERS.map((name) => [name, { optional: true }])));
    const loader = read("dist/src/runtime/loader.js");
    expect(loader).toContain(read("node_modules/@assemblyscript/loader/index.js"));
    expect(read("dist/src/runtime/load.js")).toContain('from "./loader.js"');
  });
  test("no file imports a package other than nabla, except tfjs its peers, and only dist/bin imports modules of Node", () => {
    expect(code.length).toBeGreaterThan(200);
    const found = code.map((file) => [file, outside(file)] as const);
    expect(found.filter(([, names]) => names.length).length).toBeGreaterThan(3);
    for (const [file, names] of found) {
      const inNode = file.startsWith("dist/bin/") ? (name: string) => name.startsWith("node:") : () => false;
      const peers = /^dist\/(src|node)\/tfjs\b/.test(file) ? PEERS : [];
      expect(
        names.filter((name) => !entries.includes(name) && !peers.includes(name) && !inNode(name)),
        file,
      ).toEqual([]);
    }
  });
});

describe("licences", () => {
  test.each(["dist/bin", "dist/src/serverless"])(
    "of every package bundled in %s are in its LICENSES file, with their full texts",
    (folder) => {
      const code = readdirSync(folder).filter((name) => name.endsWith(".js"));
      const bundled = new Set(
        code.flatMap((name) =>
          Array.from(
            read(join(folder, name)).matchAll(/^\/\/ node_modules\/((?:@[^/]+\/)?[^/]+)\//gm),
            ([, found]) => found!,
          ),
        ),
      );
      expect(bundled.size).toBeGreaterThan(1);
      const sections = read(join(folder, "LICENSES")).split(`\n${"-".repeat(80)}\n\n`);
      const texts = new Map(sections.map((section) => [/^(\S+) [\d.]+\S* \([^)]+\)\n\n/.exec(section)?.[1], section]));
      for (const name of bundled) expect(texts.get(name)?.length, name).toBeGreaterThan(300);
    },
  );
  test("of the loader are next to its copy, and both copies name them", () => {
    const text = read("dist/src/runtime/LICENSES");
    expect(text).toMatch(/^@assemblyscript\/loader [\d.]+ \(Apache-2\.0\)\n\nApache License\n/);
    expect(text).toContain("END OF TERMS AND CONDITIONS");
    expect(read("NOTICE")).toContain("dist/src/runtime/LICENSES");
    const copies = files.filter((file) => /^dist\/(src\/runtime\/loader|node\/base-[^/]*)\.js$/.test(file));
    expect(copies).toHaveLength(2);
    for (const file of copies)
      expect(read(file), file).toMatch(/\/\*! @assemblyscript\/loader [\d.]+ by [^*]* Apache-2\.0 licence: /);
  });
  test.each(["delaunator", "robust-predicates", "internmap"])(
    "of %s, which is a copy in another package, are in dist/bin/LICENSES",
    (name) => {
      expect(read("dist/bin/LICENSES")).toMatch(new RegExp(`^${name} [\\d.]+ \\(`, "m"));
    },
  );
  test("of the digits are in NOTICE, with their authors and source", () => {
    expect(files).toContain("dist/bin/digits.gz");
    for (const word of [
      /dist\/bin\/digits\.gz/,
      /MNIST/,
      /Yann LeCun/,
      /Corinna Cortes/,
      /ShareAlike 3\.0/,
      /yann\.lecun\.com/,
    ])
      expect(read("NOTICE")).toMatch(word);
  });
});

/** The files that `npm run build` needs. */
const SOURCES = [
  "assembly",
  "src",
  "lab",
  "examples",
  "bench",
  "cli",
  "tools",
  "package.json",
  "tsconfig.json",
  "tsconfig.build.json",
  "asconfig.json",
  ".biome.json",
];
const BUILT = ["src", "assembly", "node", "bin", "wasm", "bench", "cli", "examples"];

/** A hash for each file in the folders that a build writes. */
function hashes(root: string): Record<string, string> {
  const entries = BUILT.flatMap((folder) =>
    readdirSync(join(root, "dist", folder), { recursive: true, encoding: "utf8" })
      .map((name) => join("dist", folder, name))
      .filter((path) => statSync(join(root, path)).isFile())
      .map(
        (path) =>
          [
            path,
            createHash("sha256")
              .update(readFileSync(join(root, path)))
              .digest("hex"),
          ] as const,
      ),
  );
  return Object.fromEntries(entries.sort());
}

test("a second build in another folder, time zone and locale has the same bytes", () => {
  mkdirSync("build", { recursive: true });
  const root = mkdtempSync("build/again-");
  try {
    for (const source of SOURCES)
      cpSync(source, join(root, source), {
        recursive: true,
        filter: (path) =>
          !(
            basename(path) === "node_modules" ||
            (basename(dirname(path)) === "runtime" && basename(path) === "binaries")
          ),
      });
    // Hard links make the copy fast and small.
    execFileSync("cp", ["-al", "node_modules", join(root, "node_modules")]);
    const env = { ...process.env, TZ: "Pacific/Kiritimati", LANG: "tr_TR.UTF-8", HOME: resolve(root, "home") };
    const scripts = (JSON.parse(read("package.json")) as { scripts: Record<string, string> }).scripts;
    const steps = scripts.build!.replace("npm run wasm", scripts.wasm!).split(" && ");
    expect(steps.length).toBeGreaterThan(3);
    for (const step of steps) {
      const [command, ...args] = step.split(" ");
      expect(command).toBe("node");
      execFileSync(process.execPath, args, { cwd: root, env, stdio: "pipe" });
    }
    expect(hashes(root)).toEqual(hashes("."));
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});
