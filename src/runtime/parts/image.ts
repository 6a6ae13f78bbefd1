/** Loads the kernels of convolutions, pooling, and interpolation. */
import relaxed from "../binaries/image/relaxed.ts";
import simd from "../binaries/image/simd.ts";
import { addPart } from "../load.ts";

addPart({ simd, relaxed });
