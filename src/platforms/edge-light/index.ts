/** nabla in edge functions. */
import "./modules.ts";

export * from "../../index.ts";
