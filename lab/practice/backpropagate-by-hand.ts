/** Exercise: derive the four gradients of a two-layer network with the chain rule. */
import { grad, randn, type Tensor } from "nabla";
import type { Code, Exercise, Mistake } from "./exercise.ts";
import { agree, fail, read } from "./values.ts";

const NAMES = ["w1", "b1", "w2", "b2"] as const;
type Name = (typeof NAMES)[number];
type Parameters = Readonly<Record<Name, Tensor>>;

const [SAMPLES, INPUTS, HIDDEN, OUTPUTS] = [6, 3, 4, 2];
const layers = { w1: [HIDDEN, INPUTS], b1: [HIDDEN], w2: [OUTPUTS, HIDDEN], b2: [OUTPUTS] } as const;
const LABELS: Readonly<Record<Name, string>> = { w1: "∂L/∂W₁", b1: "∂L/∂b₁", w2: "∂L/∂W₂", b2: "∂L/∂b₂" };

function random() {
  const draw = (name: Name): Tensor => randn([...layers[name]]);
  const parameters: Parameters = { w1: draw("w1"), b1: draw("b1"), w2: draw("w2"), b2: draw("b2") };
  return { parameters, x: randn([SAMPLES, INPUTS]), t: randn([SAMPLES, OUTPUTS]) };
}

const hidden = ({ w1, b1 }: Parameters, x: Tensor): Tensor => x.matmul(w1.t()).add(b1);
const output = (p: Parameters, x: Tensor): Tensor => hidden(p, x).tanh().matmul(p.w2.t()).add(p.b2);

/** The gradients from nabla's autograd. */
function exact({ w1, b1, w2, b2 }: Parameters, x: Tensor, t: Tensor): Parameters {
  const loss = (...[u, c, v, d]: Tensor[]): Tensor =>
    output({ w1: u!, b1: c!, w2: v!, b2: d! }, x).sub(t).square().sum().mul(0.5);
  const [dw1, db1, dw2, db2] = grad(loss, [0, 1, 2, 3])(w1, b1, w2, b2) as [Tensor, Tensor, Tensor, Tensor];
  return { w1: dw1, b1: db1, w2: dw2, b2: db2 };
}

/** A hint for each common mistake, and the gradient of one parameter that code with this mistake returns. */
function slips(name: Name, p: Parameters, x: Tensor, t: Tensor): [string, number[]][] {
  const z = hidden(p, x);
  const h = z.tanh();
  const dy = output(p, x).sub(t);
  const dh = dy.matmul(p.w2);
  const by = (g: Tensor, input: Tensor): Tensor => (name[0] === "b" ? g.sum(0) : g.t().matmul(input));
  const of = (g: Tensor, input: Tensor): number[] => [...by(g, input).data];
  const first = (derivative: Tensor): number[] => of(dh.mul(derivative), x);
  const want = name[1] === "2" ? of(dy, h) : first(h.square().neg().add(1));
  const shared: [string, number[]][] = [
    ["The sign is wrong: ∂L/∂y = y − t.", want.map((value) => -value)],
    [
      "The gradient is twice the right value: the factor ½ cancels the 2 from the square.",
      want.map((value) => 2 * value),
    ],
    [
      "You averaged over the samples. This loss is a sum, so its gradient is a sum too.",
      want.map((value) => value / SAMPLES),
    ],
  ];
  if (name === "w2")
    return [...shared, ["You multiplied by z instead of h: the second layer's input is h = tanh(z).", of(dy, z)]];
  if (name === "b2") return shared;
  return [
    ...shared,
    ["You forgot the derivative of tanh. Between W₂ and the first layer, multiply by 1 − h².", first(h.mul(0).add(1))],
    ["The derivative of tanh is 1 − tanh²(z) = 1 − h². You squared z instead of h.", first(z.square().neg().add(1))],
    ["h(1 − h) is the derivative of the sigmoid. The derivative of tanh is 1 − h².", first(h.mul(h.neg().add(1)))],
  ];
}

function checkOne(code: Code, name: Name): void {
  for (let i = 0; i < 3; i++) {
    const { parameters, x, t } = random();
    const got = code.gradients!({ ...parameters }, x, t) as Parameters | undefined;
    if (typeof got !== "object" || got === null || !(name in got))
      fail(
        `\`gradients\` must return an object { w1, b1, w2, b2 }${typeof got === "object" && got ? `, but ${name} is missing` : ""}.`,
      );
    const value: unknown = got[name];
    const shape = layers[name];
    const found: unknown = (value as Tensor | undefined)?.shape;
    const isTransposed = Array.isArray(found) && shape.length === 2 && found[0] === shape[1] && found[1] === shape[0];
    if (isTransposed)
      fail(
        `${LABELS[name]} is transposed. It is the outer product g·xᵀ, upstream gradient times input, with the shape of the weights.`,
      );
    agree(read(value, shape, LABELS[name]), {
      what: LABELS[name],
      want: [...exact(parameters, x, t)[name].data],
      within: 1e-3,
      slips: slips(name, parameters, x, t),
    });
  }
}

