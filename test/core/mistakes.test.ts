/** Typical mistakes of newcomers, and the exact error message for each. Each message names the function, what it got, and the fix. */
import {
  arange,
  compile,
  concat,
  conv2d,
  detectAnomaly,
  einsum,
  full,
  grad,
  indexSelect,
  init,
  losses,
  max,
  nn,
  noGrad,
  normal,
  ones,
  optim,
  rand,
  randint,
  randn,
  softplus,
  stack,
  sum,
  summary,
  type Tensor,
  Tensor as TensorClass,
  tensor,
  tidy,
  uniform,
  zeros,
} from "nabla";
import { loadState, readSafetensors, saveState, toPyTorch, writeSafetensors } from "nabla/formats";
import { hessianTrace, saliency } from "nabla/gradients";
import { inferenceHandler } from "nabla/serverless";
import { expect, test, vi } from "vitest";

/** Passes a value of the wrong type, as JavaScript callers can. */
const any = <T>(value: unknown): T => value as T;
const model = new nn.Sequential(new nn.Linear(2, 3), new nn.ReLU(), new nn.Linear(3, 1));
const params = model.parameters();
const x = ones([4, 2]);
const y = ones([4, 1]);
const int = (values: number[]): Tensor => tensor(values, { dtype: "int32" });
/** Lets a test call a function with any arguments. */
const many = (f: unknown): ((...args: unknown[]) => unknown) => f as (...args: unknown[]) => unknown;
const linear = new nn.Linear(2, 3);
class Silent extends nn.Module {
  static override readonly kind: string = "Silent";
  forward(): void {}
}
const sgd = (): optim.SGD => new optim.SGD(params, { lr: 0.1 });

