/** nabla/formats in Workers. */
import "./modules.ts";

export * from "../../formats/index.ts";
