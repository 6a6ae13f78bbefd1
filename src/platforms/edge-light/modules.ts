/** Registers WebAssembly modules that the bundler compiles, because edge functions cannot compile WebAssembly at run time. */
import relaxed from "../../../wasm/relaxed.wasm?module";
import simd from "../../../wasm/simd.wasm?module";
import { provideModules } from "../../runtime/load.ts";

provideModules({ simd, relaxed });
