/**
 * `node docs/picture.mjs`, after `npm run build`: runs the README's program and draws the predictions of its network in
 * docs/public/heart.svg.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [, program] = /^```ts\n([\s\S]*?)```$/m.exec(readFileSync("README.md", "utf8"));
mkdirSync("build/snippets", { recursive: true });
const file = "build/snippets/picture.mjs";
writeFileSync(
  file,
  `import { init as __init } from "nabla";\nawait __init({ deterministic: true });\n${program}\nexport { inside, model, x };\n`,
);
const { inside, model, x } = await import(pathToFileURL(file).href);
const { noGrad, tensor } = await import("nabla");

const SIZE = 420;
const CELLS = 140;
const LIMIT = 1.5;
const LEVELS = 8;
const CELL = SIZE / CELLS;
const center = (i) => ((i + 0.5) / CELLS) * 2 * LIMIT - LIMIT;
const round = (v) => Number(v.toFixed(1));

// Round each cell's probability to one of a few shades, and draw adjacent cells of the same shade in a row as one rectangle.
const grid = Array.from({ length: CELLS ** 2 }, (_, i) => [center(i % CELLS), -center(Math.floor(i / CELLS))]);
const shades = noGrad(() => model.forward(tensor(grid)).sigmoid()).data.map((p) => Math.round(p * LEVELS));
const paths = Array.from({ length: LEVELS + 1 }, () => "");
for (let row = 0; row < CELLS; row++)
  for (let column = 0, next; column < CELLS; column = next) {
    const shade = shades[row * CELLS + column];
    next = column + 1;
    while (next < CELLS && shades[row * CELLS + next] === shade) next++;
    paths[shade] +=
      `M${round(column * CELL)} ${round(row * CELL)}h${round((next - column) * CELL)}v${CELL}h${round((column - next) * CELL)}z`;
  }
const colour = (shade) => {
  const t = shade / LEVELS;
  const mix = [
    [238, 236, 250],
    [222, 66, 106],
  ];
  return `rgb(${[0, 1, 2].map((i) => Math.round(mix[0][i] + t * (mix[1][i] - mix[0][i]))).join(" ")})`;
};
const areas = paths.map((d, shade) => (d ? `<path fill="${colour(shade)}" d="${d}"/>` : "")).filter(Boolean);

const answers = inside.toArray();
const place = (v) => round(((v + LIMIT) / (2 * LIMIT)) * SIZE);
const dots = x
  .toArray()
  .map(([u, v], i) => `<circle cx="${place(u)}" cy="${place(-v)}" r="2" fill="${answers[i] ? "#fff" : "#5b3fd6"}"/>`);

writeFileSync(
  "docs/public/heart.svg",
  [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${SIZE} ${SIZE}" width="${SIZE}" height="${SIZE}">`,
    "<title>A heart: the predictions of the README's network</title>",
    '<g shape-rendering="crispEdges">',
    ...areas,
    "</g>",
    '<g stroke="#3a2a80" stroke-width="0.4">',
    ...dots,
    "</g>",
    "</svg>",
    "",
  ].join("\n"),
);
