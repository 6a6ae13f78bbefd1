/** nabla in Workers. */
import "./modules.ts";

export * from "../../index.ts";
