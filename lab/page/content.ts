/**
 * The data that the build writes into the page: the article's sources and figures, and the exercises with rendered
 * text.
 */
import { exercises } from "../practice/index.ts";
import { render } from "./practice/shown.ts";

export { references } from "../article/references.ts";
export { experiments } from "../experiments/index.ts";
export { drawTeaser } from "./teaser.ts";

export const practices = exercises.map(render);
