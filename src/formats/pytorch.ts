/**
 * Converts state dicts to and from PyTorch's format. PyTorch's names are nabla's names in snake_case. Layouts differ in convolutions,
 * where PyTorch puts channels before the kernel's dimensions, and in layers after a flattened image, where PyTorch puts
 * channels before pixels.
 */

import { noGrad } from "../autograd/backward.ts";
import { tidy } from "../core/scope.ts";
import type { Tensor } from "../core/tensor.ts";
import { Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d } from "../nn/conv.ts";
import { Embedding } from "../nn/embedding.ts";
import * as nn from "../nn/index.ts";
import { Flatten, Linear } from "../nn/layers.ts";
import type { Module, StateDict } from "../nn/module.ts";
import { BatchNorm, LayerNorm } from "../nn/norm.ts";
import { Sequential } from "../nn/sequential.ts";
import { sizeOf } from "../ops/definition/value.ts";
import { check } from "../runtime/arguments.ts";
import { ShapeError } from "../runtime/errors.ts";

/** Options for fromPyTorch and toPyTorch. */
export interface PyTorchOptions {
  /**
   * The number of image channels for each Linear layer that reads a flattened image, keyed by the layer's path. PyTorch
   * flattens channels first, so the weights are reordered; with 1 channel, they stay as they are. The number is
   * inferred if the layer, the convolutions and the Flatten layer are in one Sequential; set it if a custom forward()
   * flattens the image. Default: {}.
   */
  readonly flattened?: Readonly<Record<string, number>>;
}

/** The classes of nabla's own layers. A layer of any other class may change the number of channels. */
const library = new Set<unknown>(Object.values(nn));

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

const isConv = (module: Module): module is Conv2d =>
  [Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d].some((layer) => module instanceof layer);
const isNorm = (module: Module): boolean => module instanceof BatchNorm || module instanceof LayerNorm;
/** Whether a layer may change the number of channels. */
const changesChannels = (module: Module): boolean =>
  module instanceof Embedding || [...module.namedChildren()].length > 0 || !library.has(module.constructor);

/** The known properties of the values that flow from one layer of a Sequential to the next. */
interface Flow {
  /** The number of image channels; null if unknown. */
  readonly channels: number | null;
  readonly isFlat: boolean;
}

/** Maps the layers that read flattened images (a Linear layer, and norms before it) to the number of channels. @throws ShapeError */
function findFlattened(op: string, model: Module, { flattened = {} }: PyTorchOptions): Map<Module, number> {
  const modules = new Map(model.modulesByPath());
  const paths = new Map(Array.from(modules, ([path, module]) => [module, path]));
  const found = new Map<Module, number>();
  for (const [path, channels] of Object.entries(flattened)) {
    const layer = modules.get(path);
    if (!(layer instanceof Linear))
      throw new ShapeError(`${op}: flattened must name Linear layers of the model, got "${path}".`);
    if (!(Number.isInteger(channels) && channels > 0 && layer.weight.shape[1]! % channels === 0))
      throw new ShapeError(
        `${op}: flattened["${path}"] must divide the layer's ${layer.weight.shape[1]} inputs evenly, got ${channels}.`,
      );
    found.set(layer, channels);
  }
  // If the model has no convolutions, assume one channel, for which no weights are reordered.
  const first: Flow = { channels: [...modules.values()].some(isConv) ? null : 1, isFlat: false };
  const after = (layer: Module, flow: Flow): Flow => {
    if (layer instanceof Sequential) return layer.layers.reduce((now, part) => after(part, now), flow);
    if (isConv(layer)) return { channels: layer.outChannels, isFlat: false };
    if (layer instanceof Flatten) return { ...flow, isFlat: true };
    if (flow.isFlat && (layer instanceof Linear || isNorm(layer))) {
      const channels = found.get(layer) ?? flow.channels;
      if (channels === null)
        throw new ShapeError(
          `${op}: "${paths.get(layer)}" reads a flattened image with an unknown number of channels. ` +
            "Pass { flattened: { [path]: channels } }, with 1 if PyTorch does not flatten an image there.",
        );
      found.set(layer, channels);
      return layer instanceof Linear ? { channels: null, isFlat: false } : flow;
    }
    if (layer instanceof Linear) return { channels: null, isFlat: false };
    return changesChannels(layer) ? { channels: null, isFlat: false } : flow;
  };
  const inner = new Set<Module>();
  for (const module of modules.values()) {
    if (!(module instanceof Sequential) || inner.has(module)) continue;
    after(module, first);
    for (const [, part] of module.namedModules()) inner.add(part);
  }
  return found;
}

/** A change of layout and its inverse. */
interface Layout {
  fromPyTorch(x: Tensor): Tensor;
  toPyTorch(x: Tensor): Tensor;
}
const SAME: Layout = { fromPyTorch: (x) => x, toPyTorch: (x) => x };

