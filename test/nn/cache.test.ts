/**
 * Generation with a KeyValueCache. Sums over keys are computed in a different order than for the whole sequence, so the results agree only
 * up to rounding: TOLERANCE allows a few float32 roundings per layer. Eager and compiled results are bit-identical.
 */
import {
  arange,
  compile,
  concat,
  manualSeed,
  memory,
  nn,
  noGrad,
  randint,
  randn,
  type Tensor,
  tensor,
  tidy,
} from "nabla";
import { readSafetensors, writeSafetensors } from "nabla/formats";
import { describe, expect, test } from "vitest";
import { inMode, MODES } from "../support/modes.ts";
import { expectClose } from "../support/oracle.ts";
import { build, expectTorch, load, loadArgument, values } from "../support/torch.ts";

const TOLERANCE = 3e-6;
const OPTIONS = { dimFeedforward: 12, dropout: 0, batchFirst: true, normFirst: true };

/** An encoder with rotary positions. */
const encoder = (batchFirst = true): nn.TransformerEncoder =>
  new nn.TransformerEncoder(
    [0, 1].map(
      () => new nn.TransformerEncoderLayer(8, 2, { ...OPTIONS, batchFirst, rotary: new nn.RotaryEmbedding(4) }),
    ),
    new nn.LayerNorm(8),
  );

/** A language model with learned positions: int32 [batch, steps] → logits [batch, steps, 11]. */
class Language extends nn.Module {
  tokens = new nn.Embedding(11, 8);
  places = new nn.Embedding(24, 8);
  encoder = new nn.TransformerEncoder([0, 1].map(() => new nn.TransformerEncoderLayer(8, 2, OPTIONS)));
  head = new nn.Linear(8, 11);
  forward(x: Tensor, cache?: nn.KeyValueCache): Tensor {
    const steps = x.shape[1]!;
    const places = cache ? cache.positions(steps) : arange(steps, { dtype: "int32" });
    const embedded = this.tokens.forward(x).add(this.places.forward(places));
    return this.head.forward(this.encoder.forward(embedded, { isCausal: true, ...(cache && { cache }) }));
  }
}

/** Calls f with consecutive pieces of x along `dim`, and returns copies of the results. */
function inPieces(f: (x: Tensor) => Tensor, x: Tensor, pieces: readonly number[], dim = 1): Tensor[] {
  let from = 0;
  return pieces.map((steps) => f(x.narrow(dim, (from += steps) - steps, steps)).clone());
}

function expectPieces(parts: readonly Tensor[], whole: Tensor, dim = 1): void {
  let from = 0;
  for (const y of parts) {
    const steps = y.shape[dim]!;
    expectClose(y.data, whole.narrow(dim, from, steps).data, TOLERANCE, `steps ${from} … ${from + steps - 1}`);
    from += steps;
  }
}