export default {
  name: "backpropagate-by-hand",
  title: "Backpropagate a two-layer network by hand",
  section: "Calculating Gradients: The Chain Rule and Backpropagation",
  concept: "upstream gradient times local derivative, layer by layer",
  prediction: {
    kind: "choice",
    question:
      "A network computes $y=W_2\\tanh(W_1x+b_1)+b_2$. All elements of $W_2$ are 0, and the output is wrong. Which gradients are certainly zero?",
    options: ["Those of W₁ and b₁", "Those of W₂ and b₂", "All four"],
    answer: "Those of W₁ and b₁",
    explanation:
      "The gradient passes backward through $W_2$: the hidden layer receives $W_2^\\top g=0$. The gradient of $W_2$ itself is $g\\,h^\\top$, which is not zero. So $W_2$ moves first, and then the first layer learns.",
  },
  statement: [
    "A network has two layers. For each sample,",
    "$$h=\\tanh(W_1x+b_1),\\qquad y=W_2h+b_2$$",
    "$$L=\\frac12\\sum_{k=1}^{n}\\|y^{(k)}-t^{(k)}\\|^2$$",
    "Write `gradients({ w1, b1, w2, b2 }, x, t)`, which returns an object `{ w1, b1, w2, b2 }` with the gradient of $L$ for each parameter. The inputs `x` have shape [n, inputs] and the targets `t` have shape [n, outputs], with a sample in each row. `w1` has shape [hidden, inputs], and `w2` has shape [outputs, hidden].",
    "With samples in rows, a layer is `x.matmul(w1.t()).add(b1)`. Also useful: `a.tanh()`, `a.mul(b)`, `a.square()`, `a.neg()`, and `a.sum(0)`, which sums over the samples.",
  ],
  exports: ["gradients"],
  byHand: true,
  starter: `import { zerosLike } from "nabla";

export function gradients({ w1, b1, w2, b2 }, x, t) {
  const h = x.matmul(w1.t()).add(b1).tanh();
  const y = h.matmul(w2.t()).add(b2);

  return { w1: zerosLike(w1), b1: zerosLike(b1), w2: zerosLike(w2), b2: zerosLike(b2) };
}
`,
  hints: [
    "Work from the loss backward. What is $g=\\partial L/\\partial y$? Each layer then needs its upstream gradient and its input.",
    "For a layer $y=Wx+b$ with upstream gradient $g$: $\\partial L/\\partial b=\\sum_kg^{(k)}$, $\\partial L/\\partial W=\\sum_kg^{(k)}x^{(k)\\top}$, and the gradient passed on is $W^\\top g$. With samples in rows, these are `g.sum(0)`, `g.t().matmul(x)` and `g.matmul(w)`.",
    "The upstream gradient of the second layer is `y.sub(t)`. Passed back through $W_2$ and then through tanh, whose derivative is $1-h^2$, it is `y.sub(t).matmul(w2).mul(h.square().neg().add(1))`: the upstream gradient of the first layer.",
  ],
  solution: `export function gradients({ w1, b1, w2, b2 }, x, t) {
  const h = x.matmul(w1.t()).add(b1).tanh();
  const y = h.matmul(w2.t()).add(b2);

  const dy = y.sub(t);
  const dz = dy.matmul(w2).mul(h.square().neg().add(1));
  return {
    w1: dz.t().matmul(x),
    b1: dz.sum(0),
    w2: dy.t().matmul(h),
    b2: dy.sum(0),
  };
}
`,
  checks: (["b2", "w2", "b1", "w1"] as const).map((name) => ({
    title: `${LABELS[name]} agrees with autograd for random networks.`,
    run: (code: Code) => checkOne(code, name),
  })),
} satisfies Exercise;

export const mistakes: readonly Mistake[] = [
  { replace: ".mul(h.square().neg().add(1))", by: "", hint: "forgot the derivative of tanh" },
  { replace: "w2: dy.t().matmul(h)", by: "w2: h.t().matmul(dy)", hint: "∂L/∂W₂ is transposed" },
  { replace: "b2: dy.sum(0)", by: "b2: dy.mean(0)", hint: "averaged over the samples" },
  { replace: "h.square().neg().add(1)", by: "h.mul(h.neg().add(1))", hint: "derivative of the sigmoid" },
];