/** Kernels: [first, last, …kernel] in PyTorch, [first, …kernel, last] in nabla. */
const KERNEL: Layout = {
  fromPyTorch: (x) => x.permute(0, ...x.shape.slice(2).map((_, i) => i + 2), 1),
  toPyTorch: (x) => x.permute(0, x.shape.length - 1, ...x.shape.slice(2).map((_, i) => i + 1)),
};

/** Flattened images: [..., channels·pixels] in PyTorch, [..., pixels·channels] in nabla. */
const flat = (channels: number): Layout => {
  const swap = (x: Tensor, outer: number, inner: number): Tensor =>
    x.reshape(-1, outer, inner).permute(0, 2, 1).reshape(x.shape);
  const pixels = (x: Tensor): number => x.shape.at(-1)! / channels;
  return {
    fromPyTorch: (x) => swap(x, channels, pixels(x)),
    toPyTorch: (x) => swap(x, pixels(x), channels),
  };
};

/** A tensor of a model and the tensor in PyTorch's state dict that corresponds to it. */
interface Counterpart {
  readonly name: string;
  /** Possible names in PyTorch, most likely first. */
  readonly torchNames: readonly string[];
  readonly own: Tensor;
  readonly layout: Layout;
  /** Whether the tensor is a count, which PyTorch stores as int64 and nabla as float32. */
  readonly isCount: boolean;
}

function counterparts(op: string, model: Module, options: PyTorchOptions): Counterpart[] {
  const flattened = findFlattened(op, model, options);
  const modules = new Map(model.modulesByPath());
  return Object.entries(model.stateDict()).map(([name, own]) => {
    const dot = name.lastIndexOf(".");
    const module = modules.get(dot < 0 ? "" : name.slice(0, dot));
    const last = name.slice(dot + 1);
    const channels = module && flattened.get(module);
    const isKernel = module && isConv(module) && last === "weight";
    // Reorder a Linear layer's weight along its input dim, and every tensor of a norm along its features.
    const isFlattened = channels !== undefined && own.shape.length && (last === "weight" || isNorm(module!));
    const layout = isKernel ? KERNEL : isFlattened ? flat(channels) : SAME;
    const isCount = last === "numBatchesTracked" && module instanceof BatchNorm;
    const torchNames = [snake(name), `${name.slice(0, dot + 1)}${snake(last)}`, name];
    return { name, torchNames, own, layout, isCount };
  });
}

/**
 * Converts a PyTorch state dict (saved with safetensors.torch.save_file) for `model.loadStateDict`. Supports Linear,
 * convolutions, LSTM, GRU, RNN, normalizations, embeddings and transformers. Names that the model lacks are kept, so that
 * loadStateDict reports them. Tensors that need no conversion are returned as they are; the others are new.
 *
 * ```ts
 * const { tensors } = readSafetensors(readFileSync("model.safetensors"));
 * model.loadStateDict(fromPyTorch(model, tensors));
 * ```
 * @throws ShapeError if `flattened` does not match the model, or lacks a layer whose number of channels cannot be inferred
 */
export function fromPyTorch(model: Module, tensors: StateDict, options: PyTorchOptions = {}): StateDict {
  check("fromPyTorch", arguments, "model:module tensors:object {flattened:object}");
  const rest = new Map(Object.entries(tensors));
  return tidy(() => {
    const found: [string, Tensor][] = [];
    for (const { name, torchNames, own, layout, isCount } of counterparts("fromPyTorch", model, options)) {
      const key = torchNames.find((candidate) => rest.has(candidate));
      if (key === undefined) continue;
      const tensor = rest.get(key)!;
      rest.delete(key);
      // Leave tensors of the wrong size unchanged, so that loadStateDict reports them.
      const fits = sizeOf(tensor.shape) === sizeOf(own.shape) && tensor.shape.length === own.shape.length;
      const converted = isCount && tensor.dtype !== "float32" ? tensor.to("float32") : tensor;
      found.push([name, fits ? layout.fromPyTorch(converted) : converted]);
    }
    return Object.fromEntries([...found, ...rest]);
  });
}

/**
 * Converts the model's state dict for PyTorch. Write it with writeSafetensors, then load it in Python with
 * `model.load_state_dict(safetensors.torch.load_file(path))`. All tensors are new.
 *
 * ```ts
 * writeFileSync("model.safetensors", writeSafetensors(toPyTorch(model)));
 * ```
 * @throws ShapeError if `flattened` does not match the model, or lacks a layer whose number of channels cannot be inferred
 */
export function toPyTorch(model: Module, options: PyTorchOptions = {}): StateDict {
  check("toPyTorch", arguments, "model:module {flattened:object}");
  return tidy(() => {
    const pairs = counterparts("toPyTorch", model, options);
    const entries = pairs.map(({ torchNames, own, layout, isCount }): [string, Tensor] => [
      torchNames[0]!,
      noGrad(() => (layout === SAME ? (isCount ? own.to("int32") : own.clone()) : layout.toPyTorch(own))),
    ]);
    return Object.fromEntries(entries);
  });
}
