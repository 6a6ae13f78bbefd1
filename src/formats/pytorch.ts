/**
 * PyTorch's state dicts: its names are ours in snake_case, and so are its layouts but for convolutions, whose channels it has in front
 * of the kernel, and for what follows a flattened image, whose channels it has in front of the pixels.
 */

import { Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d } from "../nn/conv.ts";
import { Flatten, Linear } from "../nn/layers.ts";
import { type Module, Sequential, type StateDict } from "../nn/module.ts";
import { BatchNorm } from "../nn/norm.ts";
import { ShapeError } from "../runtime/errors.ts";
import type { Tensor } from "../tensor.ts";

export interface PyTorchOptions {
  /**
   * Linear layers that read a flattened image, by path, with its number of channels: PyTorch flattens channels first. Inside a Sequential this
   * is found out (the channels of the last convolution before Flatten).
   */
  readonly flattened?: Readonly<Record<string, number>>;
}

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

const isConv = (module: Module): module is Conv2d =>
  [Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d].some((layer) => module instanceof layer);

/** The channels of what a Linear layer reads flattened, by the layer. */
function findFlattened(model: Module, { flattened = {} }: PyTorchOptions): Map<Module, number> {
  const found = new Map<Module, number>();
  const modules = new Map(model.namedModules());
  const walk = (
    layers: readonly Module[],
    channels: number | undefined,
    isFlat: boolean,
  ): [number | undefined, boolean] => {
    for (const layer of layers) {
      if (layer instanceof Sequential) [channels, isFlat] = walk(layer.layers, channels, isFlat);
      else if (isConv(layer)) [channels, isFlat] = [layer.outChannels, false];
      else if (layer instanceof Flatten) isFlat = channels !== undefined;
      else if (layer instanceof Linear) {
        if (isFlat) found.set(layer, channels!);
        [channels, isFlat] = [undefined, false];
      }
    }
    return [channels, isFlat];
  };
  const inner = new Set<Module>();
  for (const module of modules.values())
    if (module instanceof Sequential && !inner.has(module)) {
      walk([module], undefined, false);
      for (const [, part] of module.namedModules()) inner.add(part);
    }
  for (const [path, channels] of Object.entries(flattened)) {
    const layer = modules.get(path);
    if (!(layer instanceof Linear)) throw new ShapeError(`flattened: "${path}" is no Linear layer of the model.`);
    found.set(layer, channels);
  }
  for (const [layer, channels] of found)
    if ((layer as Linear).weight.shape[1]! % channels)
      throw new ShapeError(
        `flattened: a Linear layer reads ${(layer as Linear).weight.shape[1]} values, which are no images of ${channels} channels. ` +
          "Say how many there are: { flattened: { path: channels } }.",
      );
  return found;
}

/** A change of layout, there and back. */
interface Layout {
  fromPyTorch(x: Tensor): Tensor;
  toPyTorch(x: Tensor): Tensor;
}
const SAME: Layout = { fromPyTorch: (x) => x, toPyTorch: (x) => x };

/** Kernels: [first, last, …kernel] there, [first, …kernel, last] here. */
const KERNEL: Layout = {
  fromPyTorch: (x) => x.permute(0, ...x.shape.slice(2).map((_, i) => i + 2), 1),
  toPyTorch: (x) => x.permute(0, x.shape.length - 1, ...x.shape.slice(2).map((_, i) => i + 1)),
};

/** Weights [out, channels·pixels] there, [out, pixels·channels] here. */
const flat = (channels: number): Layout => {
  const swap = (x: Tensor, inner: number): Tensor =>
    x.reshape(x.shape[0]!, -1, inner).permute(0, 2, 1).reshape(x.shape);
  return { fromPyTorch: (x) => swap(x, x.shape[1]! / channels), toPyTorch: (x) => swap(x, channels) };
};

interface Counterpart {
  readonly name: string;
  /** Its names there, the likeliest first. */
  readonly theirs: readonly string[];
  readonly own: Tensor;
  readonly layout: Layout;
  /** int64 there: float32 here. */
  readonly counts: boolean;
}

function counterparts(model: Module, options: PyTorchOptions): Counterpart[] {
  const flattened = findFlattened(model, options);
  const modules = new Map(model.namedModules());
  return Object.entries(model.stateDict()).map(([name, own]) => {
    const dot = name.lastIndexOf(".");
    const module = modules.get(dot < 0 ? "" : name.slice(0, dot));
    const last = name.slice(dot + 1);
    const channels = module && flattened.get(module);
    const layout =
      last !== "weight" || !module ? SAME : isConv(module) ? KERNEL : channels !== undefined ? flat(channels) : SAME;
    const counts = last === "numBatchesTracked" && module instanceof BatchNorm;
    const theirs = [snake(name), `${name.slice(0, dot + 1)}${snake(last)}`, name];
    return { name, theirs, own, layout, counts };
  });
}

/**
 * A PyTorch state dict (saved there with safetensors.torch.save_file) as `model.loadStateDict` takes it: names and layouts are
 * turned into ours. Linear, convolutions, LSTM, GRU, RNN, normalizations, embeddings and transformers are known; names that the
 * model does not know stay as they are, so that loadStateDict tells of them.
 *
 * ```ts
 * const { tensors } = readSafetensors(readFileSync("model.safetensors"));
 * model.loadStateDict(fromPyTorch(model, tensors));
 * ```
 * @throws ShapeError where `flattened` does not fit the model
 */
export function fromPyTorch(model: Module, tensors: StateDict, options: PyTorchOptions = {}): StateDict {
  const rest = new Map(Object.entries(tensors));
  const found: [string, Tensor][] = [];
  for (const { name, theirs, own, layout, counts } of counterparts(model, options)) {
    const key = theirs.find((candidate) => rest.has(candidate));
    if (key === undefined) continue;
    const tensor = rest.get(key)!;
    rest.delete(key);
    // What has another number of dimensions is left to loadStateDict to complain of.
    const fits = tensor.shape.length === own.shape.length;
    const taken = counts && tensor.dtype !== "float32" ? tensor.to("float32") : tensor;
    found.push([name, fits ? layout.fromPyTorch(taken) : taken]);
  }
  return Object.fromEntries([...found, ...rest]);
}

/**
 * The model's state dict as PyTorch has it: write it with writeSafetensors and load it there with
 * `model.load_state_dict(safetensors.torch.load_file(path))`. @throws ShapeError where `flattened` does not fit the model
 */
export function toPyTorch(model: Module, options: PyTorchOptions = {}): StateDict {
  const entries = counterparts(model, options).map(({ theirs, own, layout, counts }): [string, Tensor] => [
    theirs[0]!,
    layout.toPyTorch(counts ? own.to("int32") : own),
  ]);
  return Object.fromEntries(entries);
}
