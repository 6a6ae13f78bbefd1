/**
 * PyTorch's state dicts: its names are ours in snake_case, and so are its layouts but for convolutions, whose channels it has in front
 * of the kernel, and for what follows a flattened image, whose channels it has in front of the pixels.
 */

import { noGrad } from "../autograd/backward.ts";
import { tidy } from "../core/scope.ts";
import type { Tensor } from "../core/tensor.ts";
import { Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d } from "../nn/conv.ts";
import { Embedding } from "../nn/embedding.ts";
import * as nn from "../nn/index.ts";
import { Flatten, Linear } from "../nn/layers.ts";
import { type Module, Sequential, type StateDict } from "../nn/module.ts";
import { BatchNorm, LayerNorm } from "../nn/norm.ts";
import { sizeOf } from "../ops/definition/value.ts";
import { check } from "../runtime/arguments.ts";
import { ShapeError } from "../runtime/errors.ts";

/** Options of fromPyTorch. */
export interface PyTorchOptions {
  /**
   * Linear layers that read a flattened image, by path, with its number of channels (1 changes nothing): PyTorch flattens channels first.
   * Inside a Sequential that holds the convolutions, Flatten and the layer, this is found out; where that shows that it cannot be, it is asked for. A forward() of one's own that flattens is not seen: name the
   * layer behind it.
   */
  readonly flattened?: Readonly<Record<string, number>>;
}

/** nabla's own layers: of others nothing is known. */
const library = new Set<unknown>(Object.values(nn));

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

const isConv = (module: Module): module is Conv2d =>
  [Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d].some((layer) => module instanceof layer);
const isNorm = (module: Module): boolean => module instanceof BatchNorm || module instanceof LayerNorm;
/** Layers whose results have other channels than what they read, or none. */
const changesChannels = (module: Module): boolean =>
  module instanceof Embedding || [...module.namedChildren()].length > 0 || !library.has(module.constructor);

/** What is known of the values between two layers of a Sequential. */
interface Between {
  /** Channels of images; null where they cannot be told. */
  readonly channels: number | null;
  readonly isFlat: boolean;
}

