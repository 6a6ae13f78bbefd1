/** The builds of the kernels that a benchmark can run. */
import { type InitOptions, info, init } from "../src/index.ts";

export const BUILDS = ["simd", "relaxed", "wide"] as const;
export type BenchBuild = (typeof BUILDS)[number];

/** The options of init that select a build; undefined selects the fastest that needs no option. */
export const optionsOf = (build: BenchBuild | "custom" | undefined): InitOptions =>
  build === "wide" ? { wide: true } : build && build !== "custom" ? { build } : {};

/** Starts nabla with a build. @throws Error if this runtime cannot run it */
export async function startBuild(build: BenchBuild | undefined): Promise<void> {
  await init(optionsOf(build));
  const running = info();
  if (build && running.build !== build) throw new Error(`the build ${build} cannot run here: ${running.wide}.`);
}
