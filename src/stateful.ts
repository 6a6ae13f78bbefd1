/**
 * What recorded functions see of objects with state, which are modules: whose methods they call, what their properties hold, and
 * what has changed since. The classes are known from their instances; their methods are wrapped only while a function is recorded.
 */
import { kindOf } from "./runtime/arguments.ts";
import { Tensor } from "./tensor.ts";

/** Prototypes of classes with instances. */
const prototypes = new Set<object>();
/** Instances made by the function that is being recorded: their state is its own affair. */
let made: WeakSet<object> | null = null;

/** Called by the constructor of each. */
export function register(instance: object): void {
  prototypes.add(Object.getPrototypeOf(instance) as object);
  made?.add(instance);
}

const isStateful = (value: object): boolean => prototypes.has(Object.getPrototypeOf(value) as object);

type Owner = Record<string, unknown>;

/** A property, and what it held. */
interface Property {
  readonly owner: Owner;
  readonly key: string;
  readonly value: unknown;
  /** As errors name it: `Net.layers[0].h`. */
  readonly path: string;
}

/** Elements of an array that are looked at, and how deep plain objects and arrays are nested. */
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

/** The properties, other than methods, of objects and of all that they are made of. */
export class Properties {
  private readonly all: Property[] = [];
  private readonly owners = new Map<object, { readonly path: string; readonly names: ReadonlySet<string> }>();

  /** Takes an object as it is now, if it is not known. */
  add(value: object, path = kindOf(value), depth = 0): void {
    if (this.owners.has(value)) return;
    const owner = value as Owner;
    const names = Object.getOwnPropertyNames(owner);
    this.owners.set(owner, { path, names: new Set(names) });
    for (const key of names) {
      const descriptor = Object.getOwnPropertyDescriptor(owner, key)!;
      const held: unknown = descriptor.value;
      if (typeof held === "function" || !("value" in descriptor)) continue;
      const own = Array.isArray(owner) && key !== "length" ? `${path}[${key}]` : `${path}.${key}`;
      if (descriptor.writable) this.all.push({ owner, key, value: held, path: own });
      if (typeof held !== "object" || held === null || held instanceof Tensor) continue;
      if (isStateful(held)) this.add(held, own);
      else if (isPlain(held) && depth < MOST_DEPTH) this.add(held, own, depth + 1);
    }
  }

  /** The tensors that properties hold. */
  *tensors(): Generator<Tensor> {
    for (const { value } of this.all) if (value instanceof Tensor) yield value;
  }

  get isEmpty(): boolean {
    return !this.all.length;
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
        if (names.has(key) || typeof (owner as Owner)[key] === "function") continue;
        found.push(`${path}.${key}`);
        if (undo) delete (owner as Owner)[key];
      }
    return found[0];
  }

  /** What checks, often, that all properties hold what they held, and that options objects have no new ones. */
  guard(): () => boolean {
    const elements = this.all.filter(({ owner }) => Array.isArray(owner));
    const [lists, places] = [
      elements.map(({ owner }) => owner as unknown as unknown[]),
      elements.map(({ key }) => (key === "length" ? -1 : Number(key))),
    ];
    const named = this.all.filter(({ owner }) => !Array.isArray(owner));
    const [owners, keys] = [named.map(({ owner }) => owner), named.map(({ key }) => key)];
    const [held, values] = [elements.map(({ value }) => value), named.map(({ value }) => value)];
    const plain = Array.from(this.owners.keys()).filter((owner) => !isStateful(owner) && !Array.isArray(owner));
    const sizes = plain.map(sizeOf);
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
      for (let i = 0; i < plain.length; i++) if (sizeOf(plain[i]!) !== sizes[i]) return false;
      return true;
    };
  }
}

type Method = (this: object, ...args: unknown[]) => unknown;

/**
 * Runs f. Adds to `properties` those of all objects whose methods it calls, as they are at the first call, except of objects that f made.
 */
export function observed<T>(properties: Properties, f: () => T): T {
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
