/** Quantization for inference. */
import { check } from "../runtime/arguments.ts";
import { quote, RangeError } from "../runtime/errors.ts";
import { requireChoice } from "../runtime/names.ts";
import type { Module } from "./module.ts";
import { quantizeModel } from "./quantized/index.ts";
import { kinds } from "./quantized/matrix.ts";
import type { QuantizeOptions } from "./quantized/options.ts";
import type { QuantizationReport, QuantizedWeight } from "./quantized/report.ts";

export type { QuantizationReport, QuantizedWeight, QuantizeOptions };

/** The report of each model that `quantize` returned. */
const reports = new WeakMap<Module, QuantizationReport>();

/**
 * Copies a model for inference, with int8 weights that take a quarter of the memory. `Linear` and the projections of
 * `MultiheadAttention` multiply in int8, which is about twice as fast for large products. `Embedding`, convolutions and recurrent
 * layers convert their weights to float32 while they run. Each row of a weight (its first dim) has its own scale. Activations are
 * quantized during the call, with a scale and a zero point for each row, so no calibration is needed. Products in int8 have the same
 * bits in every build.
 *
 * With another `dtype` ("int4", "float16" or "bfloat16"), products convert a few rows of weights at a time to float32, so only the
 * weights lose precision. Numbers below the smallest float16 number, 6e-8, become 0 or that number.
 *
 * Modules of other classes that have weights stay in float32, and so do layers in `SpectralNorm`. `quantize` warns about these modules
 * unless `skip` names them. The copy has its own tensors and cannot be trained. To load a saved copy, quantize a new model and call its
 * `loadStateDict`.
 *
 * ```ts
 * const small = await nn.quantize(model);
 * console.log(nn.quantizationReport(small));   // the error of each weight
 * ```
 * @throws Error if a weight contains NaN or ±∞ or is too large for a 16-bit format, if the model is quantized already, or if a module
 * cannot be copied; RangeError for an unknown `dtype`, if `weightsOnly` is true for another `dtype` than int8, or if `skip` names a
 * missing module
 */
export async function quantize<M extends Module>(model: M, options: QuantizeOptions = {}): Promise<M> {
  check("quantize", arguments, "model:module {dtype:string skip:strings weightsOnly:boolean}");
  const { dtype = "int8", skip = [], weightsOnly = false } = options;
  requireChoice("quantize", "dtype", dtype, Object.keys(kinds));
  if (weightsOnly && dtype !== "int8")
    throw new RangeError(
      `quantize: weightsOnly is for int8 only, but dtype is ${quote(dtype)}. Leave out weightsOnly.`,
    );
  // The model's own path is "".
  const names = Array.from(model.namedModules(), ([name]) => name).filter(Boolean);
  for (const name of skip) requireChoice("quantize", "skip", name, names);
  const { model: copy, report } = quantizeModel(model, options);
  reports.set(copy, report);
  const unknown = report.skipped.filter(({ reason }) => reason !== "skipped");
  if (unknown.length)
    console.warn(
      `nabla: quantize left ${unknown.map(({ name, reason }) => `${name} (${reason})`).join(", ")} in float32. ` +
        "To hide this warning, list the modules in { skip }.",
    );
  return copy;
}

/** The error of each weight, for a model that `quantize` returned; undefined for any other model. */
export function quantizationReport(model: Module): QuantizationReport | undefined {
  check("quantizationReport", arguments, "model:module");
  return reports.get(model);
}
