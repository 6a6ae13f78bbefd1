/**
 * What recorded functions see of objects with state, which are modules: whose methods they call, what their properties hold, and
 * what has changed since. The classes are known from their instances; their methods are wrapped only while a function is recorded.
 */
import { kindOf } from "../runtime/kinds.ts";
import { Tensor } from "./tensor.ts";

/** Prototypes of classes with instances, and of those that they extend, except the base of all. */
const prototypes = new Set<object>();
/** Instances made by the function that is being recorded: their state is its own affair. */
let made: WeakSet<object> | null = null;

/** Called by the constructor of each. */
export function register(instance: object): void {
  let prototype = Object.getPrototypeOf(instance) as object;
  while (!prototypes.has(prototype)) {
    const parent: unknown = Object.getPrototypeOf(prototype);
    if (parent === Object.prototype || parent === null) break;
    prototypes.add(prototype);
    prototype = parent as object;
  }
  made?.add(instance);
}

/** How an instance is printed: its kind, or the name of a class that has none of its own. Nothing is decided by that name. */
export const nameOf = (instance: object): string =>
  Object.hasOwn(instance.constructor, "kind") ? kindOf(instance) : instance.constructor.name || kindOf(instance);

const isStateful = (value: object): boolean => prototypes.has(Object.getPrototypeOf(value) as object);

type Owner = Record<string, unknown>;
/** Maps are compared by key, Sets as Maps of their elements to undefined. */
type Collection = Map<unknown, unknown> | Set<unknown>;
const valueIn = (owner: Collection, key: unknown): unknown => (owner instanceof Map ? owner.get(key) : undefined);

/** A Map or Set, and what it held. */
interface Contents {
  readonly owner: Collection;
  readonly entries: readonly (readonly [key: unknown, value: unknown])[];
  readonly path: string;
}
const holds = ({ owner, entries }: Contents): boolean => {
  if (owner.size !== entries.length) return false;
  for (const [key, value] of entries) if (!owner.has(key) || !Object.is(valueIn(owner, key), value)) return false;
  return true;
};

/** A property, and what it held. */
interface Property {
  readonly owner: Owner;
  readonly key: string;
  readonly value: unknown;
  /** As errors name it: `Net.layers[0].h`. */
  readonly path: string;
}

/** Elements of an array, Map or Set that are looked at, and how deep plain objects and arrays are nested. */
const MOST_ELEMENTS = 64;
const MOST_DEPTH = 4;

const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value);
  return Array.isArray(value) ? value.length <= MOST_ELEMENTS : prototype === Object.prototype || prototype === null;
};

function sizeOf(owner: object): number {
  let count = 0;
  for (const _ in owner) count++;
  return count;
}

/** Whether a property is a method that stands in for another for a while, as interception does. */
const isHidden = ({ value, enumerable }: PropertyDescriptor): boolean => typeof value === "function" && !enumerable;

/** The properties of objects and of all that they are made of. */
export class Properties {
  private readonly all: Property[] = [];
  private readonly collections: Contents[] = [];
  private readonly held = new Set<Tensor>();
  private readonly owners = new Map<object, { readonly path: string; readonly names: ReadonlySet<string> }>();

  /** Takes an object as it is now, if it is not known. */
  add(value: object, path = nameOf(value), depth = 0): void {
    if (this.owners.has(value)) return;
    const owner = value as Owner;
    const names = Object.getOwnPropertyNames(owner);
    this.owners.set(owner, { path, names: new Set(names) });
    for (const key of names) {
      const descriptor = Object.getOwnPropertyDescriptor(owner, key)!;
      const held: unknown = descriptor.value;
      if (!("value" in descriptor) || isHidden(descriptor)) continue;
      const own = Array.isArray(owner) && key !== "length" ? `${path}[${key}]` : `${path}.${key}`;
      if (descriptor.writable) this.all.push({ owner, key, value: held, path: own });
      this.addHeld(held, own, depth);
    }
  }

  private addHeld(value: unknown, path: string, depth: number): void {
    if (typeof value !== "object" || value === null) return;
    if (value instanceof Tensor) this.held.add(value);
    else if (isStateful(value)) this.add(value, path);
    else if (depth >= MOST_DEPTH) return;
    else if (value instanceof Map || value instanceof Set) this.addCollection(value, path, depth + 1);
    else if (isPlain(value)) this.add(value, path, depth + 1);
  }