const mistakes: [code: string, call: () => unknown, message: string][] = [
  ["new Adam(params, 0.1)", () => new optim.Adam(params, any(0.1)), "Adam: options must be an object, got 0.1. Did you mean { lr: 0.1 }? Valid options: lr, betas, eps, weightDecay, amsgrad, maximize."],
  ["Adam({ learningRate })", () => new optim.Adam(params, any({ learningRate: 0.1 })), 'Adam: unknown option "learningRate". Did you mean "lr"? Valid options: lr, betas, eps, weightDecay, amsgrad, maximize.'],
  ["Adam({ weight_decay })", () => new optim.Adam(params, any({ weight_decay: 0.1 })), 'Adam: unknown option "weight_decay". Did you mean "weightDecay"? Valid options: lr, betas, eps, weightDecay, amsgrad, maximize.'],
  ["Adam({ lr: '0.01' })", () => new optim.Adam(params, any({ lr: "0.01" })), 'Adam: lr must be a number, got "0.01". Write it without quotes: 0.01.'],
  ["new Adam(model)", () => new optim.Adam(any(model)), "Adam: params must be an array, got a module (Sequential). Pass model.parameters()."],
  ["new SGD(params)", () => new optim.SGD(params, any(undefined)), "SGD: option lr is required. Pass { lr: … }, a number."],
  ["new StepLR(model, 5)", () => new optim.StepLR(any(model), 5), "StepLR: optimizer must be an optimizer, got a module (Sequential). Pass the optimizer that trains the model."],
  ["mse(a, b, 'sum')", () => losses.mse(y, y, any("sum")), 'mse: options must be an object, got "sum". Did you mean { reduction: "sum" }? Valid options: reduction.'],
  ["mse([1], [2])", () => losses.mse(any([1]), any([2])), "mse: x must be a tensor, got the array [1]. Wrap values in tensor(…)."],
  ["crossEntropy(x, [0, 1])", () => losses.crossEntropy(x, any([0, 1])), 'crossEntropy: target must be a tensor, got the array [0, 1]. Use tensor([0, 1], { dtype: "int32" }).'],
  ["crossEntropy(model, labels)", () => losses.crossEntropy(any(model), y), "crossEntropy: logits must be a tensor, got a module (Sequential). Pass the result of its forward(x), or a parameter such as its weight."],
  ["mse(promise, y)", () => losses.mse(any(Promise.resolve(y)), y), "mse: x must be a tensor, got a Promise. Await it first."],
  ["x.sum(1, true)", () => x.sum(1, any(true)), "sum: options must be an object, got true. Did you mean { keepdim: true }? Valid options: keepdim."],
  ["x.sum({ keepDim })", () => x.sum(1, any({ keepDim: true })), 'sum: unknown option "keepDim". Did you mean "keepdim"? Valid options: keepdim.'],
  ["x.sum('1')", () => x.sum(any("1")), 'sum: dims must be a number or an array of numbers, got "1". Write it without quotes: 1.'],
  ["x.add('1')", () => x.add(any("1")), 'add: b must be a tensor or a number, got "1". Write it without quotes: 1.'],
  ["x.add([1, 2])", () => x.add(any([1, 2])), "add: b must be a tensor or a number, got the array [1, 2]. Wrap values in tensor(…)."],
  ["x.add()", () => (x.add as () => unknown)(), "add: b must be a tensor or a number, got undefined. Pass a tensor or a number."],
  ["x.relu(true)", () => (x.relu as (v: unknown) => unknown)(true), "relu: takes no arguments, got 1: argument 1 is true. Remove it."],
  ["x > 0", () => any<number>(x) > 0, "operator: +, -, <, > and == do not work on tensors, got a tensor [4, 2]. Use x.add(y), x.gt(y) or x.eq(y), x.item() for a number, or String(x) for text."],
  ["indexSelect(0, [0, 1])", () => x.indexSelect(0, any([0, 1])), 'indexSelect: index must be a tensor, got the array [0, 1]. Use tensor([0, 1], { dtype: "int32" }).'],
  ["concat(a, b)", () => concat(any(x), any(x)), "concat: tensors must be an array of tensors, got a float32 tensor [4, 2]. Pass all tensors in one array."],
  ["stack([1, 2])", () => stack(any([1, 2])), "stack: tensors must be an array of tensors, got the array [1, 2]. Use tensor(…) for a tensor of numbers."],
  ["tensor(['1'])", () => tensor(any(["1"])), 'tensor: values must be numbers, booleans or arrays of them, got "1". Convert strings with Number(…).'],
  ["full([2])", () => full([2], any(undefined)), "full: value must be a number, got undefined. Pass a number."],
  ["zeros(2)", () => zeros(any(2)), "zeros: 2 is not a shape. Pass an array of whole numbers, such as [2, 3]."],
  ["pad([1, 1], 'reflect')", () => x.pad([1, 1], any("reflect")), 'pad: value must be a number, got "reflect". Only constant padding is supported: pad(padding, value).'],
  ["Linear(2, 3, false)", () => new nn.Linear(2, 3, any(false)), "Linear: options must be an object, got false. Did you mean { bias: false }? Valid options: bias."],
  ["Linear('2', 3)", () => new nn.Linear(any("2"), 3), 'Linear: inFeatures must be a number, got "2". Write it without quotes: 2.'],
  ["LSTM(2, 3, 2)", () => new nn.LSTM(2, 3, any(2)), "LSTM: options must be an object, got 2. Did you mean { numLayers: 2 }? Valid options: numLayers, bias, batchFirst, dropout, bidirectional."],
  ["LSTM({ num_layers })", () => new nn.LSTM(2, 3, any({ num_layers: 2 })), 'LSTM: unknown option "num_layers". Did you mean "numLayers"? Valid options: numLayers, bias, batchFirst, dropout, bidirectional.'],
  ["ReLU({ inplace })", () => new (nn.ReLU as new (o: unknown) => nn.ReLU)({ inplace: true }), "ReLU: takes no arguments, got 1: argument 1 is the object { inplace }. Remove it."],
  ["model.forward([1, 2])", () => model.forward(any([1, 2])), "Sequential: x must be a tensor, got the array [1, 2]. Wrap values in tensor(…)."],
  ["new Sequential([…])", () => new nn.Sequential(any([new nn.ReLU()])), "Sequential: layer must be a module, got the array […]. Spread the array: Sequential(...array)."],
  ["a function in Sequential", () => new nn.Sequential(any((v: Tensor) => v)), "Sequential: layer must be a module, got a function. Construct a class with new; wrap a function in a class that extends nn.Module."],
  ["a class in Sequential", () => new nn.Sequential(any(nn.ReLU)), "Sequential: layer must be a module, got a class. Construct a class with new; wrap a function in a class that extends nn.Module."],
  ["an LSTM in Sequential", () => new nn.Sequential(any(new nn.LSTM(2, 3)), new nn.Linear(3, 1)).forward(ones([5, 4, 2])), "Sequential: layer 0 (LSTM) returned the array [a tensor, …], but the next layer needs one tensor. Wrap it in a module whose forward returns the tensor you need."],
  ["minimize without a result", () => sgd().minimize(any(() => {})), "SGD.minimize: the function returned nothing. Return the loss from the function."],
  ["minimize with a number", () => sgd().minimize(any(() => full([1], 1.5).item())), "SGD.minimize: the loss must be a tensor, got 1.5. Return the loss tensor itself, without item() or toArray()."],
  ["minimize with a promise", () => sgd().minimize(any(async () => losses.mse(model.forward(x), y))), "SGD.minimize: f returned a promise, but SGD.minimize ends when f returns. Call SGD.minimize inside the async function instead."],
  ["minimize with an unreduced loss", () => sgd().minimize(() => losses.mse(model.forward(x), y, { reduction: "none" })), "SGD.minimize: the loss is [4, 1], not a single number. Reduce it with mean() or sum()."],
  ["minimize with a constant", () => sgd().minimize(() => x.sum()), "SGD.minimize: the loss depends on nothing that requires a gradient. Compute it from the model's parameters, outside noGrad and without detach() or item()."],
  ["noGrad(value)", () => noGrad(any(x)), "noGrad: f must be a function, got a float32 tensor [4, 2]. Pass the function that computes it, not its result."],
  ["tidy(async)", () => tidy(any(async () => x)), "tidy: f returned a promise, but tidy ends when f returns. Call tidy inside the async function instead."],
  ["grad of a number", () => grad(any<(v: Tensor) => Tensor>(() => 3))(x), "grad: the function must return a tensor, got 3. Return the result of the last op, without item() or toArray()."],
  ["compile(f())", () => compile(any<() => Tensor>(x)), "compile: f must be a function, got a float32 tensor [4, 2]. Pass the function that computes it, not its result."],
  ["compile({ names })", () => compile((v: Tensor) => v, any({ names: "f" })), 'compile: unknown option "names". Did you mean "name"? Valid options: name, finite.'],
  ["arange(…, { type })", () => arange(3, any({ type: "int32" })), 'arange: unknown option "type". Did you mean "dtype"? Valid options: dtype, requiresGrad.'],
  ["saveState(model)", () => saveState(any(model)), "saveState: options must be an object, got a module (Sequential). Did you mean { model: … }? Valid options: model, optimizer, scheduler, average, step, extra."],
  ["loadState(path)", () => loadState(any("a.safetensors"), { model }), 'loadState: file must be an ArrayBuffer or a Uint8Array, got "a.safetensors". Read the file first: readFileSync(path).'],
  ["readSafetensors(path)", () => readSafetensors(any("a.safetensors")), 'readSafetensors: file must be an ArrayBuffer or a Uint8Array, got "a.safetensors". Read the file first: readFileSync(path).'],
  ["loadStateDict(bytes)", () => model.loadStateDict(any(new Uint8Array(9))), "loadStateDict: state must be an object, got a Uint8Array of 9 bytes. Pass readSafetensors(bytes).tensors, or use loadState(bytes, { model })."],
  ["inferenceHandler({ inputs })", () => inferenceHandler(any({ load: () => model, inputs: { shape: [null, 2] } })), 'inferenceHandler: unknown option "inputs". Did you mean "input"? Valid options: load, input, output, limits, batching, warm, name, path, token, authorize, onError, cors, metrics, requestIds, accessLog, onRefused.'],
  ["summary(model, 2)", () => summary(model, any(2)), "summary: inputShape must be an array, got 2. Pass an array."],
  ["saliency(x, model)", () => saliency(any(x), any(model)), "saliency: f must be a module or a function, got a float32 tensor [4, 2]. Pass the model or function first."],
  ["hessianTrace(model)", () => hessianTrace(any(model)), "hessianTrace: objective must be an objective, got a module (Sequential). Pass objective(model, () => losses.mse(model.forward(x), y))."],
  ["x.shape[0] = 8", () => { const v = ones([2, 3]); any<number[]>(v.shape)[0] = 8; v.sum(); }, "sum: the shape of a tensor was changed to [8, 3]. Shapes are read-only: copy one with [...x.shape], or use reshape(…) or permute(…)."],
  ["x.shape.reverse()", () => { const v = ones([2, 3]); any<number[]>(v.shape).reverse(); v.add(1); }, "add: the shape of a tensor was changed to [3, 2]. Shapes are read-only: copy one with [...x.shape], or use reshape(…) or permute(…)."],
  ["x.shape = [8]", () => { const v = ones([2, 3]); any<{ shape: number[] }>(v).shape = [8]; v.toArray(); }, "toArray: the shape of a tensor was changed to [8]. Shapes are read-only: copy one with [...x.shape], or use reshape(…) or permute(…)."],
  ["oneHot of −1", () => int([0, -1]).oneHot(3), "oneHot: index -1 at position 1 is outside 0 … 2."],
  ["oneHot of the number of classes", () => int([3]).oneHot(3), "oneHot: index 3 at position 0 is outside 0 … 2."],
  ["oneHot of a fraction", () => tensor([0.5]).oneHot(3), 'oneHot: the index must be int32, got float32. Convert it with .to("int32").'],
  ["oneHot of −1, compiled", () => compile((v: Tensor) => v.oneHot(3))(int([-1])), "oneHot: index -1 at position 0 is outside 0 … 2."],
  ["detectAnomaly(loss)", () => detectAnomaly(any(x)), "detectAnomaly: f must be a function, got a float32 tensor [4, 2]. Pass the function that computes it, not its result."],
  ["new Tensor([1, 2])", () => new (TensorClass as unknown as new (v: unknown) => Tensor)([1, 2]), "Tensor: new Tensor(…) is internal. Use tensor(values)."],
  ["new ParamGroup()", () => new (optim.ParamGroup as new () => unknown)(), "ParamGroup: params must be an array, got undefined. Pass an array of groups [{ params, lr }] to an optimizer instead."],
  ["new Optimizer(params)", () => new (optim.Optimizer as unknown as new (v: unknown, o: unknown) => unknown)(params, { lr: 1 }), "Optimizer: this class is abstract. Use a subclass, such as new optim.Adam(params)."],
  ["new KeyValueCache()", () => new (nn.KeyValueCache as new () => unknown)(), "KeyValueCache: batch must be a number, got undefined. Pass a number."],
  ["layer.forward(x, x, x, { cache: {} })", () => new nn.MultiheadAttention(2, 1).forward(randn([1, 1, 2]), undefined, undefined, { cache: {} as never }), "MultiheadAttention: cache must be a KeyValueCache, got the object {}. Pass a KeyValueCache."],
  ["parameter(x, true)", () => nn.parameter(ones([2]), any(true)), "parameter: owner must be a module, got true. Omit it: a parameter always requires a gradient."],
  ["zeros of an unknown dtype", () => zeros([2], { dtype: any("double") }), 'zeros: "double" is not a dtype. Use float32, int32, bool or uint8.'],
  ["view with the wrong number of elements", () => ones([4]).view(3), "view: [4] has 4 elements, which do not fit [3]."],
  ["a token outside the vocabulary", () => new nn.Embedding(3, 2).forward(int([5])), "embedding: index 5 at position 0 is outside 0 … 2."],
  ["Upsample of a tensor without images", () => new nn.Upsample({ scaleFactor: 2 }).forward(ones([2])), "Upsample: x must be [batch, height, width, channels], got [2]."],
  ["group.lr = '1'", () => { sgd().paramGroups[0]!.lr = any("1"); }, 'SGD: lr must be a number, got "1". Write it without quotes: 1.'],
  ["a LambdaLR that returns a string", () => new optim.LambdaLR(sgd(), any(() => "a")), `LambdaLR: lambda's result must be a number, got "a". Pass a number.`],
  ["clamp({ min })", () => x.clamp(any({ min: 0 })), "clamp: low must be a number, got the object { min }. Use clamp(low, high) with numbers or null; for tensor bounds, use maximum and minimum."],
  ["clamp('0', 1)", () => x.clamp(any("0"), 1), 'clamp: low must be a number, got "0". Write it without quotes: 0.'],
  ["sum({ dim })", () => x.sum(any({ dim: 1 })), 'sum: unknown option "dim". Pass dims as an argument. Valid options: keepdim.'],
  ["randn([2], 0, 1)", () => (randn as (...args: unknown[]) => Tensor)([2], 0, 1), "randn: options must be an object, got 0. Use normal(shape, mean, std). Valid options: dtype, requiresGrad."],
  ["SequentialLR(optimizer, …)", () => new optim.SequentialLR(any(sgd()), any([])), "SequentialLR: schedulers must be an array, got an optimizer (SGD). Omit the optimizer: each schedule has one."],
  ["zeros([NaN])", () => zeros([Number.NaN]), "zeros: [NaN] is not a shape. Pass an array of whole numbers, such as [2, 3]."],
  ["new Adam(model.parameters)", () => new optim.Adam(any(model.parameters)), "Adam: params must be an array, got a function. Call it: model.parameters()."],
  ["new Adam(model.stateDict())", () => new optim.Adam(any(linear.stateDict())), "Adam: params must be an array, got the object { weight, bias }. Pass model.parameters()."],
  ["new Adam([])", () => new optim.Adam([]), "Adam: params must have at least one tensor, got []. Assign layers and nn.parameter(…) tensors to public properties of the model, or to arrays there: parameters() finds only those."],
  ["zeros(2, 3)", () => zeros(any(2), any(3)), "zeros: options must be an object, got 3. Did you mean zeros([2, 3])? Valid options: dtype, requiresGrad."],
  ["ones(2, 3, 4, {})", () => many(ones)(2, 3, 4, {}), "ones: options must be an object, got 3. Did you mean ones([2, 3, 4])? Valid options: dtype, requiresGrad."],
  ["randn(2, 3)", () => randn(any(2), any(3)), "randn: options must be an object, got 3. Did you mean randn([2, 3])? Valid options: dtype, requiresGrad."],
  ["rand(2, 3)", () => rand(any(2), any(3)), "rand: options must be an object, got 3. Did you mean rand([2, 3])? Valid options: dtype, requiresGrad."],
  ["x.sum(0, 1)", () => x.sum(0, any(1)), "sum: options must be an object, got 1. Did you mean sum([0, 1])? Valid options: keepdim."],
  ["sum(x, 0, 1)", () => sum(x, 0, any(1)), "sum: options must be an object, got 1. Did you mean sum(x, [0, 1])? Valid options: keepdim."],
  ["x.broadcastTo(2, 3)", () => many(x.broadcastTo.bind(x))(2, 3), "broadcastTo: shape must be an array of numbers, got 2. Did you mean broadcastTo([2, 3])?"],
  ["tensor(1, 2, 3)", () => tensor(1, any(2), any(3)), "tensor: shape must be an array of numbers, got 2. Did you mean tensor([1, 2, 3])?"],
  ["tensor(values, 2, 3)", () => tensor(new Float32Array(6), any(2), any(3)), "tensor: shape must be an array of numbers, got 2. Did you mean tensor(values, [2, 3])?"],
  ["tensor([1, 2], 'int32')", () => tensor([1, 2], any("int32")), 'tensor: shape must be an array of numbers, got "int32". Did you mean { dtype: "int32" }?'],
  ["tensor([1, 2], true)", () => tensor([1, 2], any(true)), "tensor: shape must be an array of numbers, got true. Did you mean { requiresGrad: true }?"],
  ["x.sort(true)", () => x.sort(any(true)), "sort: dim must be a number, got true. Did you mean { descending: true }?"],
  ["randint(10, [3])", () => many(randint)(10, [3]), "randint: high must be a number, got the array [3]. Pass the arguments as randint(low, high, shape)."],
  ["uniform([2], 1, -1)", () => uniform([2], 1, -1), "uniform: low must not be above high (-1), got 1."],
  ["normal([2], 1, -1)", () => normal([2], 1, -1), "normal: std must be finite and at least 0, got -1."],
  ["x.indexSelect(index, 0)", () => x.indexSelect(any(int([0])), any(0)), "indexSelect: dim must be a number, got an int32 tensor [1]. Pass the arguments as indexSelect(dim, index)."],
  ["indexSelect(x, index, 0)", () => indexSelect(x, any(int([0])), any(0)), "indexSelect: dim must be a number, got an int32 tensor [1]. Pass the arguments as indexSelect(x, dim, index)."],
  ["x.gather(index)", () => many(x.gather.bind(x))(int([0])), "gather: dim must be a number, got an int32 tensor [1]. Pass the arguments as gather(dim, index)."],
  ["clipGradNorm(1, params)", () => optim.clipGradNorm(any(1), any(params)), "clipGradNorm: params must be an array, got 1. Pass the arguments as clipGradNorm(params, maxNorm)."],
  ["softplus(x, tensor)", () => softplus(x, any(ones([]))), "softplus: beta must be a number, got a float32 tensor []. Pass beta.item()."],
  ["x.max(y)", () => x.max(any(y)), "max: dims must be a number or an array of numbers, got a float32 tensor [4, 1]. Use maximum(a, b) for two tensors."],
  ["max(1, 2)", () => max(1, 2), "max: x must have at least one dimension, got a number or a tensor []. For two numbers, use maximum(a, b)."],
  ["x.reshape(-1, -1)", () => x.reshape(-1, -1), "reshape: only one size may be -1, got [-1, -1]."],
  ["einsum(equation, [a, b])", () => einsum("ij,kj->ik", any([x, x])), "einsum: operands must be a tensor, got the array [a tensor, a tensor]. Spread the array: einsum(equation, ...array)."],
  ["nll(x, [0, 1])", () => losses.nll(x, any([0, 1])), 'nll: labels must be a tensor, got the array [0, 1]. Use tensor([0, 1], { dtype: "int32" }).'],
  ["Embedding.forward([[1, 2]])", () => new nn.Embedding(3, 2).forward(any([[1, 2]])), 'Embedding: index must be a tensor, got the array […]. Use tensor([…], { dtype: "int32" }).'],
  ["crossEntropy(labels, logits)", () => losses.crossEntropy(int([0, 1]), x), "crossEntropy: logits must be float32, got int32 [2]. Pass the arguments as crossEntropy(logits, target)."],
  ["minimize with [loss, logits]", () => sgd().minimize(any(() => [x, y])), "SGD.minimize: the loss must be a tensor, got the array [a tensor, a tensor]. Return only the loss; keep() other results in outer variables."],
  ["minimize with backward", () => sgd().minimize(() => { const loss = losses.mse(model.forward(x), y); loss.backward(); return loss; }), "sum: an earlier backward freed this part of the graph. minimize calls backward itself, so do not call it too; otherwise recompute the loss, or call the first backward with { retainGraph: true }."],
  ["step(loss)", () => sgd().step(any(ones([]))), "SGD.step: closure must be a function, got a float32 tensor []. Call loss.backward() before step(), or minimize(() => loss)."],
  ["LSTM.forward(x, h)", () => any<nn.GRU>(new nn.LSTM(2, 3)).forward(ones([4, 1, 2]), ones([1, 1, 3])), "LSTM: state must be an array of tensors, got a float32 tensor [1, 1, 3]. Pass both states: [h0, c0]."],
  ["Conv1d with channels first", () => new nn.Conv1d(3, 8, 3).forward(ones([2, 3, 10])), "conv1d: sequences [2, 3, 10] do not fit the weight [8, 3, 3] with 1 group: they must have 3 channels, got 10. Channels are last: convert PyTorch's sequences with x.permute([0, 2, 1])."],
  ["Conv1d with channels first, without a batch", () => new nn.Conv1d(3, 8, 3).forward(ones([3, 10])), "conv1d: sequences [3, 10] do not fit the weight [8, 3, 3] with 1 group: they must have 3 channels, got 10. Channels are last: convert PyTorch's sequences with x.permute([1, 0])."],
  ["ConvTranspose1d with channels first", () => new nn.ConvTranspose1d(3, 8, 2).forward(ones([2, 3, 10])), "convTranspose1d: sequences [2, 3, 10] do not fit the weight [3, 2, 8] with 1 group: they must have 3 channels, got 10. Channels are last: convert PyTorch's sequences with x.permute([0, 2, 1])."],
  ["conv2d with PyTorch's weights", () => conv2d(ones([1, 9, 9, 3]), ones([8, 3, 5, 5])), "conv2d: images [1, 9, 9, 3] do not fit the weight [8, 3, 5, 5] with 1 group: they must have 5 channels, got 3. Channels are last: convert PyTorch's weights with w.permute([0, 2, 3, 1])."],
  ["convolutions whose channels differ", () => conv2d(ones([1, 9, 9, 8]), ones([8, 3, 3, 16])), "conv2d: images [1, 9, 9, 8] do not fit the weight [8, 3, 3, 16] with 1 group: they must have 16 channels, got 8. Channels are last, as in the output of the layer before."],
  ["clipGradNorm(1)", () => many(optim.clipGradNorm)(1), "clipGradNorm: params must be an array, got 1. Pass the arguments as clipGradNorm(params, maxNorm)."],
  ["Conv2d with padding 'SAME'", () => new nn.Conv2d(1, 8, 3, { padding: any("SAME") }), 'Conv2d: padding must be one of same, valid, got "SAME". Did you mean "same"?'],
  ["GELU({ approximate: 'fast' })", () => new nn.GELU({ approximate: any("fast") }), 'GELU: approximate must be one of none, tanh, got "fast".'],
  ["a Sequential with a last layer that returns nothing", () => new nn.Sequential(linear, new Silent()).forward(x), "Sequential: layer 1 (Silent) returned nothing. Return the result from its forward."],
  ["Sequential whose sizes differ", () => new nn.Sequential(new nn.Linear(2, 16), new nn.ReLU(), new nn.Linear(8, 1)).forward(x), "Sequential: layer 2 (Linear) failed. linear: [4, 16] does not fit the weight [1, 8]: the last size must be 8."],
  ["a Sequential inside a Sequential", () => new nn.Sequential(new nn.ReLU(), new nn.Sequential(new nn.Linear(3, 1))).forward(x), "Sequential: layer 1.0 (Linear) failed. linear: [4, 2] does not fit the weight [1, 3]: the last size must be 3."],
  ["concat of scalars", () => concat([tensor(1), tensor(2)]), "concat: x must have at least one dimension, got a number or a tensor []. Pass a tensor with dimensions."],
  ["loadStateDict of its own tensors under other names", () => linear.loadStateDict({ "module.weight": linear.weight, bias: linear.bias! }), "loadStateDict: missing: weight; unexpected: module.weight. Pass { strict: false } to load only matching names."],
  ["Sequential without Flatten", () => new nn.Sequential(new nn.MaxPool2d(2), new nn.Linear(18, 1)).forward(ones([4, 6, 6, 2])), "Sequential: layer 1 (Linear) failed. linear: [4, 3, 3, 2] does not fit the weight [1, 18]: the last size must be 18. Flatten the samples first: x.flatten(1) or nn.Flatten."],
  ["a layer without forward", () => new nn.Sequential(any(new (class extends any<new () => object>(nn.Module) {})())), "Sequential: layer must be a module, got a module without forward (Module). Give its class a forward(x) method."],
  ["x[0] = 5", () => { const v = ones([3]); any<Record<number, number>>(v)[0] = 5; return v.toArray(); }, "toArray: elements cannot be set with x[0] = …. Use copyFrom(values), or where(mask, a, x)."],
  ["x[2] = 5 and data", () => { const v = ones([]); any<Record<number, number>>(v)[2] = 5; return v.data; }, "data: elements cannot be set with x[2] = …. Use copyFrom(values), or where(mask, a, x)."],
  ["loadStateDict of its own tensors", () => linear.loadStateDict(linear.stateDict()), "loadStateDict: state must be a copy, got the module's own tensors. Keep a copy with saveState({ model }), and load it with loadState."],
  ["loadStateDict(model)", () => linear.loadStateDict(any(linear)), "loadStateDict: state must be an object, got a module (Linear). Pass model.stateDict()."],
  ["writeSafetensors(model)", () => writeSafetensors(any(linear)), "writeSafetensors: tensors must be an object, got a module (Linear). Pass model.stateDict()."],
  ["loadStateDict(readSafetensors(bytes))", () => linear.loadStateDict(any(readSafetensors(writeSafetensors(linear.stateDict()))), { strict: false }), "loadStateDict: state must be tensors by name, got the object { tensors, metadata } that readSafetensors returns. Pass its tensors."],
  ["loadStateDict of PyTorch's layout", () => new nn.Conv2d(1, 2, 3).loadStateDict(toPyTorch(new nn.Conv2d(1, 2, 3))), "loadStateDict: weight must be float32 [2, 3, 3, 1], got float32 [2, 1, 3, 3]. Convert PyTorch's layout with fromPyTorch(model, state)."],
  ["console.log in compile", () => compile((v: Tensor) => { any<Record<symbol, () => string>>(v)[Symbol.for("nodejs.util.inspect.custom")]!(); return v; })(x), "console.log: the float32 tensor [4, 2] made by compile's argument has no value while compile records the function. Return it and read it outside, or choose between values with where(…)."],
  ["a template string in compile", () => compile((v: Tensor) => { `${v}`; return v; })(x), "toString: the float32 tensor [4, 2] made by compile's argument has no value while compile records the function. Return it and read it outside, or choose between values with where(…)."],
]; // biome-ignore format: a table

