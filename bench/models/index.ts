/** The tasks of the suite `models`: whole networks with random weights, inference and training. */
import {
  type Compiled,
  compile,
  losses,
  nn,
  noGrad,
  optim,
  rand,
  randint,
  randn,
  type Tensor,
  tensor,
  tidy,
} from "../../src/index.ts";
import { build } from "../nabla.ts";
import { networkStart, networks } from "../networks.ts";
import { LR } from "../training.ts";
import { MobileNetV2 } from "./mobilenet.ts";
import { BagOfWords, mlp } from "./perceptrons.ts";
import { Recurrent } from "./recurrent.ts";
import { ResNet18 } from "./resnet.ts";
import { Bert, Gpt } from "./transformers.ts";

/** A model, the compiled function that runs or trains it, and the arguments with which the benchmark calls the function. */
export interface Job {
  readonly model: nn.Module;
  readonly run: Compiled<Tensor[], Tensor>;
  readonly args: Tensor[];
  dispose(): void;
}

export interface ModelTask {
  readonly name: string;
  /** Creates the model and its data. */
  readonly make: () => Job;
  /** If the model is compared with its copy from nn.quantize: creates the job of the copy, with the same arguments. */
  int8?(model: nn.Module, ...args: Tensor[]): Job;
}

function job(model: nn.Module, f: (...args: Tensor[]) => Tensor, args: readonly Tensor[], optimizer?: optim.Adam): Job {
  const run = compile(f);
  const own = args.map((x) => x.keep());
  return {
    model,
    run,
    args: own,
    dispose() {
      run.dispose();
      optimizer?.dispose();
      model.dispose();
      for (const x of own) x.dispose();
    },
  };
}

/** Inference with a model in evaluation mode. */
export function infer(model: nn.Module, x: Tensor): Job {
  model.eval();
  return job(model, (input) => noGrad(() => model.forward(input!) as Tensor), [x]);
}

/** Computes the logits for the last token of a text. A cache holds the keys and values of the tokens before it. */
function inferToken(model: Gpt, token: Tensor, prompt: Tensor): Job {
  model.eval();
  const before = prompt.shape[1]!;
  const cache = new nn.KeyValueCache(1, before + 1);
  tidy(() => noGrad(() => void model.forward(prompt, cache)));
  const run = (x?: Tensor): Tensor => {
    const logits = noGrad(() => model.forward(x!, cache));
    cache.truncate(before);
    return logits;
  };
  const own = job(model, run, [token, prompt]);
  return {
    ...own,
    dispose() {
      own.dispose();
      cache.dispose();
    },
  };
}

/** A step of Adam. @param loss the mean cross-entropy by default */
function train(model: nn.Module, x: Tensor, target: Tensor, loss: typeof losses.mse = losses.crossEntropy): Job {
  const optimizer = new optim.Adam(model.parameters(), { lr: LR });
  const step = (input?: Tensor, wanted?: Tensor): Tensor =>
    optimizer.minimize(() => loss(model.forward(input!) as Tensor, wanted!));
  return job(model, step, [x, target], optimizer);
}

const bert = { layers: 6, width: 384, heads: 6, vocabulary: 30_522, steps: 128 };
const generator = { layers: 6, width: 384, heads: 6, vocabulary: 256, steps: 128 };
const gpt = { layers: 6, width: 256, heads: 8, vocabulary: 256, steps: 128 };
const tokens = (batch: number, { vocabulary, steps }: typeof gpt): Tensor => randint(0, vocabulary, [batch, steps]);

/** The seed of every model's weights and data, where contenders must have the same ones. */
export const SEED = 1;

export const tasks: readonly ModelTask[] = [
  { name: "infer: MLP 784-128-10 B=1", make: () => infer(mlp(784, 128, 10), rand([1, 784])), int8: infer },
  { name: "infer: MLP 784-128-10 B=64", make: () => infer(mlp(784, 128, 10), rand([64, 784])), int8: infer },
  {
    name: "infer: LSTM 28→128 T=28 B=1",
    make: () => infer(new Recurrent({ kind: "lstm", inputs: 28, hidden: 128, outputs: 10 }), rand([28, 1, 28])),
  },
  { name: "infer: BERT 6×384 T=128 B=1", make: () => infer(new Bert(bert), tokens(1, bert)), int8: infer },
  {
    name: "infer: GPT 6×384, token 128, B=1",
    make: () =>
      inferToken(new Gpt(generator), tokens(1, { ...generator, steps: 1 }), tokens(1, { ...generator, steps: 127 })),
    int8: inferToken,
  },
  { name: "infer: ResNet-18 224×224 B=1", make: () => infer(new ResNet18("large", 1000), rand([1, 224, 224, 3])) },
  { name: "infer: MobileNetV2 224×224 B=1", make: () => infer(new MobileNetV2(1000), rand([1, 224, 224, 3])) },
  {
    name: "train: ResNet-18 32×32 B=32",
    make: () => train(new ResNet18("small", 10), rand([32, 32, 32, 3]), randint(0, 10, [32])),
  },
  {
    name: "train: GPT 6×256 T=128 B=8",
    make: () => train(new Gpt(gpt), tokens(8, gpt), randint(0, gpt.vocabulary, [8 * gpt.steps])),
  },
  {
    name: "train: MLP 784-512-10 B=128",
    make: () => train(mlp(784, 512, 10), rand([128, 784]), randint(0, 10, [128])),
  },
  {
    name: "train: tabular MLP 100-256-128-1 B=1024",
    make: () => train(mlp(100, 256, 128, 1), randn([1024, 100]), randn([1024, 1]), losses.mse),
  },
  {
    name: "train: embedding 50000×128, 256 tokens",
    make: () => train(new BagOfWords(50_000, 128, 10), randint(0, 50_000, [8, 32]), randint(0, 10, [8])),
  },
  ...networks.map((network) => ({
    name: `train: ${network.name}`,
    make: () => {
      const { x, labels } = networkStart(network);
      const [model, input] = build(network, x);
      return train(model, input, tensor(labels));
    },
  })),
];
