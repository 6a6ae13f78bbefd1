/**
 * Registers WebAssembly modules that Cloudflare compiles on deployment, because Workers cannot compile WebAssembly at run time.
 */
import relaxed from "../../../wasm/relaxed.wasm";
import simd from "../../../wasm/simd.wasm";
import { provideModules } from "../../runtime/load.ts";

provideModules({ simd, relaxed });
