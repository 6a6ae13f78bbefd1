/** Exercise: order mini-batches greedily, so that the signs of successive gradients differ little. */
import type { Code, Exercise, Mistake } from "./exercise.ts";
import { draw, drawAwayFromZero, fail, format, read } from "./values.ts";

type Gradients = readonly (readonly number[])[];
type Distance = (a: readonly number[], b: readonly number[]) => number;

const bySigns: Distance = (a, b) => a.filter((value, i) => Math.sign(value) !== Math.sign(b[i]!)).length;
const euclidean: Distance = (a, b) => Math.hypot(...a.map((value, i) => value - b[i]!));

/** The number of sign differences between successive batches in an order. */
const flips = (gradients: Gradients, order: readonly number[]): number =>
  order.slice(1).reduce((total, to, t) => total + bySigns(gradients[order[t]!]!, gradients[to]!), 0);

/** Whether each batch is the nearest of the remaining batches to the one before it, or the farthest if `sign` is −1. */
const isGreedy = (gradients: Gradients, order: readonly number[], distance: Distance, sign = 1): boolean =>
  order.slice(1).every((_, t) => {
    const distances = order.slice(t + 1).map((i) => sign * distance(gradients[order[t]!]!, gradients[i]!));
    return distances[0] === Math.min(...distances);
  });

/** A hint at the mistake that the order suggests. */
function hintFor(gradients: Gradients, order: readonly number[]): string {
  const fromFirst = order.map((i) => bySigns(gradients[0]!, gradients[i]!));
  if (order.every((batch, i) => batch === i)) return "The batches are still in their original order.";
  if (fromFirst.every((distance, t) => t === 0 || fromFirst[t - 1]! <= distance))
    return "You sorted by the distance from batch 0. Compare with the batch that was chosen last.";
  if (isGreedy(gradients, order, euclidean))
    return "You compared the numbers, not their signs: only Math.sign of each component counts.";
  if (isGreedy(gradients, order, bySigns, -1))
    return "You chose the batch with the most differences. Choose the one with the fewest.";
  return "Compare the last chosen batch with every remaining one.";
}

/** Calls `order`, and checks that the result is a permutation that starts with 0. */
function orderOf(code: Code, gradients: Gradients): number[] {
  const returned = code.order!(gradients.map((g) => [...g]));
  const length = Array.isArray(returned) ? returned.length : gradients.length;
  const order = read(returned, [length], "The result of `order`");
  const twice = order.find((batch, t) => order.indexOf(batch) !== t);
  if (twice !== undefined) fail(`Batch ${twice} appears twice. Remove each chosen batch from the candidates.`);
  const odd = order.find((batch) => !Number.isInteger(batch) || batch < 0 || batch >= gradients.length);
  if (odd !== undefined)
    fail(`The order contains ${odd}, which is not the index of a batch: they go from 0 to ${gradients.length - 1}.`);
  const missing = gradients.findIndex((_, i) => !order.includes(i));
  if (missing >= 0) fail(`The order does not contain batch ${missing}. It must contain every batch once.`);
  if (order[0] !== 0) fail(`The order starts with batch ${order[0]}, but should start with batch 0.`);
  return order;
}

/** Checks that every batch in the order is one of the nearest among the batches that remained. */
function checkGreedy(code: Code, gradients: Gradients): void {
  const order = orderOf(code, gradients);
  for (let t = 1; t < order.length; t++) {
    const distances = order.slice(t).map((i) => bySigns(gradients[order[t - 1]!]!, gradients[i]!));
    if (distances[0] === Math.min(...distances)) continue;
    fail(
      `After batch ${order[t - 1]} you chose batch ${order[t]}, whose signs differ in ${distances[0]} components, but another batch differs in only ${Math.min(...distances)}. ${hintFor(gradients, order)}`,
    );
  }
}

/** Random gradients around three directions, with different lengths and many sign patterns. */
const random = (count: number): number[][] => {
  const centres = Array.from({ length: 3 }, () => drawAwayFromZero(16, 0.5, 1));
  return Array.from({ length: count }, (_, k) => {
    const size = 10 ** draw(1, -1, 1)[0]!;
    return drawAwayFromZero(16, 0.2, 1.5).map((noise, i) => size * (centres[k % 3]![i]! + noise));
  });
};

