/**
 * Tracks the state of modules for compile: which modules a recorded function uses, the values of their properties, and
 * whether these have changed since. A class is registered when its first instance is made, and its methods are wrapped
 * only while compile records.
 */
import { isPlainObject, kindOf } from "../runtime/kinds.ts";
import { Tensor } from "./tensor.ts";

/** The prototypes of classes that have instances, and of their superclasses, except nn.Module. */
const prototypes = new Set<object>();
/** The instances made by the function that compile is recording. Their state does not outlive the call. */
let created: WeakSet<object> | null = null;

/** Called by the constructor of every module. */
export function registerModule(instance: object): void {
  let prototype = Object.getPrototypeOf(instance) as object;
  while (!prototypes.has(prototype)) {
    const parent: unknown = Object.getPrototypeOf(prototype);
    if (parent === Object.prototype || parent === null) break;
    prototypes.add(prototype);
    prototype = parent as object;
  }
  created?.add(instance);
}

/**
 * The name of an instance in messages: the kind of its class or, if it has none, the class name. Do not use this name
 * for anything else, because minifiers change class names.
 */
export const nameOf = (instance: object): string =>
  Object.hasOwn(instance.constructor, "kind") ? kindOf(instance) : instance.constructor.name || kindOf(instance);

const isStateful = (value: object): boolean => prototypes.has(Object.getPrototypeOf(value) as object);

type Owner = Record<string, unknown>;
/** Maps are compared by key. Sets are treated as Maps from elements to undefined. */
type Collection = Map<unknown, unknown> | Set<unknown>;
const valueIn = (owner: Collection, key: unknown): unknown => (owner instanceof Map ? owner.get(key) : undefined);

/** A Map or Set and its recorded entries. */
interface CollectionState {
  readonly owner: Collection;
  readonly entries: readonly (readonly [key: unknown, value: unknown])[];
  readonly path: string;
}
const isUnchanged = ({ owner, entries }: CollectionState): boolean => {
  if (owner.size !== entries.length) return false;
  for (const [key, value] of entries) if (!owner.has(key) || !Object.is(valueIn(owner, key), value)) return false;
  return true;
};

/** A property and its recorded value. */
interface PropertyState {
  readonly owner: Owner;
  readonly key: string;
  readonly value: unknown;
  /** The property's name in errors, such as `Net.layers[0].h`. */
  readonly path: string;
}

/**
 * Arrays, Maps and Sets with more than MAX_ELEMENTS elements are not tracked, and neither are objects nested more than
 * MAX_DEPTH levels deep.
 */
const MAX_ELEMENTS = 64;
const MAX_DEPTH = 4;

const isPlain = (value: object): boolean =>
  Array.isArray(value) ? value.length <= MAX_ELEMENTS : isPlainObject(value);

function sizeOf(owner: object): number {
  let count = 0;
  for (const _ in owner) count++;
  return count;
}

/**
 * Whether a property is a method that temporarily replaces another one. nabla/gradients replaces `forward` in this way
 * to observe layers.
 */
const isHidden = ({ value, enumerable }: PropertyDescriptor): boolean => typeof value === "function" && !enumerable;

/** The recorded properties of objects, and of the objects, arrays and collections inside them. */
export class ModuleState {
  private readonly all: PropertyState[] = [];
  private readonly collections: CollectionState[] = [];
  private readonly tensorSet = new Set<Tensor>();
  private readonly owners = new Map<object, { readonly path: string; readonly names: ReadonlySet<string> }>();

  /** Records the current properties of an object, unless they were recorded before. */
  add(value: object, path = nameOf(value), depth = 0): void {
    if (this.owners.has(value)) return;
    const owner = value as Owner;
    const names = Object.getOwnPropertyNames(owner);
    this.owners.set(owner, { path, names: new Set(names) });
    for (const key of names) {
      const descriptor = Object.getOwnPropertyDescriptor(owner, key)!;
      const current: unknown = descriptor.value;
      if (!("value" in descriptor) || isHidden(descriptor)) continue;
      const inner = Array.isArray(owner) && key !== "length" ? `${path}[${key}]` : `${path}.${key}`;
      if (descriptor.writable) this.all.push({ owner, key, value: current, path: inner });
      this.addValue(current, inner, depth);
    }
  }

  private addValue(value: unknown, path: string, depth: number): void {
    if (typeof value !== "object" || value === null) return;
    if (value instanceof Tensor) this.tensorSet.add(value);
    else if (isStateful(value)) this.add(value, path);
    else if (depth >= MAX_DEPTH) return;
    else if (value instanceof Map || value instanceof Set) this.addCollection(value, path, depth + 1);
    else if (isPlain(value)) this.add(value, path, depth + 1);
  }