test.each(mistakes)("%s: the error says how to fix it", (_, call, message) => {
  let found: unknown;
  try {
    call();
  } catch (error) {
    found = error;
  }
  expect(found).toBeInstanceOf(Error);
  const text = (found as Error).message;
  expect(text).toBe(message);
  expect(text.length).toBeLessThanOrEqual(300);
});
test.each([
  ["a loss", (n: optim.SGD, f: () => Tensor) => n.minimize(f)],
  ["several losses", (n: optim.SGD, f: () => Tensor) => n.minimize([f])],
  ["a compiled step", (n: optim.SGD, f: () => Tensor) => compile(() => n.minimize(f))()],
])("minimize throws for %s of another model, and changes no parameter", (_, minimize) => {
  const other = new nn.Linear(2, 1);
  const states = (): unknown => [linear, other].map((m) => m.parameters().map((p) => p.toArray()));
  const before = states();
  const optimizer = new optim.SGD(linear.parameters(), { lr: 0.1, momentum: 0.9 });
  expect(() => minimize(optimizer, () => losses.mse(other.forward(x), y))).toThrow(
    "SGD.minimize: the loss depends on none of the optimizer's parameters. Create the optimizer with the parameters of the model that computes the loss.",
  );
  expect(states()).toEqual(before);
  expect(optimizer.stateDict().state).toEqual([{}, {}]);
});
test("step warns once if no parameter has a gradient", () => {
  const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
  const optimizer = new optim.Adam(linear.parameters());
  for (let i = 0; i < 2; i++) {
    optimizer.zeroGrad();
    losses.mse(new nn.Linear(2, 1).forward(x), y).backward();
    optimizer.step();
  }
  const texts = warn.mock.calls.map(([text]) => text as string).filter((text) => text.includes("Adam.step"));
  warn.mockRestore();
  expect(texts).toEqual([
    "nabla: Adam.step: no parameter has a gradient, so the step changes nothing. Call backward() first, on a loss that depends on these parameters.",
  ]);
});
test("init's error shows a string in quotes", async () => {
  await expect(init(any({ threads: "2" }))).rejects.toThrow(
    /^init: threads must be "auto" or a whole number in 1 … 64, got "2"\.$/,
  );
});
test("init rejects an unknown option before it starts the engine", async () => {
  await expect(init(any({ thread: 2 }))).rejects.toThrow(
    'init: unknown option "thread". Did you mean "threads"? Valid options: threads, build, module, deterministic, memoryLimit, winograd, wide.',
  );
});
test("a tensor becomes an array in JSON and text in template strings, and structuredClone's error says how to send it", () => {
  const v = tensor([[1, 2]], { dtype: "int32" });
  expect(JSON.stringify({ inputs: v })).toBe('{"inputs":[[1,2]]}');
  expect(`${v}`).toBe("tensor([[1, 2]], int32)");
  for (const use of [() => any<number>(v) + 1, () => +any<number>(v)]) expect(use).toThrow(/^operator: .* x\.item\(\)/);
  expect(() => structuredClone(v)).toThrow(/Send x\.data and x\.shape/);
});
test("view takes sizes or a shape, with one −1 allowed, as in PyTorch", () => {
  expect(ones([4]).view(2, 2).shape).toEqual([2, 2]);
  expect(ones([4]).view([-1, 2]).shape).toEqual([2, 2]);
  expect(() => ones([4]).view(3)).toThrow("view: [4] has 4 elements, which do not fit [3].");
});
test("options may take the place of optional arguments", () => {
  const m = tensor([[3, 1, 2], [6, 5, 4]]); // biome-ignore format: a matrix
  expect(arange(3, { dtype: "int32" }).dtype).toBe("int32");
  expect(arange(1, 3, { dtype: "int32" }).toArray()).toEqual([1, 2]);
  expect(m.topK(1, { largest: false })[0]!.toArray()).toEqual([[1], [4]]);
  expect(m.sort({ descending: true })[0]!.toArray()).toEqual([[3, 2, 1], [6, 5, 4]]); // biome-ignore format: a matrix
  expect(m.argMax({ keepdim: true }).shape).toEqual([1, 1]);
  expect(m.norm({ keepdim: true }).shape).toEqual([1, 1]);
  expect(m.norm(1, { keepdim: true }).item()).toBe(21);
  expect(m.sum({ keepdim: true }).shape).toEqual([1, 1]);
});
