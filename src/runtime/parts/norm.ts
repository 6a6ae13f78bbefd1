/** Loads the kernels of normalization. */
import relaxed from "../binaries/norm/relaxed.ts";
import simd from "../binaries/norm/simd.ts";
import { addPart } from "../load.ts";

addPart({ simd, relaxed });
