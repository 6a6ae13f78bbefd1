/** Ops and layers agree with PyTorch in values, gradients and second derivatives, including edge cases. */
import { describe, test } from "vitest";
import { check, values } from "../support/torch.ts";

describe(`ops agree with PyTorch ${values.torch}`, () => {
  for (const c of values.ops) test(c.name, () => check(c));
});
describe(`activation layers agree with PyTorch ${values.torch}`, () => {
  for (const c of values.activations) test(c.name, () => check(c));
});
describe(`convolutions agree with PyTorch ${values.torch} after conversion to channels last`, () => {
  for (const c of values.convs) test(c.name, () => check(c));
});
describe(`pooling agrees with PyTorch ${values.torch}`, () => {
  for (const c of values.pools) test(c.name, () => check(c));
});
describe(`normalization agrees with PyTorch ${values.torch}`, () => {
  for (const c of values.norms) test(c.name, () => check(c));
});
describe(`interpolation and adaptive pooling agree with PyTorch ${values.torch}`, () => {
  for (const c of values.sizes) test(c.name, () => check(c));
});
describe(`attention agrees with PyTorch ${values.torch}`, () => {
  for (const c of values.attention) test(c.name, () => check(c));
});
