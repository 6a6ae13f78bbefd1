// Trains a multi-layer perceptron with Adam in a compiled step.
import { compile, losses, nn, optim, rand } from "../../dist/src/index.js";

const model = new nn.Sequential(new nn.Linear(784, 128), new nn.ReLU(), new nn.Linear(128, 10));
const optimizer = new optim.Adam(model.parameters());
const step = compile((x, labels) => optimizer.minimize(() => losses.crossEntropy(model.forward(x), labels)));
for (let i = 0; i < 100; i++) step(rand([32, 784]), new Int32Array(32));
