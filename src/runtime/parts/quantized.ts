/** Loads the kernels of products of int8 numbers. */
import relaxed from "../binaries/quantized/relaxed.ts";
import simd from "../binaries/quantized/simd.ts";
import { addPart } from "../load.ts";

addPart({ simd, relaxed });
