import { init } from "nabla";

await init({ build: process.env.NABLA_BUILD as "simd" | "relaxed" });
