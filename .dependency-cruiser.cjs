// The layers of the import graph, lowest first: a file imports only from its own layer or from a lower one, and never in a cycle.
const layers = [
  ["assembly", "^assembly/"],
  ["runtime", "^src/runtime/"],
  ["ops", "^src/ops/"],
  ["core", "^src/core/"],
  ["autograd", "^src/autograd/"],
  ["compile", "^src/compile/"],
  ["models", "^src/(nn|losses|optim)/"],
  ["extras", "^src/(gradients|formats)/"],
  ["entry", "^src/index\\.ts$"],
  ["bridges", "^src/(serverless|tfjs)/"],
  ["platforms", "^src/platforms/"],
  ["programs", "^(cli|lab)/"],
  ["examples", "^(examples|bench)/"],
];
const paths = layers.map(([, path]) => path);

module.exports = {
  forbidden: [
    { name: "no-cycles", severity: "error", from: {}, to: { circular: true } },
    {
      name: "every-file-has-a-layer",
      severity: "error",
      from: { path: "^(src|assembly|cli|lab)/.*\\.ts$", pathNot: paths.join("|") },
      to: {},
    },
    {
      name: "only-opcodes-leave-assembly",
      severity: "error",
      from: { pathNot: "^assembly/" },
      to: { path: "^assembly/", pathNot: "^assembly/opcodes" },
    },
    {
      name: "nothing-imports-examples",
      severity: "error",
      from: { pathNot: "^examples/" },
      to: { path: "^examples/" },
    },
    {
      name: "nothing-imports-tests",
      comment: "The float64 oracles of ops (test/ops/oracles) are not part of the package.",
      severity: "error",
      from: { pathNot: "^test/" },
      to: { path: "^test/" },
    },
    ...layers.slice(0, -1).map(([name, path], i) => ({
      name: `${name}-imports-from-a-higher-layer`,
      severity: "error",
      from: { path },
      to: { path: paths.slice(i + 1).join("|") },
    })),
    {
      name: "core-has-no-dependencies",
      comment: "The packages that serverless uses are bundled with it. The packages that tfjs uses are optional peers.",
      severity: "error",
      from: { path: "^src/", pathNot: "^src/(serverless/|tfjs/|runtime/load\\.ts$)" },
      to: { dependencyTypes: ["npm", "npm-dev", "core"] },
    },
    {
      name: "tfjs-depends-on-its-peers-alone",
      severity: "error",
      from: { path: "^src/tfjs/" },
      to: {
        dependencyTypes: ["npm", "npm-dev", "core"],
        pathNot: "^node_modules/@tensorflow/tfjs-(core|backend-cpu)/",
      },
    },
    {
      name: "load-depends-on-the-loader-alone",
      comment: "tools/dist.mjs copies the loader into dist, so no shipped file imports the loader by name.",
      severity: "error",
      from: { path: "^src/runtime/load\\.ts$" },
      to: { dependencyTypes: ["npm", "npm-dev", "core"], pathNot: "^node_modules/@assemblyscript/loader/" },
    },
  ],
  options: {
    tsConfig: { fileName: "tsconfig.json" },
    tsPreCompilationDeps: true,
    doNotFollow: { path: "node_modules" },
    exclude: { path: "^(dist|build)/" },
  },
};
