/** Workers compile no bytes at run time: the runtime compiles these when the function is deployed. */
import relaxed from "../../../wasm/relaxed.wasm";
import simd from "../../../wasm/simd.wasm";
import { provide } from "../../runtime/load.ts";

provide({ simd, relaxed });
