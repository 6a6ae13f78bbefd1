/**
 * The autograd graph: nodes, and the tensors that are saved for their gradient rules. autograd/backward.ts traverses
 * the graph.
 */

import type { AnyOp } from "../ops/definition/op.ts";
import { type Shape, type Spec, show, sizeOf, type Value } from "../ops/definition/value.ts";
import { Error } from "../runtime/errors.ts";
import type { Storage } from "./memory.ts";

/**
 * How a node propagates a gradient to its inputs. Each entry of the op table is a gradient rule; reshape and custom
 * gradients have gradient rules too.
 */
export type GradientRule = Pick<AnyOp, "name" | "vjp" | "sparse" | "saves" | "composed" | "differentiable"> & {
  /**
   * Replaces `vjp` for a node that stands for a part of the graph. Computes the node's outputs again, except output 0, which is unused,
   * and records a graph for them. backward continues in that graph, which ends at the node's edges.
   */
  readonly recompute?: (inputs: readonly Value[], node: number) => readonly Value[];
};

/** A tensor as the graph sees it. A tensor that is an edge is a leaf, which collects a gradient. */
export interface Stored extends Value {
  /** Returns the tensor's memory, for an op that is about to use it. @throws DisposedError @internal */
  storage(op: string): Storage;
}

/** The destination of an input's gradient: the node that made the input, or a leaf. */
export type Edge<Leaf extends Stored> = Node<Leaf> | Leaf;

/** A saved input or output. */
interface Saved<Leaf extends Stored> {
  readonly storage: Storage;
  readonly version: number;
  readonly spec: Spec;
  readonly edge: Edge<Leaf> | null;
  /** The index among the node's outputs; negative for an input. */
  readonly output: number;
}

let nodes = 0;
/** The id of the next node. Ids increase. */
export const nextNodeId = (): number => nodes;

let current: Node<Stored> | null = null;
/** The node whose gradient rule is running. Ops that run now help to compute the gradient of this node's op. */
export const currentNode = (): Node<Stored> | null => current;

/** Runs f as part of a node's gradient rule. */
export function withNode<T>(node: Node<Stored>, f: () => T): T {
  const outer = current;
  current = node;
  try {
    return f();
  } finally {
    current = outer;
  }
}

/**
 * The rule for the nodes of an op's second and later outputs. backward passes these outputs' gradients to the rule of
 * the first output's node.
 */
const outputRule: GradientRule = { name: "output" };

/**
 * One op in the autograd graph. A node is reference-counted; its outputs and the nodes that depend on it hold
 * references.
 */
export class Node<Leaf extends Stored> {
  /** The order of creation. A node has a higher id than the nodes that it depends on. */
  readonly id = nodes++;
  readonly inputShapes: readonly Shape[];
  /** One node per output: this node for the first output, then the other outputs' nodes. */
  readonly outputs: (Node<Leaf> | undefined)[] = [this];
  readonly outputShape: Shape;
  /** The location where the node's op was called. Known only while compile records or detectAnomaly runs. */
  site: (() => string) | undefined;
  private references = 1;
  private saved: (Saved<Leaf> | Spec)[] | null;

  constructor(
    readonly rule: GradientRule,
    readonly attributes: unknown,
    /** The destination of each input's gradient; null if no gradient is needed. */
    readonly edges: readonly (Edge<Leaf> | null)[],
    inputs: readonly Leaf[],
    outputs: readonly Leaf[],
  ) {
    const { saves = "none" } = rule;
    this.inputShapes = inputs.map((x) => x.shape);
    this.outputShape = outputs[0]?.shape ?? [];
    this.saved = [...inputs, ...outputs].map((x, i) => {
      const own = i >= inputs.length;
      const wanted =
        typeof saves === "object" ? saves.includes(i) : saves === "both" || saves === (own ? "output" : "input");
      const spec = { shape: x.shape, dtype: x.dtype };
      if (!wanted) return spec;
      const storage = x.storage(rule.name).retain();
      return {
        storage,
        version: storage.version,
        spec,
        edge: own ? null : edges[i]!,
        output: i - inputs.length,
      };
    });
    for (const edge of edges) if (edge instanceof Node) edge.references++;
  }