  private addCollection(owner: Collection, path: string, depth: number): void {
    if (owner.size > MOST_ELEMENTS || this.collections.some((known) => known.owner === owner)) return;
    const entries = Array.from(owner.keys(), (key) => [key, valueIn(owner, key)] as const);
    this.collections.push({ owner, entries, path });
    for (const [key, value] of entries)
      this.addHeld(owner instanceof Map ? value : key, `${path}.${typeof key === "string" ? key : "element"}`, depth);
  }

  /** The tensors that properties hold. */
  get tensors(): ReadonlySet<Tensor> {
    return this.held;
  }

  get isEmpty(): boolean {
    return !this.owners.size;
  }

  /** The first property that holds something else now, or is new; with `undo`, all of them are as they were afterwards. */
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
    for (const contents of this.collections) {
      if (holds(contents)) continue;
      const { owner, entries, path } = contents;
      found.push(path);
      if (!undo) continue;
      owner.clear();
      for (const [key, value] of entries)
        if (owner instanceof Map) owner.set(key, value);
        else owner.add(key);
    }
    return found[0];
  }

  /** Returns a cheap check: no property changed, none was added, and modules run the same forward. */
  guard(): () => boolean {
    const elements = this.all.filter(({ owner }) => Array.isArray(owner));
    const [lists, places] = [
      elements.map(({ owner }) => owner as unknown as unknown[]),
      elements.map(({ key }) => (key === "length" ? -1 : Number(key))),
    ];
    const named = this.all.filter(({ owner }) => !Array.isArray(owner));
    const [owners, keys] = [named.map(({ owner }) => owner), named.map(({ key }) => key)];
    const [held, values] = [elements.map(({ value }) => value), named.map(({ value }) => value)];
    const all = Array.from(this.owners.keys()) as Owner[];
    // Classes with a kind of their own, such as the library's layers, are not counted: that takes long, and they read no other fields.
    const counted = all.filter(
      (owner) => !Array.isArray(owner) && !(isStateful(owner) && Object.hasOwn(owner.constructor as object, "kind")),
    );
    const sizes = counted.map(sizeOf);
    const modules = all.filter(isStateful);
    const forwards = modules.map(({ forward }) => forward);
    const { collections } = this;
    // Elements apart from named properties: engines read each kind fast where it does not meet the other.
    return () => {
      for (let i = 0; i < owners.length; i++) {
        const value = owners[i]![keys[i]!];
        if (value !== values[i] && !Object.is(value, values[i])) return false;
      }
      for (let i = 0; i < lists.length; i++) {
        const list = lists[i]!;
        const at = places[i]!;
        const value = at < 0 ? list.length : list[at];
        if (value !== held[i] && !Object.is(value, held[i])) return false;
      }
      for (let i = 0; i < modules.length; i++) if (modules[i]!.forward !== forwards[i]) return false;
      for (let i = 0; i < counted.length; i++) if (sizeOf(counted[i]!) !== sizes[i]) return false;
      for (let i = 0; i < collections.length; i++) if (!holds(collections[i]!)) return false;
      return true;
    };
  }
}

type Method = (this: object, ...args: unknown[]) => unknown;

/**
 * Runs f. Adds to `properties` those of all objects whose methods it calls, as they are at the first call, except of objects that f made.
 */
export function observe<T>(properties: Properties, f: () => T): T {
  const own = new WeakSet<object>();
  const undo: (() => void)[] = [];
  const wrap = (prototype: object, key: string): void => {
    const before = Object.getOwnPropertyDescriptor(prototype, key)!;
    const method = before.value as Method;
    if (typeof method !== "function" || key === "constructor" || !before.configurable) return;
    const value: Method = function (...args) {
      if (!own.has(this)) properties.add(this);
      return method.apply(this, args);
    };
    Object.defineProperty(prototype, key, { ...before, value });
    undo.push(() => {
      if (Object.getOwnPropertyDescriptor(prototype, key)?.value === value)
        Object.defineProperty(prototype, key, before);
    });
  };
  const outer = made;
  made = own;
  for (const prototype of prototypes) for (const key of Object.getOwnPropertyNames(prototype)) wrap(prototype, key);
  try {
    return f();
  } finally {
    made = outer;
    for (const restore of undo) restore();
  }
}