  private addCollection(owner: Collection, path: string, depth: number): void {
    if (owner.size > MAX_ELEMENTS || this.collections.some((known) => known.owner === owner)) return;
    const entries = Array.from(owner.keys(), (key) => [key, valueIn(owner, key)] as const);
    this.collections.push({ owner, entries, path });
    for (const [key, value] of entries)
      this.addValue(owner instanceof Map ? value : key, `${path}.${typeof key === "string" ? key : "element"}`, depth);
  }

  /** The tensors in the recorded properties. */
  get tensors(): ReadonlySet<Tensor> {
    return this.tensorSet;
  }

  get isEmpty(): boolean {
    return !this.owners.size;
  }

  /**
   * The path of the first property that has changed or is new; undefined if there is none.
   * @param undo whether to restore all changed properties
   */
  changed(undo = false): string | undefined {
    const found: string[] = [];
    for (const { owner, key, value, path } of this.all) {
      if (Object.is(owner[key], value)) continue;
      found.push(path);
      if (undo) owner[key] = value;
    }
    for (const [owner, { path, names }] of this.owners)
      for (const key of Object.getOwnPropertyNames(owner)) {
        if (names.has(key) || isHidden(Object.getOwnPropertyDescriptor(owner, key)!)) continue;
        found.push(`${path}.${key}`);
        if (undo) delete (owner as Owner)[key];
      }
    for (const collection of this.collections) {
      if (isUnchanged(collection)) continue;
      const { owner, entries, path } = collection;
      found.push(path);
      if (!undo) continue;
      owner.clear();
      for (const [key, value] of entries)
        if (owner instanceof Map) owner.set(key, value);
        else owner.add(key);
    }
    return found[0];
  }

  /**
   * Returns a fast check that no property was changed or added, and that no module's forward method was replaced.
   */
  guard(): () => boolean {
    const elements = this.all.filter(({ owner }) => Array.isArray(owner));
    const [lists, places] = [
      elements.map(({ owner }) => owner as unknown as unknown[]),
      elements.map(({ key }) => (key === "length" ? -1 : Number(key))),
    ];
    const named = this.all.filter(({ owner }) => !Array.isArray(owner));
    const [owners, keys] = [named.map(({ owner }) => owner), named.map(({ key }) => key)];
    const [items, values] = [elements.map(({ value }) => value), named.map(({ value }) => value)];
    const all = Array.from(this.owners.keys()) as Owner[];
    // Counting properties is slow, so skip instances of classes that define their own static `kind`, such as nabla's
    // layers. Their methods never read properties that users add.
    const counted = all.filter(
      (owner) => !Array.isArray(owner) && !(isStateful(owner) && Object.hasOwn(owner.constructor as object, "kind")),
    );
    const sizes = counted.map(sizeOf);
    const modules = all.filter(isStateful);
    const forwards = modules.map(({ forward }) => forward);
    const { collections } = this;
    // Compare array elements and named properties in separate loops: engines run a loop faster if it accesses only one
    // kind of property.
    return () => {
      for (let i = 0; i < owners.length; i++) {
        const value = owners[i]![keys[i]!];
        if (value !== values[i] && !Object.is(value, values[i])) return false;
      }
      for (let i = 0; i < lists.length; i++) {
        const list = lists[i]!;
        const at = places[i]!;
        const value = at < 0 ? list.length : list[at];
        if (value !== items[i] && !Object.is(value, items[i])) return false;
      }
      for (let i = 0; i < modules.length; i++) if (modules[i]!.forward !== forwards[i]) return false;
      for (let i = 0; i < counted.length; i++) if (sizeOf(counted[i]!) !== sizes[i]) return false;
      for (let i = 0; i < collections.length; i++) if (!isUnchanged(collections[i]!)) return false;
      return true;
    };
  }
}

type Method = (this: object, ...args: unknown[]) => unknown;

/**
 * Runs f. When f calls a method of a module for the first time, records the module in `state`, unless f made the
 * module.
 */
export function observe<T>(state: ModuleState, f: () => T): T {
  const inside = new WeakSet<object>();
  const undo: (() => void)[] = [];
  const wrap = (prototype: object, key: string): void => {
    const before = Object.getOwnPropertyDescriptor(prototype, key)!;
    const method = before.value as Method;
    if (typeof method !== "function" || key === "constructor" || !before.configurable) return;
    const value: Method = function (...args) {
      if (!inside.has(this)) state.add(this);
      return method.apply(this, args);
    };
    Object.defineProperty(prototype, key, { ...before, value });
    undo.push(() => {
      if (Object.getOwnPropertyDescriptor(prototype, key)?.value === value)
        Object.defineProperty(prototype, key, before);
    });
  };
  const outer = created;
  created = inside;
  for (const prototype of prototypes) for (const key of Object.getOwnPropertyNames(prototype)) wrap(prototype, key);
  try {
    return f();
  } finally {
    created = outer;
    for (const restore of undo) restore();
  }
}
