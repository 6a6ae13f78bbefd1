/** A served network that the inferenceHandler tests share. */
import { noGrad, tensor, tidy } from "nabla";
import { type InferenceOptions, inferenceHandler } from "nabla/serverless";
import { afterAll, afterEach, expect, vi } from "vitest";
import { network } from "./requests.ts";

export const x = [
  [1, 2, 3, 4],
  [0, -1, 0.5, 2],
];

/**
 * A served network. Registers hooks that dispose the network, and that fail a test if a handler reports an unexpected
 * error.
 */
export function serveNetwork() {
  const model = network();
  afterAll(() => model.dispose());
  /** The network's outputs for `x` in evaluation mode. */
  const expected = tidy(() => noGrad(() => model.eval().forward(tensor(x)).toArray())) as number[][];
  const unexpected: unknown[] = [];
  afterEach(() => expect(unexpected.splice(0)).toEqual([]));
  const handlerOf = (options: Partial<InferenceOptions> = {}) =>
    inferenceHandler({
      load: () => model,
      input: { shape: [null, 4] },
      output: { shape: [null, 2] },
      onError: (error) => unexpected.push(error),
      ...options,
    });
  /** An onError that accepts only errors that match `message`. */
  const expectError = (message: RegExp) => ({
    onError: vi.fn((error: unknown) => {
      if (!message.test(String(error))) unexpected.push(error);
    }),
  });
  return { model, expected, handlerOf, handler: handlerOf(), expectError };
}
