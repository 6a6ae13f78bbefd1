/** Edge functions cannot compile WebAssembly at run time. The bundler compiles these modules. */
import relaxed from "../../../wasm/relaxed.wasm?module";
import simd from "../../../wasm/simd.wasm?module";
import { provideModules } from "../../runtime/load.ts";

provideModules({ simd, relaxed });
