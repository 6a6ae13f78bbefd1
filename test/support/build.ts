/** The build that the tests of this project run: NABLA_BUILD. */
import type { InitOptions } from "nabla";

const build = process.env.NABLA_BUILD as "simd" | "relaxed" | "wide";

/** The options of init that select this build. */
export const ownBuild: InitOptions = build === "wide" ? { wide: true } : { build };
