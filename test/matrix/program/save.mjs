/** Saves three times, loads the last save, damages it, loads again without and with a fallback, and prints the results. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tensor } from "nabla";
import { loadFile, readSafetensors, saveFile, writeSafetensors } from "nabla/formats";

const folder = mkdtempSync("saves-");
const path = join(folder, "run.safetensors");
const load = async (options) => readSafetensors(await loadFile(path, options)).tensors.x.item();
console.warn = () => {};
try {
  for (const value of [1, 2, 3])
    await saveFile(path, writeSafetensors({ x: tensor([value]) }, {}, { checksum: true }), { keep: 2 });
  const files = readdirSync(folder).sort();
  const last = await load();
  const bytes = readFileSync(path);
  bytes[bytes.length - 1] ^= 1;
  writeFileSync(path, bytes);
  const damage = await load().catch((error) => error.name);
  const before = await load({ fallback: true });
  console.log(JSON.stringify({ files, last, before, damage }));
} finally {
  rmSync(folder, { recursive: true });
}
