// The import floors: a file imports from its own floor or from one below, and never in a circle.
// runtime ← ops ← tensor, autograd ← compile ← nn, losses, optim ← data, training, gradients, formats ← serverless ← lab, examples
const floors = [
  "^(assembly/opcodes|src/runtime/)",
  "^src/ops/",
  "^src/(tensor|graph|memory|owners|copies|undo|printing|autograd|transforms|eager|scope|creation|functions|warmUp|site|anomaly|stateful|denormals)\\.ts$",
  "^src/compile/",
  "^src/(nn/|losses\\.ts$|optim/)",
  "^src/(data|training|gradients|formats)/",
  "^src/index\\.ts$",
  "^src/serverless/",
  "^src/(workerd|edge-light)/",
  "^(lab|examples|bench)/",
];

module.exports = {
  forbidden: [
    { name: "no-circles", severity: "error", from: {}, to: { circular: true } },
    {
      name: "no-unknown-room",
      comment: "every source file stands on a floor",
      severity: "error",
      from: { path: "^(src|assembly)/.*\\.ts$", pathNot: floors.join("|") },
      to: {},
    },
    ...floors.slice(0, -1).map((floor, i) => ({
      name: `floor-${i}-imports-upwards`,
      severity: "error",
      from: { path: floor },
      to: {
        path: `^(${floors
          .slice(i + 1)
          .map((f) => f.replace(/^\^/, ""))
          .join("|")})`,
      },
    })),
    {
      name: "core-depends-on-nothing",
      comment: "what serverless uses is bundled with it",
      severity: "error",
      from: { path: "^src/", pathNot: "^src/serverless/" },
      to: { dependencyTypes: ["npm", "npm-dev", "core"] },
    },
  ],
  options: {
    tsConfig: { fileName: "tsconfig.json" },
    tsPreCompilationDeps: true,
    doNotFollow: { path: "node_modules" },
    exclude: { path: "^(dist|build)/" },
  },
};
