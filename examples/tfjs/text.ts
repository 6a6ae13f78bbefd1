/**
 * `npm run tfjs:text`: trains an LSTM to predict the next character of the Book of Genesis, then generates text, with
 * TensorFlow.js's API. Compare the steps per second of `--backend nabla`, `cpu` and `wasm`.
 */
import { readFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs-core";
import { layers, sequential } from "@tensorflow/tfjs-layers";
import { Command } from "commander";
import { checkPositive, useBackend, withBackend } from "./backend.ts";

const program = withBackend(new Command("tfjs:text"))
  .description("Train a character-level LSTM on the Book of Genesis with TensorFlow.js, and generate text.")
  .option("-s, --steps <n>", "training steps", Number, 400)
  .option("-b, --batch <n>", "windows per training step", Number, 32)
  .option("-c, --context <n>", "characters per window", Number, 40)
  .option("-u, --units <n>", "size of the LSTM's state", Number, 128)
  .option("--lr <rate>", "Adam's learning rate", Number, 5e-3)
  .option("-n, --characters <n>", "characters to generate", Number, 200)
  .parse();
const settings = program.opts<
  { backend: string } & Record<"steps" | "batch" | "context" | "units" | "lr" | "characters", number>
>();
checkPositive(program, settings);
await useBackend(program, settings.backend);
const { batch, context } = settings;

const text = readFileSync(new URL("../../../examples/text/genesis.txt", import.meta.url), "utf8");
const alphabet = [...new Set(text)].sort();
const encode = (s: string): number[] => Array.from(s, (character) => alphabet.indexOf(character));
const all = encode(text);
const split = Math.floor(0.9 * all.length);

const model = sequential({
  layers: [
    layers.lstm({
      units: settings.units,
      returnSequences: true,
      // The default initializer needs tensor methods that only "@tensorflow/tfjs" registers, not the separate packages.
      recurrentInitializer: "glorotUniform",
      inputShape: [context, alphabet.length],
    }),
    layers.dense({ units: alphabet.length, activation: "softmax" }),
  ],
});
model.compile({ optimizer: tf.train.adam(settings.lr), loss: "sparseCategoricalCrossentropy" });

/** Characters as one-hot vectors: [windows, context, alphabet]. */
const oneHot = (characters: number[], count: number): tf.Tensor =>
  tf.tidy(() => {
    const indices = tf.tensor2d(characters, [count, context], "int32");
    return tf.oneHot(indices, alphabet.length, 1, 0, "float32");
  });

/** The windows of the text that begin at `starts`, as one-hot vectors, and the next character at each position: [windows, context, 1]. */
function windows(starts: readonly number[]): [tf.Tensor, tf.Tensor] {
  const from = (offset: number) => starts.flatMap((at) => all.slice(at + offset, at + offset + context));
  return [oneHot(from(0), starts.length), tf.tensor3d(from(1), [starts.length, context, 1])];
}

const started = performance.now();
for (let i = 1; i <= settings.steps; i++) {
  const [x, next] = windows(Array.from({ length: batch }, () => Math.floor(Math.random() * (split - context))));
  const loss = (await model.trainOnBatch(x, next)) as number;
  tf.dispose([x, next]);
  if (i % 50 === 0 || i === settings.steps) {
    const rate = (1000 * i) / (performance.now() - started);
    console.log(`step ${i}/${settings.steps}: loss ${loss.toFixed(3)}, ${rate.toFixed(1)} steps/s`);
  }
}

// Evaluate the model on the last tenth of the text, which training does not use.
const starts = Array.from({ length: Math.floor((all.length - split - 1) / context) }, (_, i) => split + i * context);
const loss = model.evaluate(...windows(starts), { batchSize: 64 }) as tf.Scalar;
console.log(`${loss.dataSync()[0]!.toFixed(3)} nats per character on held-out text, on ${tf.getBackend()}.\n`);

/** Generates the characters that follow a prompt, drawn from the model's probabilities. */
function* generate(prompt: string): Generator<string> {
  const written = encode(prompt);
  for (let i = 0; i < settings.characters; i++) {
    // The model reads a whole window. Shorter text is padded at the end, where the padding does not affect earlier positions.
    const read = written.slice(-context);
    const probabilities = tf.tidy(() => {
      const padded = [...read, ...new Array<number>(context - read.length).fill(0)];
      const output = model.predict(oneHot(padded, 1)) as tf.Tensor3D;
      return tf.slice(output, [0, read.length - 1, 0], [1, 1, -1]).dataSync();
    });
    let rest = Math.random();
    const next = probabilities.findIndex((p) => (rest -= p) < 0);
    written.push(Math.max(0, next));
    yield alphabet[written.at(-1)!]!;
  }
}
const PROMPT = "And God said, ";
process.stdout.write(PROMPT);
for (const character of generate(PROMPT)) process.stdout.write(character);
process.stdout.write("\n");
