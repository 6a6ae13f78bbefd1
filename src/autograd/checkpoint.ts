/**
 * Rematerialization: a checkpointed function keeps only its arguments for the gradient, and runs again when backward reaches it (Chen
 * et al. 2016). The second run reads the same state as the first, and changes no state.
 */
import { type Checkpoint, context, isGradEnabled, withCheckpoint, withGrad, withScope } from "../core/context.ts";
import { type GradientRule, Node, nextNodeId } from "../core/graph.ts";
import { nextStorageId, type Storage } from "../core/memory.ts";
import { requireSynchronous, tensorsIn, tidy } from "../core/scope.ts";
import { type Edge, Tensor } from "../core/tensor.ts";
import type { AnyOp } from "../ops/definition/op.ts";
import { sameShape, show } from "../ops/definition/value.ts";
import { generatorState } from "../ops/random/random.ts";
import { check } from "../runtime/arguments.ts";
import { Error } from "../runtime/errors.ts";
import { mapTensors } from "./transforms.ts";

/** Runs f without autograd and without checkpoints. */
const apart = <T>(f: () => T): T => withCheckpoint(null, () => withGrad(false, f));

/** Observes the first run: records the ops, the tensors from outside that they read, and the state from before they changed it. */
class FirstRun implements Checkpoint<Tensor> {
  readonly ops: AnyOp[] = [];
  /** A copy of each storage from outside that the function wrote, from before the first write. */
  readonly before = new Map<Storage, Tensor>();
  /** The random generator's state before the first draw. */
  generator: Tensor | null = null;
  /** The storages from outside that the function read. */
  readonly read = new Set<Storage>();
  /** The tensors in `before` and `generator`. The scopes of f do not free them. */
  readonly saved: Tensor[] = [];
  private readonly firstId = nextStorageId();
  private readonly outer = context.checkpoint;
  readonly recomputation = this.outer?.recomputation ?? 0;

  enter(op: AnyOp, inputs: readonly Tensor[], attributes: unknown): readonly Tensor[] {
    const { outer, before, firstId } = this;
    // If this runs inside the second run of an outer checkpoint, `actual` holds the outer run's copies, but the keys must be the real
    // storages.
    const actual = (outer ? outer.enter(op, inputs, attributes) : inputs) as readonly Tensor[];
    const save = (x: Tensor | undefined): Tensor =>
      withScope(this.saved, () => apart(() => x?.clone() ?? (generatorState() as Tensor)));
    this.ops.push(op);
    if (op.random) this.generator ??= save(actual[0]);
    else
      for (const i of op.mutates?.(inputs, attributes) ?? []) {
        const storage = inputs[i]!.storage(op.name);
        if (storage.id < firstId && !before.has(storage)) before.set(storage, save(actual[i]));
      }
    for (const x of inputs) {
      const storage = x.storage(op.name);
      if (storage.id < firstId) this.read.add(storage);
    }
    return actual;
  }
}

/** Redirects the ops of a second run to copies of the state from before the first run. */
class SecondRun implements Checkpoint<Tensor> {
  private count = 0;
  private readonly outer = context.checkpoint;

  constructor(
    readonly recomputation: number,
    private readonly ops: readonly AnyOp[],
    private readonly state: ReadonlyMap<Storage, Tensor>,
    private readonly generator: Tensor | undefined,
  ) {}

  enter(op: AnyOp, inputs: readonly Tensor[], attributes: unknown): readonly Tensor[] {
    this.requireSame(op);
    const { state, generator, outer } = this;
    const own =
      op.random && generator
        ? [generator]
        : inputs.map((x) => {
            const copy = state.get(x.storage(op.name));
            return copy ? Tensor.wrap(copy.storage(op.name).retain(), x, x.edge) : x;
          });
    return outer ? (outer.enter(op, own, attributes) as readonly Tensor[]) : own;
  }

  /** Compares an op with the first run's op at the same place; undefined marks the end of a run. @throws Error if they differ */
  requireSame(op?: AnyOp): void {
    const before = this.ops[this.count++];
    if (before !== op) throw different(`ran ${before?.name ?? "nothing"}`, op?.name ?? "nothing");
  }
}

const different = (first: string, second: string): Error =>
  new Error(
    `checkpoint: f ${first} in the forward pass, but ${second} in the backward pass. f must do the same both times: call train() and ` +
      "eval() after backward, and don't let f depend on variables that change.",
  );

