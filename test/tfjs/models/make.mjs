// `node test/tfjs/models/make.mjs` writes the GraphModel files that test/tfjs/graphModels.test.ts runs, with weights from a seed.
import { mkdirSync, writeFileSync } from "node:fs";
import { cnn } from "./cnn.mjs";
import { control } from "./control.mjs";
import { transformer } from "./transformer.mjs";

/** The models, keyed by folder name. */
export const models = { cnn, transformer, control };

if (process.argv[1] === import.meta.filename)
  for (const [name, build] of Object.entries(models)) {
    const folder = `${import.meta.dirname}/${name}`;
    mkdirSync(folder, { recursive: true });
    for (const [file, bytes] of Object.entries(build().files())) writeFileSync(`${folder}/${file}`, bytes);
  }