export default {
  name: "reorder-a-curriculum",
  title: "Reorder a curriculum",
  section: "Stochasticity and Gradient Confusion",
  concept: "an order of mini-batches whose gradients agree",
  prediction: {
    kind: "number",
    question:
      "Three mini-batches have gradients with the signs A = (+, +), B = (−, −) and C = (+, −). In the order A, B, C there are 3 sign flips: 2 and then 1. How many are there in the best order that starts with A?",
    answer: 2,
    within: 0,
    explanation:
      "In the order A, C, B every step flips one sign. C lies between the others. Fewer flips make a smoother path. They do not promise a lower loss: the lab's experiment on curricula measures both.",
  },
  statement: [
    "Finding the order with the fewest flips is a travelling-salesman problem. A greedy rule comes close: begin with batch 0, and always continue with the remaining batch whose gradient differs from the last one in the fewest signs. The distance between two batches is",
    "$$d(a,b)=\\sum_{i=1}^{n}\\bigl[\\,\\mathrm{sign}\\,g^{(a)}_i\\ne\\mathrm{sign}\\,g^{(b)}_i\\,\\bigr]$$",
    "Write `order(gradients)`. `gradients` is an array of gradients, each an array of numbers. Return the indices of the batches in the new order. If several batches are equally close, take any of them.",
  ],
  exports: ["order"],
  starter: `export function order(gradients) {
  return gradients.map((gradient, index) => index);
}
`,
  hints: [
    "Keep two lists: the order so far, which begins as `[0]`, and the batches that remain.",
    "In each round, compute the distance from the *last* batch of the order to every remaining batch. Move the nearest one from one list to the other.",
    "`remaining.sort((a, b) => distance(last, a) - distance(last, b)); order.push(remaining.shift());` repeated until nothing remains. `distance` counts components where `Math.sign` differs.",
  ],
  solution: `const distance = (a, b) =>
  a.filter((value, i) => Math.sign(value) !== Math.sign(b[i])).length;

export function order(gradients) {
  const result = [0];
  const remaining = gradients.map((gradient, index) => index).slice(1);
  while (remaining.length > 0) {
    const last = gradients[result[result.length - 1]];
    remaining.sort((a, b) => distance(last, gradients[a]) - distance(last, gradients[b]));
    result.push(remaining.shift());
  }
  return result;
}
`,
  checks: [
    {
      title: "The order starts with batch 0 and contains every batch once.",
      run: (code) => void orderOf(code, random(8)),
    },
    {
      title: "Every batch is the nearest of those that remain.",
      run(code) {
        for (let i = 0; i < 5; i++) checkGreedy(code, random(12));
      },
    },
    {
      title: "Only signs count: the order still passes if each gradient is scaled.",
      run(code) {
        const gradients = random(12);
        checkGreedy(
          code,
          gradients.map((g, k) => g.map((value) => value * 100 ** (k % 3))),
        );
      },
    },
    {
      title: "The new order has fewer flips than random orders.",
      run(code) {
        const gradients = random(24);
        const found = flips(gradients, orderOf(code, gradients));
        const others = Array.from({ length: 20 }, () => {
          const keys = draw(gradients.length);
          return flips(
            gradients,
            gradients.map((_, i) => i).sort((a, b) => keys[a]! - keys[b]!),
          );
        });
        if (!(found < Math.min(...others)))
          fail(`Your order has ${found} flips. A random one has ${format(Math.min(...others))}.`);
      },
    },
  ],
} satisfies Exercise;

export const mistakes: readonly Mistake[] = [
  { replace: "gradients[result[result.length - 1]]", by: "gradients[0]", hint: "sorted by the distance from batch 0" },
  {
    replace: ".slice(1);",
    by: ";",
    hint: "Remove each chosen batch",
  },
  {
    replace: "a.filter((value, i) => Math.sign(value) !== Math.sign(b[i])).length",
    by: "Math.hypot(...a.map((value, i) => value - b[i]))",
    hint: "compared the numbers, not their signs",
  },
  {
    replace: "result.push(remaining.shift())",
    by: "result.push(remaining.pop())",
    hint: "Choose the one with the fewest",
  },
];
