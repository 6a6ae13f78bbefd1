/** Losses against PyTorch: values, gradients and second derivatives, for reductions and options. */
import { describe, test } from "vitest";
import { check, values } from "../support/torch.ts";

describe(`losses agree with PyTorch ${values.torch}`, () => {
  for (const c of values.losses) test(c.name, () => check(c));
});
