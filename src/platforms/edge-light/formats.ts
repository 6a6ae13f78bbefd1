/** nabla/formats in edge functions. */
import "./modules.ts";

export * from "../../formats/index.ts";
