/** The worker that knows the exercises and checks code. It has nabla and the checks, so the page does not load them. */
import type { Exercise } from "../../practice/exercise.ts";
import { exercises } from "../../practice/index.ts";
import { serve } from "../../practice/serve.ts";
import type { Task } from "../../practice/supervise.ts";

/** What the page shows of an exercise. */
export type Shown = Omit<Exercise, "checks">;
/** What the page asks for: all exercises, or a check. */
export type Request = "list" | Task;

const list = (): Shown[] => exercises.map(({ checks: _, ...shown }) => shown);

addEventListener("message", ({ data }: MessageEvent<Request>) => {
  if (data === "list") postMessage(list());
  else void serve(data, (message) => postMessage(message));
});