/** What follows a flattened image, with its number of channels: a Linear layer, and norms before it. @throws ShapeError */
function findFlattened(model: Module, { flattened = {} }: PyTorchOptions): Map<Module, number> {
  const modules = new Map(model.modulesByPath());
  const paths = new Map(Array.from(modules, ([path, module]) => [module, path]));
  const found = new Map<Module, number>();
  for (const [path, channels] of Object.entries(flattened)) {
    const layer = modules.get(path);
    if (!(layer instanceof Linear)) throw new ShapeError(`flattened: "${path}" is not a Linear layer of the model.`);
    if (!(Number.isInteger(channels) && channels > 0 && layer.weight.shape[1]! % channels === 0))
      throw new ShapeError(
        `flattened: "${path}" reads ${layer.weight.shape[1]} values, which are no images of ${channels} channels.`,
      );
    found.set(layer, channels);
  }
  // Without convolutions there is nothing to go by: images are taken as they are.
  const first: Between = { channels: [...modules.values()].some(isConv) ? null : 1, isFlat: false };
  const after = (layer: Module, between: Between): Between => {
    if (layer instanceof Sequential) return layer.layers.reduce((now, part) => after(part, now), between);
    if (isConv(layer)) return { channels: layer.outChannels, isFlat: false };
    if (layer instanceof Flatten) return { ...between, isFlat: true };
    if (between.isFlat && (layer instanceof Linear || isNorm(layer))) {
      const channels = found.get(layer) ?? between.channels;
      if (channels === null)
        throw new ShapeError(
          `flattened: "${paths.get(layer)}" reads a flattened image, whose number of channels cannot be told. ` +
            'Say it: { flattened: { "path of the Linear layer": channels } }; 1 where PyTorch flattens something else.',
        );
      found.set(layer, channels);
      return layer instanceof Linear ? { channels: null, isFlat: false } : between;
    }
    if (layer instanceof Linear) return { channels: null, isFlat: false };
    return changesChannels(layer) ? { channels: null, isFlat: false } : between;
  };
  const inner = new Set<Module>();
  for (const module of modules.values()) {
    if (!(module instanceof Sequential) || inner.has(module)) continue;
    after(module, first);
    for (const [, part] of module.namedModules()) inner.add(part);
  }
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

/** [..., channels·pixels] there, [..., pixels·channels] here. */
const flat = (channels: number): Layout => {
  const swap = (x: Tensor, outer: number, inner: number): Tensor =>
    x.reshape(-1, outer, inner).permute(0, 2, 1).reshape(x.shape);
  const pixels = (x: Tensor): number => x.shape.at(-1)! / channels;
  return {
    fromPyTorch: (x) => swap(x, channels, pixels(x)),
    toPyTorch: (x) => swap(x, pixels(x), channels),
  };
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
  const modules = new Map(model.modulesByPath());
  return Object.entries(model.stateDict()).map(([name, own]) => {
    const dot = name.lastIndexOf(".");
    const module = modules.get(dot < 0 ? "" : name.slice(0, dot));
    const last = name.slice(dot + 1);
    const channels = module && flattened.get(module);
    const isKernel = module && isConv(module) && last === "weight";
    // Of a Linear layer what it reads is turned; of a norm, all that it has of each value.
    const isTurned = channels !== undefined && own.shape.length && (last === "weight" || isNorm(module!));
    const layout = isKernel ? KERNEL : isTurned ? flat(channels) : SAME;
    const counts = last === "numBatchesTracked" && module instanceof BatchNorm;
    const theirs = [snake(name), `${name.slice(0, dot + 1)}${snake(last)}`, name];
    return { name, theirs, own, layout, counts };
  });
}

/**
 * A PyTorch state dict (saved there with safetensors.torch.save_file) as `model.loadStateDict` takes it: names and layouts are
 * turned into ours. Linear, convolutions, LSTM, GRU, RNN, normalizations, embeddings and transformers are known; names that the
 * model does not know stay as they are, so that loadStateDict tells of them. What is turned is new; the rest are the tensors given.
 *
 * ```ts
 * const { tensors } = readSafetensors(readFileSync("model.safetensors"));
 * model.loadStateDict(fromPyTorch(model, tensors));
 * ```
 * @throws ShapeError where `flattened` does not fit the model, or is needed
 */
export function fromPyTorch(model: Module, tensors: StateDict, options: PyTorchOptions = {}): StateDict {
  check("fromPyTorch", arguments, "model:module tensors:object {flattened:object}");
  const rest = new Map(Object.entries(tensors));
  return tidy(() => {
    const found: [string, Tensor][] = [];
    for (const { name, theirs, own, layout, counts } of counterparts(model, options)) {
      const key = theirs.find((candidate) => rest.has(candidate));
      if (key === undefined) continue;
      const tensor = rest.get(key)!;
      rest.delete(key);
      // What has other sizes is left to loadStateDict to complain of.
      const fits = sizeOf(tensor.shape) === sizeOf(own.shape) && tensor.shape.length === own.shape.length;
      const taken = counts && tensor.dtype !== "float32" ? tensor.to("float32") : tensor;
      found.push([name, fits ? layout.fromPyTorch(taken) : taken]);
    }
    return Object.fromEntries([...found, ...rest]);
  });
}

/**
 * The model's state dict as PyTorch has it: write it with writeSafetensors and load it there with
 * `model.load_state_dict(safetensors.torch.load_file(path))`. All its tensors are new. @throws ShapeError as fromPyTorch does
 */
export function toPyTorch(model: Module, options: PyTorchOptions = {}): StateDict {
  check("toPyTorch", arguments, "model:module {flattened:object}");
  return tidy(() => {
    const entries = counterparts(model, options).map(({ theirs, own, layout, counts }): [string, Tensor] => [
      theirs[0]!,
      noGrad(() => (layout === SAME ? (counts ? own.to("int32") : own.clone()) : layout.toPyTorch(own))),
    ]);
    return Object.fromEntries(entries);
  });
}
