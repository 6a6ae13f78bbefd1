/** The worker that checks code. It loads nabla and the checks, so the page does not need to. */
import { serve } from "../../practice/serve.ts";
import type { Task } from "../../practice/supervise.ts";

addEventListener("message", ({ data }: MessageEvent<Task>) => void serve(data, (message) => postMessage(message)));
