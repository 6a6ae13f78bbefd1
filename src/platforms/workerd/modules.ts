/** Workers cannot compile WebAssembly at run time. The platform compiles these modules on deployment. */
import relaxed from "../../../wasm/relaxed.wasm";
import simd from "../../../wasm/simd.wasm";
import { provideModules } from "../../runtime/load.ts";

provideModules({ simd, relaxed });
