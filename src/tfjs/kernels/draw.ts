/** The kernel that draws a tensor on a canvas. */
import type { KernelFunc, NamedAttrMap } from "@tensorflow/tfjs-core";
import { BACKEND } from "../backend.ts";

interface DrawOptions {
  readonly contextOptions?: { readonly contextType?: string };
}

/**
 * Wraps the CPU backend's kernel. TensorFlow.js's backends accept their own name as the context type, so if the type is
 * nabla's name, this draws on a 2-d context.
 */
export const draw =
  (cpu: KernelFunc): KernelFunc =>
  (call) => {
    const options = call.attrs?.options as DrawOptions | undefined;
    if (options?.contextOptions?.contextType !== BACKEND) return cpu(call);
    const contextOptions = { ...options.contextOptions, contextType: "2d" };
    return cpu({
      ...call,
      attrs: { ...call.attrs, options: { ...options, contextOptions } } as unknown as NamedAttrMap,
    });
  };
