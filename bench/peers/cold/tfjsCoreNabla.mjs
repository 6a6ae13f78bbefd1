/** Times the core of tfjs on nabla's backend, without layers or gradients: only the two packages that nabla/tfjs needs. */
import { overNabla } from "./overTfjs.mjs";

await overNabla(async () => {
  const tf = await import("@tensorflow/tfjs-core");
  await import("@tensorflow/tfjs-backend-cpu");
  return tf;
});
