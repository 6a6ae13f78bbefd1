/** The benchmarks' models have the sizes that their papers and PyTorch's implementations give. */
import { compile, manualSeed, type nn, noGrad, randint, randn, type Tensor } from "nabla";
import { afterEach, expect, test } from "vitest";
import { tasks } from "../../bench/models/index.ts";
import { MobileNetV2 } from "../../bench/models/mobilenet.ts";
import { ResNet18 } from "../../bench/models/resnet.ts";
import { Bert, Gpt } from "../../bench/models/transformers.ts";

let model: nn.Module | undefined;
afterEach(() => model?.dispose());

const parametersOf = (): number => model!.parameters().reduce((total, { size }) => total + size, 0);
/** The multiply-adds of one forward pass. */
function multiplyAdds(x: Tensor): number {
  model!.eval();
  const infer = compile((input: Tensor) => noGrad(() => model!.forward(input) as Tensor));
  const { flops } = infer.profile([x], { calls: 1 });
  infer.dispose();
  return flops / 2;
}

// The counts of torchvision's models.
test("ResNet-18 has 11,689,512 parameters, and 1.81 billion multiply-adds for 224² pixels", () => {
  model = new ResNet18("large", 1000);
  expect(parametersOf()).toBe(11_689_512);
  expect(multiplyAdds(randn([1, 224, 224, 3]))).toBe(1_814_073_344);
});

test("MobileNetV2 has 3,504,872 parameters, and 301 million multiply-adds for 224² pixels", () => {
  model = new MobileNetV2(1000);
  expect(parametersOf()).toBe(3_504_872);
  expect(multiplyAdds(randn([1, 224, 224, 3]))).toBe(300_774_272);
});

test("ResNet-18 for images of 32² pixels has 11,173,962 parameters and 555 million multiply-adds", () => {
  model = new ResNet18("small", 10);
  expect(parametersOf()).toBe(11_173_962);
  expect(multiplyAdds(randn([1, 32, 32, 3]))).toBe(555_422_720);
});

/** Without embeddings, a layer has 12·width² weights, 13·width biases and norms; an output has vocabulary·width. */
test("a transformer's layer has 12·width² weights, each used once per token", () => {
  const sizes = { layers: 2, width: 32, heads: 4, vocabulary: 50, steps: 16 };
  const { layers, width, vocabulary, steps } = sizes;
  const layer = 12 * width ** 2 + 13 * width;
  const embeddings = (vocabulary + steps) * width;
  const tokens = randint(0, vocabulary, [1, steps]);
  model = new Bert(sizes);
  expect(parametersOf()).toBe(embeddings + layers * layer + 2 * width);
  const attention = 2 * width * steps ** 2;
  expect(multiplyAdds(tokens)).toBe(layers * (steps * 12 * width ** 2 + attention));
  model.dispose();
  model = new Gpt(sizes);
  expect(parametersOf()).toBe(embeddings + layers * layer + 2 * width + vocabulary * width);
  const causal = width * steps * (steps + 1);
  expect(multiplyAdds(tokens)).toBe(layers * (steps * 12 * width ** 2 + causal) + steps * vocabulary * width);
});

test("training steps reduce the loss", () => {
  for (const name of ["train: tabular MLP 100-256-128-1 B=1024", "train: embedding 50000×128, 256 tokens"]) {
    manualSeed(1);
    const { run, args, dispose } = tasks.find((task) => task.name === name)!.make();
    const first = run(...args).item();
    for (let i = 0; i < 20; i++) run(...args);
    expect(run(...args).item(), name).toBeLessThan(first);
    dispose();
  }
});
