/** The core of tfjs on nabla's backend: its two peers, and no layers or gradients. */
import { overNabla } from "./overTfjs.mjs";

await overNabla(async () => {
  const tf = await import("@tensorflow/tfjs-core");
  await import("@tensorflow/tfjs-backend-cpu");
  return tf;
});