/** Follows the graph from the roots through the nodes with ids of at least `firstId`. Returns the leaves and older nodes it reaches. */
function edgesOutside(roots: readonly Tensor[], firstId: number): Edge[] {
  const found = new Set(roots.map((x) => x.edge!));
  // A loop over a Set visits the elements that are added during the loop.
  for (const edge of found)
    if (edge instanceof Node && edge.id >= firstId) for (const next of edge.edges) if (next) found.add(next);
  return [...found].filter((edge) => !(edge instanceof Node && edge.id >= firstId));
}

/**
 * Returns a function that computes the same as f, but keeps only its arguments for the gradient, not the values that f
 * computes. backward runs f again to recompute these values, which saves memory but takes the time of another forward
 * pass. Values and gradients have the same bits as those of f; second derivatives can differ in the last bits.
 *
 * f can use parameters from outside, draw random numbers and change state, such as running statistics. The second run draws the same
 * numbers and changes no tensors, but all other side effects happen twice. f must run the same ops both times. The arguments and results
 * of f can be tensors of any shape, other values, and arrays and plain objects of them. Pass tensors that may be disposed before
 * backward, such as masks made in tidy(), as arguments: checkpoint keeps these alive.
 *
 * ```ts
 * const layer = new nn.Linear(4, 4);
 * const block = nn.checkpoint((x: Tensor) => layer.forward(x).relu());
 * block(randn([2, 4])).sum().backward();
 * layer.weight.grad!.shape; // [4, 4]
 * ```
 * @throws Error, in backward, if f does not run the same ops again, or if a tensor that f uses was changed in place
 */
export function checkpoint<A extends unknown[], T>(f: (...args: A) => T): (...args: A) => T {
  check("checkpoint", arguments, "f:function");
  return (...args) => {
    if (!isGradEnabled()) return f(...args);
    const [firstNode, first] = [nextNodeId(), new FirstRun()];
    const run = (): T => {
      const result = withCheckpoint(first, () => f(...args));
      requireSynchronous("checkpoint", result);
      const results = [...tensorsIn(result)];
      const outputs = results.filter((y) => y.requiresGrad);
      if (!outputs.length) return result;
      const { ops, before, generator } = first;
      const inputs: Tensor[] = [];
      mapTensors(args, (x) => inputs.push(x));
      const saved = [...inputs, ...before.values(), ...(generator ? [generator] : [])];
      const versions = new Map(Array.from(first.read, (storage) => [storage, storage.version]));
      const places = outputs.map((y) => ({ shape: y.shape, at: results.indexOf(y) }));

      const recompute: GradientRule["recompute"] = (values, node) => {
        for (const [storage, version] of versions)
          if (storage.version !== version && !before.has(storage))
            throw new Error(
              "checkpoint: a tensor that f uses was changed in place before backward. Change a clone() instead, or call backward first.",
            );
        const tensors = values as Tensor[];
        const copies = apart(() => tensors.slice(inputs.length).map((x) => x.clone()));
        const state = new Map(Array.from(before.keys(), (storage, i) => [storage, copies[i]!]));
        let next = 0;
        const again = mapTensors(args, () => tensors[next++]);
        const second = new SecondRun(node, ops, state, copies[before.size]);
        const made = [...tensorsIn(tidy(() => withCheckpoint(second, () => f(...again))))];
        second.requireSame();
        return places.map(({ shape, at }) => {
          const y = made[at];
          if (y && sameShape(y.shape, shape)) return y;
          throw different(`returned ${show(shape)}`, y ? show(y.shape) : "nothing");
        });
      };
      const edges = [...saved.map((x) => x.edge), ...edgesOutside(outputs, firstNode)];
      // f's outputs are the node's outputs from 1 on, and output 0 is unused: `recompute` returns only f's outputs, and backward uses
      // only their gradients, some of which may be missing.
      const node = new Node<Tensor>({ name: "checkpoint", saves: "input", recompute }, null, edges, saved, []);
      const copies = new Map(outputs.map((y, i) => [y, y.detach().attach(node.output(i + 1))]));
      node.release();
      return mapTensors(result, (y) => copies.get(y) ?? y);
    };
    try {
      return tidy(run);
    } finally {
      for (const x of first.saved) x.dispose();
    }
  };
}
