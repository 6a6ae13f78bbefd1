/** Loads the kernels of recurrent layers and attention. */
import relaxed from "../binaries/sequence/relaxed.ts";
import simd from "../binaries/sequence/simd.ts";
import { addPart } from "../load.ts";

addPart({ simd, relaxed });
