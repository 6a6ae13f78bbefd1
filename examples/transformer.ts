/**
 * `npm run transformer`: trains a small character-level language model on the Book of Genesis, then generates text. Training processes
 * all positions of a window at once, with causal attention. Generation processes each character once, with a cache of keys and values.
 */
import { readFileSync } from "node:fs";
import cliProgress from "cli-progress";
import { Command } from "commander";
import { compile, losses, manualSeed, nn, noGrad, optim, rand, type Tensor, tensor, tidy } from "nabla";

const program = new Command("transformer")
  .description("Train a character-level transformer on the Book of Genesis (King James, 1611), and generate text.")
  .option("-s, --steps <n>", "training steps", Number, 1000)
  .option("-b, --batch <n>", "windows per training step", Number, 24)
  .option("-c, --context <n>", "characters per window", Number, 64)
  .option("-w, --width <n>", "size of a character's embedding", Number, 96)
  .option("-l, --layers <n>", "transformer layers", Number, 3)
  .option("--lr <rate>", "peak learning rate of AdamW", Number, 4e-3)
  .option("--seed <n>", "seed of the initial weights and of sampling", Number, 1)
  .option("-n, --characters <n>", "characters to generate", Number, 400)
  .option("-t, --temperature <t>", "sampling temperature; 0 always takes the most likely character", Number, 0.7)
  .option("-p, --prompt <text>", "start of the text", "And God said, ")
  .parse();
const settings = program.opts<
  Record<"steps" | "batch" | "context" | "width" | "layers" | "lr" | "seed" | "characters" | "temperature", number> & {
    prompt: string;
  }
>();
const HEADS = 4;
const { prompt, ...sizes } = settings;
for (const [name, value] of Object.entries(sizes)) {
  const whole = Number.isInteger(value) || name === "lr" || name === "temperature";
  if (!(whole && (value > 0 || (value === 0 && name === "temperature"))))
    program.error(
      `error: --${name} must be ${name === "temperature" ? "a number, 0 or more" : name === "lr" ? "a number above 0" : "an integer above 0"}, got ${value}.`,
    );
}
const { steps, batch, context, width, layers, characters, temperature } = sizes;
if (width % (2 * HEADS)) program.error(`error: --width must be a multiple of ${2 * HEADS}, got ${width}.`);

const text = readFileSync(new URL("../../examples/text/genesis.txt", import.meta.url), "utf8");
const alphabet = [...new Set(text)].sort();
const numbers = new Map(alphabet.map((character, i) => [character, i]));
const encode = (s: string): Int32Array => Int32Array.from(s, (character) => numbers.get(character) ?? -1);
const start = encode(prompt);
if (!start.length || start.includes(-1))
  program.error(`error: --prompt must not be empty, and may contain only: ${alphabet.join("").trim()}`);
const all = encode(text);
const split = Math.floor(0.9 * all.length);
const [trainText, testText] = [all.subarray(0, split), all.subarray(split)];

class LanguageModel extends nn.Module {
  readonly embedding = new nn.Embedding(alphabet.length, width);
  readonly encoder = new nn.TransformerEncoder(
    Array.from({ length: layers }, () => {
      const rotary = new nn.RotaryEmbedding(width / HEADS);
      const options = { dimFeedforward: 4 * width, dropout: 0, batchFirst: true, normFirst: true, rotary };
      return new nn.TransformerEncoderLayer(width, HEADS, { ...options, activation: "gelu" });
    }),
    new nn.LayerNorm(width),
  );
  readonly linear = new nn.Linear(width, alphabet.length);

  /** characters: int32 [batch, steps] → logits of the next character: [batch, steps, alphabet] */
  forward(x: Tensor, cache?: nn.KeyValueCache): Tensor {
    const options = cache ? { isCausal: true, cache } : { isCausal: true };
    return this.linear.forward(this.encoder.forward(this.embedding.forward(x), options));
  }
}

