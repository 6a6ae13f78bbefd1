import { info, init } from "nabla";
import { expect } from "vitest";
import { ownBuild } from "./build.ts";

await init(ownBuild);
expect(info().build, info().wide).toBe(process.env.NABLA_BUILD);
