/** Edge functions compile no bytes at run time: the bundler compiles these. */
import relaxed from "../../../wasm/relaxed.wasm?module";
import simd from "../../../wasm/simd.wasm?module";
import { provide } from "../../runtime/load.ts";

provide({ simd, relaxed });