  /** The node to attach to output k. */
  output(k: number): Node<Leaf> {
    if (!k) return this;
    const made = new Node<Leaf>(outputRule, null, [this], [], []);
    this.outputs[k] = made;
    return made;
  }

  /**
   * The second argument for the gradient rule, after dy. `wrap` makes a tensor for each saved input and output, from a
   * retained storage and the value's place in the graph. For other values, only the shape and dtype are known.
   * @throws Error if the graph was freed, or a saved tensor was changed in place
   */
  context(
    needs: readonly boolean[],
    more: readonly (Value | undefined)[],
    wrap: (storage: Storage, spec: Spec, edge: Edge<Leaf> | null) => Value,
  ): Parameters<NonNullable<GradientRule["vjp"]>>[1] {
    const { saved, rule } = this;
    if (!saved) {
      throw new Error(
        `${rule.name}: an earlier backward freed this part of the graph. minimize calls backward itself, so do not call it too; otherwise recompute the loss, or call the first backward with { retainGraph: true }.`,
      );
    }
    /**
     * Nodes that were recreated for outputs whose tensors were freed. This list holds them until the outputs are
     * wrapped.
     */
    const fresh: Node<Leaf>[] = [];
    const edgeOf = (s: Saved<Leaf>): Edge<Leaf> | null => {
      if (s.output < 0) return s.edge;
      const known = this.outputs[s.output];
      if (known || s.output >= (rule.differentiable ?? 1)) return known ?? null;
      fresh.push(this.output(s.output));
      return fresh.at(-1)!;
    };
    for (const s of saved) {
      if ("storage" in s && s.storage.version !== s.version) {
        throw new Error(
          `${rule.name}: a tensor ${show(s.spec.shape)} that its gradient needs was changed in place. Change a clone() instead.`,
        );
      }
    }
    const values = saved.map((s): Value => {
      if (!("storage" in s)) return { ...s, size: sizeOf(s.shape) };
      return wrap(s.storage.retain(), s.spec, edgeOf(s));
    });
    for (const node of fresh) node.release();
    return {
      inputs: values.slice(0, this.inputShapes.length),
      outputs: values.slice(this.inputShapes.length),
      attributes: this.attributes,
      needs,
      more,
    };
  }

  /** Frees the saved tensors. Afterwards, the node can no longer propagate gradients. */
  free(): void {
    for (const s of this.saved ?? []) if ("storage" in s) s.storage.release();
    this.saved = null;
  }

  /** Whether the node can still propagate gradients. */
  get isLive(): boolean {
    return this.saved !== null;
  }

  retain(): this {
    this.references++;
    return this;
  }

  /**
   * Drops a reference. If it was the last one, frees the node and releases the nodes that it depends on. Uses a loop
   * instead of recursion, because chains of nodes can be long.
   */
  release(): void {
    const pending: Node<Leaf>[] = [this];
    for (let node = pending.pop(); node; node = pending.pop()) {
      if (--node.references > 0) continue;
      node.free();
      // If this node belongs to a second or later output, remove it from the node of the first output.
      if (node.rule === outputRule) {
        const owner = node.edges[0] as Node<Leaf>;
        owner.outputs[owner.outputs.indexOf(node)] = undefined;
      }
      for (const edge of node.edges) if (edge instanceof Node) pending.push(edge);
    }
  }
}

/** The gradient of a reshape, an alias or a copy: dy in the shape of the input. */
export const reshapeRule: GradientRule = {
  name: "reshape",
  vjp: (dy, { inputs: [x] }) => [(dy as Value & { alias(shape: Shape): Value }).alias(x!.shape)],
};
