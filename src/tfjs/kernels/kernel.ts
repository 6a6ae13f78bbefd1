/** Defines TensorFlow.js kernels in terms of nabla's ops. */
import { type KernelFunc, type TensorInfo, util } from "@tensorflow/tfjs-core";
import type { DType, Value } from "../../ops/definition/value.ts";
import type { NablaBackend } from "../backend.ts";
import { runOps, type View } from "../view.ts";

/** The inputs of a kernel, keyed by name. Optional inputs may be absent. */
export type Inputs = Readonly<Record<string, View>>;

// biome-ignore lint/suspicious/noExplicitAny: each kernel knows its own attributes, and TensorFlow.js types them as unknown
export type Attributes = any;

export interface NativeKernel {
  /**
   * The element types that the inputs may have. Calls with inputs of other types are left to the CPU kernel. Default:
   * float32.
   */
  readonly types?: readonly DType[];
  /** Whether these inputs and attributes are supported. Calls with any others are left to the CPU kernel. Default: all. */
  readonly accepts?: (inputs: Readonly<Record<string, TensorInfo>>, attributes: Attributes) => boolean;
  /** Computes the result, or returns null to leave these values to the CPU kernel. */
  readonly run: (inputs: Inputs, attributes: Attributes) => Value | readonly Value[] | null;
  /** Whether the result is a list, even if it has one element. */
  readonly list?: boolean;
}

const FLOAT: readonly DType[] = ["float32"];
/** The numeric element types, for which the arithmetic of both libraries agrees. */
export const NUMBERS: readonly DType[] = ["float32", "int32"];
export const ALL: readonly DType[] = ["float32", "int32", "bool"];

/**
 * Whether every input has at least one element. Kernels that require this leave empty tensors to the CPU kernel.
 */
export const isFilled = (inputs: Readonly<Record<string, TensorInfo>>): boolean =>
  Object.values(inputs).every((input) => !input?.shape.includes(0));

/**
 * Whether each of the named inputs that is present has `rank` dims. tfjs-core's functions reject other ranks, but a
 * direct call to a kernel can pass them.
 */
export const haveRank = (
  inputs: Readonly<Record<string, TensorInfo>>,
  rank: number,
  names = ["x", "dy", "filter", "input"],
): boolean => names.every((name) => !inputs[name] || inputs[name].shape.length === rank);

/**
 * @throws Error if the filter does not have as many input channels as the image, which only a direct call to a kernel
 * can cause
 */
export const requireChannels = (channels: number, ofFilter: number): void =>
  util.assert(
    channels === ofFilter,
    () =>
      `conv: the input has ${channels} channels, but the filter reads ${ofFilter}. Pass a filter for ${channels} channels.`,
  );

/** Whether all inputs have the same element type. */
export const sameTypes = (inputs: Readonly<Record<string, TensorInfo>>): boolean =>
  new Set(Object.values(inputs).map(({ dtype }) => dtype)).size < 2;

/** A kernel function that runs nabla's kernel if it supports the call, and otherwise the CPU backend's. */
export function kernelFunc(kernel: NativeKernel, cpu: KernelFunc): KernelFunc {
  const { types = FLOAT, accepts, list } = kernel;
  return (call) => {
    const inputs = call.inputs as Readonly<Record<string, TensorInfo>>;
    const { attrs } = call;
    // An optional input can be absent or null.
    for (const name in inputs) {
      const input = inputs[name];
      if (input && !types.includes(input.dtype as DType)) return cpu(call);
    }
    if (accepts && !accepts(inputs, attrs)) return cpu(call);
    const backend = call.backend as NablaBackend;
    const views: Record<string, View> = {};
    for (const name in inputs) if (inputs[name]) views[name] = backend.view(inputs[name]);
    const computed = runOps(() => kernel.run(views, attrs));
    if (!computed) return cpu(call);
    const results = computed.map((view) => backend.adopt(view));
    return list || results.length > 1 ? results : results[0]!;
  };
}
