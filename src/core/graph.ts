/** The graph of gradients: what each op's rule keeps, and who holds what. Walked by autograd.ts. */

import type { AnyOp } from "../ops/definition/op.ts";
import { type Shape, type Spec, show, sizeOf, type Value } from "../ops/definition/value.ts";
import { Error } from "../runtime/errors.ts";
import type { Storage } from "./memory.ts";

/** How a node sends a gradient back. Table entries are such rules; so are reshape and custom gradients. */
export type GradientRule = Pick<AnyOp, "name" | "vjp" | "saves" | "composed" | "differentiable">;

/** A tensor, as the graph sees it; as an edge it is a leaf, whose gradient is wanted. */
export interface Stored extends Value {
  /** The memory, for the op that is about to use it. @throws DisposedError */
  storage(op: string): Storage;
}

/** Where a gradient goes: to the op that made an input, or to a leaf. */
export type Edge<Leaf extends Stored> = Node<Leaf> | Leaf;

/** An input or output that a rule keeps. */
interface Saved<Leaf extends Stored> {
  readonly storage: Storage;
  readonly version: number;
  readonly spec: Spec;
  readonly edge: Edge<Leaf> | null;
  /** Which output of the node itself it is; −1: an input. */
  readonly output: number;
}

let nodes = 0;

let current: Node<Stored> | null = null;
/** The node whose rule is at work: ops are then part of its op's gradient. */
export const currentNode = (): Node<Stored> | null => current;

/** Runs f, a part of a node's rule. */
export function within<T>(node: Node<Stored>, f: () => T): T {
  const outer = current;
  current = node;
  try {
    return f();
  } finally {
    current = outer;
  }
}

/** What stands for a further output of a node: the driver hands its gradient to the node's own rule. */
const outputRule: GradientRule = { name: "output" };

/** One op in the graph of gradients. Held by its output and by the nodes after it; counted, as storages are. */
export class Node<Leaf extends Stored> {
  /** Creation order: every node comes after the nodes it depends on. */
  readonly id = nodes++;
  readonly inputShapes: readonly Shape[];
  /** This node, for its first output, and those that stand for further ones. */
  readonly outputs: (Node<Leaf> | undefined)[] = [this];
  readonly outputShape: Shape;
  /** Where its op was called, as far as that is known: while functions are recorded or watched. */
  site: (() => string) | undefined;
  private references = 1;
  private saved: (Saved<Leaf> | Spec)[] | null;

  constructor(
    readonly rule: GradientRule,
    readonly attributes: unknown,
    /** Where each input's gradient goes; null where none is wanted. */
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

  /** What output k is attached to. */
  output(k: number): Node<Leaf> {
    if (!k) return this;
    const made = new Node<Leaf>(outputRule, null, [this], [], []);
    this.outputs[k] = made;
    return made;
  }

  /**
   * What the rule kept, as tensors of the graph they were in, made by `wrap` on a retained storage; of the rest, shape and
   * type.
   */
  context(
    needs: readonly boolean[],
    more: readonly (Value | undefined)[],
    wrap: (storage: Storage, spec: Spec, edge: Edge<Leaf> | null) => Value,
  ): Parameters<NonNullable<GradientRule["vjp"]>>[1] {
    const { saved, rule } = this;
    if (!saved) {
      throw new Error(
        `${rule.name}: its part of the graph was freed by an earlier backward. Pass backward({ retainGraph: true }) the first time.`,
      );
    }
    /** Stand-ins made for outputs whose tensors are gone, held until they are wrapped. */
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
          `${rule.name}: a tensor ${show(s.spec.shape)} that its gradient needs was changed in place since. Use clone() before changing it.`,
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

  /** Gives back what the rule kept; the node cannot send gradients any more. */
  free(): void {
    for (const s of this.saved ?? []) if ("storage" in s) s.storage.release();
    this.saved = null;
  }

  /** Whether it can still send gradients. */
  get isLive(): boolean {
    return this.saved !== null;
  }

  retain(): this {
    this.references++;
    return this;
  }

  /** One holder less; the last one frees the node, and lets go of the nodes before it (without recursion: chains are long). */
  release(): void {
    const pending: Node<Leaf>[] = [this];
    for (let node = pending.pop(); node; node = pending.pop()) {
      if (--node.references > 0) continue;
      node.free();
      // A stand-in that nobody holds is none any more: its place in the node it stood for is free.
      if (node.rule === outputRule) {
        const owner = node.edges[0] as Node<Leaf>;
        owner.outputs[owner.outputs.indexOf(node)] = undefined;
      }
      for (const edge of node.edges) if (edge instanceof Node) pending.push(edge);
    }
  }
}