describe("a cache", () => {
  test.each([true, false])(
    "gives the results of the whole sequence, with rotary positions and batchFirst %s, and the same bits when compiled",
    (batchFirst) => {
      tidy(() => {
        manualSeed(5);
        const model = encoder(batchFirst);
        const dim = batchFirst ? 1 : 0;
        const x = randn(batchFirst ? [3, 19, 8] : [19, 3, 8]);
        const whole = noGrad(() => model.forward(x, { isCausal: true }));
        const pieces = [3, 1, 10, 1, 2, 1, 1];
        const [eager, compiled] = MODES.map((mode) => {
          const cache = new nn.KeyValueCache(3, 19);
          const run = (piece: Tensor): Tensor => noGrad(() => model.forward(piece, { isCausal: true, cache }));
          const parts = inPieces(inMode(mode, run), x, pieces, dim);
          expect(cache.length).toBe(19);
          cache.dispose();
          return parts;
        }) as [Tensor[], Tensor[]];
        expectPieces(eager, whole, dim);
        eager.forEach((y, i) => expect(compiled[i]!.data, `piece ${i}`).toEqual(y.data));
      });
    },
  );

  test("generates the tokens that the whole sequence predicts, one compiled call per token, and starts again after reset()", () => {
    manualSeed(1);
    const model = new Language();
    const cache = new nn.KeyValueCache(2, 24);
    let recordings = 0;
    const next = compile((x: Tensor) => {
      recordings++;
      return noGrad(() =>
        model
          .forward(x, cache)
          .narrow(1, x.shape[1]! - 1, 1)
          .argMax(-1),
      );
    });
    const prompt = tidy(() => randint(0, 11, [2, 5]).keep());
    for (let round = 0; round < 2; round++) {
      let known = prompt;
      let fresh = prompt;
      for (let i = 0; i < 12; i++) {
        const expected = tidy(() =>
          noGrad(() => model.forward(known))
            .narrow(1, known.shape[1]! - 1, 1)
            .argMax(-1)
            .keep(),
        );
        fresh = next(fresh).clone();
        expect(fresh.toArray(), `token ${i}`).toEqual(expected.toArray());
        known = concat([known, fresh], 1);
      }
      cache.reset();
      expect(cache.length).toBe(0);
    }
    // One recording for the prompt's shape and one for single tokens.
    expect(recordings).toBe(2);
  });

  test("agrees with PyTorch's causal layers", () => {
    const cases = values.modules.filter(({ name }) => /causal/.test(name) && /^Transformer/.test(name));
    expect(cases).toHaveLength(2);
    for (const one of cases)
      tidy(() => {
        const module = build(one) as nn.TransformerEncoderLayer;
        const [x, second] = one.inputs.map(loadArgument) as Tensor[];
        const cache = new nn.KeyValueCache(2, 5);
        const isDecoder = one.layer === "TransformerDecoderLayer";
        const options = (one.inputs.at(-1) ?? {}) as Record<string, unknown>;
        const padding = options.memoryKeyPaddingMask && load(options.memoryKeyPaddingMask as never);
        const run = (piece: Tensor): Tensor =>
          isDecoder
            ? (module as unknown as nn.TransformerDecoderLayer).forward(piece, second!, {
                tgtIsCausal: true,
                memoryKeyPaddingMask: padding as Tensor,
                cache,
              })
            : module.forward(piece, { isCausal: true, cache });
        const parts = inPieces((piece) => noGrad(() => run(piece)), x!, [2, 1, 1, 1]);
        expectTorch(concat(parts, 1), one.out[0]!, one.name);
        cache.dispose();
      });
  });

  test("truncate() drops the last steps, so that others can replace them", () => {
    tidy(() => {
      const model = encoder();
      const x = randn([1, 6, 8]);
      const cache = new nn.KeyValueCache(1, 6);
      const run = compile((piece: Tensor) => noGrad(() => model.forward(piece, { isCausal: true, cache })));
      inPieces(run, concat([x.narrow(1, 0, 3), randn([1, 2, 8])], 1), [3, 2]);
      cache.truncate(3);
      expect(cache.length).toBe(3);
      cache.truncate(5);
      expect(cache.length).toBe(3);
      const rest = run(x.narrow(1, 3, 3));
      const whole = noGrad(() => model.forward(x, { isCausal: true }));
      expectClose(rest.data, whole.narrow(1, 3, 3).data, TOLERANCE);
    });
  });

  test("masks keys that are padding, with masks for its capacity", () => {
    tidy(() => {
      const layer = new nn.MultiheadAttention(6, 2, { batchFirst: true });
      const x = randn([2, 5, 6]);
      // The first two steps of the second sequence are padding.
      const isPadding = (keys: number) => tensor([0, 1].map((b) => Array.from({ length: keys }, (_, i) => i < 2 * b)));
      const attend = (piece: Tensor, keys: number, cache?: nn.KeyValueCache) =>
        noGrad(() =>
          layer.forward(piece, piece, piece, {
            isCausal: true,
            keyPaddingMask: isPadding(keys),
            ...(cache && { cache }),
          }),
        )[0];
      const cache = new nn.KeyValueCache(2, 7);
      expectPieces(
        inPieces((piece) => attend(piece, 7, cache), x, [3, 1, 1]),
        attend(x, 5),
      );
    });
  });

  test("attends to a prompt longer than a block of queries, and without isCausal to all steps so far", () => {
    tidy(() => {
      manualSeed(8);
      const layer = new nn.MultiheadAttention(40, 2, { batchFirst: true });
      const x = randn([1, 150, 40]);
      for (const isCausal of [true, false]) {
        const cache = new nn.KeyValueCache(1, 150);
        const attend = (piece: Tensor, own?: nn.KeyValueCache) =>
          noGrad(() => layer.forward(piece, piece, piece, { isCausal, ...(own && { cache: own }) }))[0];
        const parts = inPieces((piece) => attend(piece, cache), x, [130, 1, 9, 8, 2]);
        let end = 0;
        for (const y of parts) {
          end += y.shape[1]!;
          const whole = attend(x.narrow(1, 0, end));
          expectClose(y.data, whole.narrow(1, end - y.shape[1]!, y.shape[1]!).data, TOLERANCE, `until ${end}`);
        }
      }
    });
  });

  test("is full after `capacity` steps: a call that does not fit changes nothing, in eager mode and compiled", () => {
    for (const mode of MODES) {
      const model = encoder();
      const cache = new nn.KeyValueCache(1, 3);
      const run = (x: Tensor) => noGrad(() => model.forward(x, { isCausal: true, cache }));
      const step = inMode(mode, run);
      const x = randn([1, 2, 8]);
      step(x);
      expect(() => step(x)).toThrow(
        "KeyValueCache: 2 of 3 steps are filled, so 2 more do not fit. Call reset() or truncate(…), or make a cache with a larger capacity.",
      );
      expect(cache.length).toBe(2);
      step(x.narrow(1, 0, 1));
      expect(cache.length).toBe(3);
      expect(() => step(randn([1, 4, 8]))).toThrow(/4 more do not fit/);
    }
  });

  test("rejects a prompt longer than its capacity in its first call, in eager mode and compiled", () => {
    for (const mode of MODES) {
      const model = encoder();
      const cache = new nn.KeyValueCache(1, 3);
      const run = (x: Tensor) => noGrad(() => model.forward(x, { isCausal: true, cache }));
      const step = inMode(mode, run);
      expect(() => step(randn([1, 4, 8]))).toThrow(/^KeyValueCache: 0 of 3 steps are filled, so 4 more do not fit\./);
      expect(cache.length).toBe(0);
    }
  });

  test("is full in the middle of a compiled function that calls the model twice: the function changes nothing", () => {
    const layer = new nn.MultiheadAttention(4, 1, { batchFirst: true });
    const cache = new nn.KeyValueCache(1, 3);
    const twice = compile((x: Tensor) =>
      noGrad(() => [x, x.mul(2)].map((y) => layer.forward(y, y, y, { cache, isCausal: true })[0])),
    );
    const x = randn([1, 1, 4]);
    twice(x);
    expect(() => twice(x)).toThrow(/3 of 3 steps are filled/);
    expect(cache.length).toBe(2);
    const y = noGrad(() => layer.forward(x, x, x, { cache, isCausal: true })[0]);
    cache.reset();
    const again = noGrad(() => [x, x.mul(2), x].map((z) => layer.forward(z, z, z, { cache, isCausal: true })[0]));
    expect(y.data).toEqual(again[2]!.data);
  });

  test("says how to continue after an eager call that stopped between two layers", () => {
    const [a, b] = [1, 2].map(() => new nn.MultiheadAttention(4, 2, { batchFirst: true })) as [
      nn.MultiheadAttention,
      nn.MultiheadAttention,
    ];
    const x = randn([1, 5, 4]);
    const run = (cache: nn.KeyValueCache, y: Tensor, stops = false): Tensor =>
      noGrad(() => {
        const z = a.forward(y, y, y, { cache, isCausal: true })[0];
        if (stops) throw new Error("stopped");
        return b.forward(z, z, z, { cache, isCausal: true })[0];
      });
    const expected = run(new nn.KeyValueCache(1, 8), x).slice(null, [3, 5]).data;
    const cache = new nn.KeyValueCache(1, 8);
    run(cache, x.slice(null, [0, 3]));
    expect(() => run(cache, x.slice(null, [3, 5]), true)).toThrow("stopped");
    expect(() => run(cache, x.slice(null, [4, 5]))).toThrow(
      "KeyValueCache: an earlier call stopped between layers: this layer holds 3 steps, and the first layer 5. Call truncate(3), and pass the steps after these again.",
    );
    cache.truncate(3);
    expectClose(run(cache, x.slice(null, [3, 5])).data, expected, TOLERANCE);
    expect(cache.length).toBe(5);
  });

  test("continues the sinusoidal and rotary encodings at its length", () => {
    tidy(() => {
      const cache = new nn.KeyValueCache(1, 9);
      const layer = new nn.MultiheadAttention(4, 1, { batchFirst: true });
      const x = randn([1, 5, 4]);
      noGrad(() => layer.forward(x, x, x, { cache }));
      for (const encoding of [new nn.RotaryEmbedding(4), new nn.SinusoidalEncoding(4)]) {
        const expected = encoding.forward(x.narrow(1, 0, 3), { offset: 5 });
        expect(encoding.forward(x.narrow(1, 0, 3), { offset: cache }).data).toEqual(expected.data);
      }
      expect(cache.positions(3).toArray()).toEqual([5, 6, 7]);
      expect(cache.positions().dtype).toBe("int32");
    });
  });

  test("works with the weights of a saved model", () => {
    tidy(() => {
      const [model, loaded] = [new Language(), new Language()];
      const cache = new nn.KeyValueCache(1, 8);
      const next = compile((x: Tensor) => noGrad(() => loaded.forward(x, cache)));
      const x = randint(0, 11, [1, 4]);
      next(x);
      const { tensors } = readSafetensors(writeSafetensors(model.stateDict()));
      loaded.loadStateDict(tensors);
      cache.reset();
      const parts = inPieces(next, x, [2, 1, 1]);
      expectPieces(
        parts,
        noGrad(() => model.forward(x)),
      );
    });
  });

  test("uses no more memory after the first steps, and dispose() frees all of it", () => {
    const model = encoder();
    const token = randn([1, 1, 8]).keep();
    const once = () => {
      const cache = new nn.KeyValueCache(1, 64);
      const next = compile((x: Tensor) => noGrad(() => model.forward(x, { isCausal: true, cache })));
      next(token);
      const before = memory();
      for (let i = 0; i < 60; i++) next(token);
      expect(memory()).toEqual(before);
      next.dispose();
      cache.dispose();
    };
    once();
    const before = memory().bytes;
    once();
    expect(memory().bytes).toBe(before);
  });

  test("rejects calls that it cannot serve", () => {
    const layer = new nn.MultiheadAttention(4, 2, { batchFirst: true, dropout: 0.5 }).eval();
    const x = randn([1, 2, 4]);
    const cache = new nn.KeyValueCache(1, 4);
    const attend = (options: object, y = x, key = y) => layer.forward(y, key, key, { cache, ...options });
    noGrad(() => attend({}));
    expect(() => attend({}, randn([2, 2, 4]))).toThrow(
      /the cache has batch size 1, but the query has 2\. Make a cache for 2 sequences/,
    );
    expect(() => attend({}, randn([1, 2, 5]))).toThrow(/the query must be \[batch, steps, 4\]/);
    expect(() => attend({}, x, randn([1, 2, 4]))).toThrow(/a cache is for self-attention\. Pass the same tensor/);
    expect(() => attend({ needWeights: true })).toThrow(/a cache and needWeights can't be combined/);
    expect(() => attend({ attnMask: randn([2, 2]) })).toThrow(/attnMask must be \[2, 4\] or \[2, 2, 4\]/);
    expect(cache.length).toBe(2);
    expect(() => attend({}).at(0)!.sum().backward()).toThrow(
      /no gradient flows through a KeyValueCache\. Train without a cache/,
    );
    layer.train();
    expect(() => attend({})).toThrow(/a cache can't be combined with dropout\. Call eval\(\)/);
    expect(() => new nn.KeyValueCache(1, 0)).toThrow(/capacity must be a whole number above 0/);
    expect(() => cache.truncate(-1)).toThrow(/length must be a whole number, 0 or more, got -1/);
    for (const steps of [-1, 1.5, Number.NaN])
      expect(() => cache.positions(steps)).toThrow(`positions: steps must be a whole number, 0 or more, got ${steps}.`);
    expect(() => compile((y: Tensor) => y.mul(cache.length))(x)).toThrow(/length changes with every call/);
    expect(() => compile((y: Tensor) => attend({ cache: new nn.KeyValueCache(1, 4) }, y)[0])(x)).toThrow(
      /all calls would share a cache that it makes\. Make the cache outside/,
    );
  });
});