manualSeed(settings.seed);
const model = new LanguageModel();
/** Keys and values of the window that is being written. */
const cache = new nn.KeyValueCache(1, context);
const optimizer = new optim.AdamW(model.parameters(), { lr: settings.lr, weightDecay: 0.1 });
const lossOf = (x: Tensor, next: Tensor): Tensor => {
  const shape = [next.size / context, context];
  return losses.crossEntropy(model.forward(x.reshape(shape)).flatten(0, 1), next);
};
const step = compile((x: Tensor, next: Tensor) => {
  optimizer.zeroGrad();
  const loss = lossOf(x, next);
  loss.backward();
  optim.clipGradNorm(model.parameters(), 1);
  optimizer.step();
  return loss;
});
const evaluate = compile((x: Tensor, next: Tensor) => noGrad(() => lossOf(x, next)));

/** The windows of a text that begin at `starts`, and the next character at each position. */
function windows(characters: Int32Array, starts: readonly number[]): [Int32Array, Int32Array] {
  const [x, next] = [new Int32Array(starts.length * context), new Int32Array(starts.length * context)];
  starts.forEach((at, i) => {
    x.set(characters.subarray(at, at + context), i * context);
    next.set(characters.subarray(at + 1, at + 1 + context), i * context);
  });
  return [x, next];
}
const randomStarts = (): number[] => {
  const uniform = tidy(() => rand([batch]).data);
  return Array.from(uniform, (u) => Math.floor(u * (trainText.length - context)));
};

/** The mean loss, in nats per character, on the last tenth of the text, which training does not use. */
function testLoss(): number {
  const count = Math.floor((testText.length - 1) / context);
  let total = 0;
  for (let at = 0; at < count; at += batch) {
    const size = Math.min(batch, count - at);
    total +=
      size *
      evaluate(
        ...windows(
          testText,
          Array.from({ length: size }, (_, i) => (at + i) * context),
        ),
      ).item();
  }
  return total / count;
}

/** The probabilities of the next character: int32 [1, steps] → [alphabet]. */
const nextProbabilities = compile((x: Tensor) =>
  noGrad(() => {
    const logits = model
      .forward(x, cache)
      .narrow(1, x.shape[1]! - 1, 1)
      .flatten();
    return temperature ? logits.div(temperature).softmax() : logits.argMax(-1).oneHot(alphabet.length);
  }),
);

/** Generates text, one character at a time. */
function* generate(): Generator<string> {
  const written = [...start];
  let fresh = written.slice(-context);
  for (let i = 0; i < characters; i++) {
    // The model has learned only distances within a window. When a window is full, empty the cache and process its second half again.
    if (cache.length + fresh.length > context) {
      cache.reset();
      fresh = written.slice(-Math.ceil(context / 2));
    }
    const probabilities = tidy(() => nextProbabilities(tensor([fresh], { dtype: "int32" })).data);
    let rest = tidy(() => rand([1]).item());
    const next = probabilities.findIndex((p) => (rest -= p) < 0);
    fresh = [next < 0 ? probabilities.indexOf(Math.max(...probabilities)) : next];
    written.push(fresh[0]!);
    yield alphabet[fresh[0]!]!;
  }
}

const bar = new cliProgress.SingleBar({
  format: "{bar} {percentage}%  loss {loss}  {rate} characters/s  {eta_formatted} left",
  clearOnComplete: true,
  noTTYOutput: false,
});
const started = performance.now();
bar.start(steps, 0, { loss: "", rate: "" });
let mean = 0;
for (let done = 0; done < steps; done++) {
  // Warm up linearly over the first twentieth of the steps, then decay to a tenth of the peak rate, along a cosine.
  const warm = Math.min(1, (done + 1) / (0.05 * steps));
  optimizer.lr = settings.lr * warm * (0.1 + 0.45 * (1 + Math.cos((Math.PI * done) / steps)));
  const loss = step(...windows(trainText, randomStarts())).item();
  mean = done ? 0.98 * mean + 0.02 * loss : loss;
  if (done % 4) continue;
  const rate = Math.round((done * batch * context * 1000) / (performance.now() - started)).toLocaleString("en");
  bar.update(done, { loss: mean.toFixed(3), rate });
  await new Promise(setImmediate); // let the event loop draw the bar and handle Ctrl-C
}
bar.stop();
const seconds = ((performance.now() - started) / 1000).toFixed(1);
model.eval();
console.log(`${steps} steps in ${seconds} s; ${testLoss().toFixed(3)} nats per character on held-out text.\n`);
process.stdout.write(prompt);
for (const character of generate()) process.stdout.write(character);
process.stdout.write("\n");
