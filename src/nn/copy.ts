/** Copies models for inference. */
import { noGrad } from "../autograd/backward.ts";
import { context } from "../core/context.ts";
import { tidy } from "../core/scope.ts";
import { Tensor } from "../core/tensor.ts";
import { withUndo } from "../core/undo.ts";
import { Error } from "../runtime/errors.ts";
import { isPlainObject } from "../runtime/kinds.ts";
import { Module, nameOf } from "./module.ts";
import { isParameter, parameter } from "./parameter.ts";

/** The modules with quantized weights, which quantize made. */
export const quantized = new WeakSet<Module>();

/** @throws Error if a module of the model is quantized */
export function requireFloat(op: string, model: Module): void {
  for (const [name, module] of model.namedModules())
    if (quantized.has(module))
      throw new Error(
        `${op}: ${name || "the model"} (${nameOf(module)}) is quantized. Call ${op} on the model that you quantized.`,
      );
}

/** Runs f, which makes a copy, without gradients. If f throws, disposes of all tensors that f made, also of kept ones. */
export const makeCopy = <T>(f: () => T): T =>
  withUndo(() =>
    noGrad(() =>
      tidy(() => {
        try {
          return f();
        } catch (error) {
          for (const made of context.scope as Tensor[]) made.dispose();
          throw error;
        }
      }),
    ),
  );

/** Whether the source of a class uses #private members, also after TypeScript, esbuild or Babel has replaced them. */
function hasPrivate(source: string): boolean {
  // A string such as ".#id" contains no declaration of #id.
  const declared = [...source.matchAll(/[\s;{}*](#[\w$]+)/g)];
  return (
    declared.some(([, name]) => source.includes(`.${name}`)) || /private_?(field_?)?(get|method)\d?\(/i.test(source)
  );
}

/**
 * Returns a new object of the same kind: a tensor with the same values, or an empty module, array, Map, Set or plain object. Returns
 * objects of other classes as they are.
 */
function newLike(op: string, value: object): object {
  if (value instanceof Tensor) {
    // Using a disposed activation in the copy fails in the same way as in the original.
    if (value.isDisposed && !isParameter(value)) return value;
    value.storage(op);
    const copy = value.clone();
    if (isParameter(value)) parameter(copy).requiresGrad = value.requiresGrad;
    return copy.keep();
  }
  if (value instanceof Module) {
    if (Object.hasOwn(value, "forward"))
      throw new Error(`${op}: cannot copy ${nameOf(value)}, because its forward is a property. Make it a method.`);
    for (let type: unknown = value.constructor; type !== Module; type = Object.getPrototypeOf(type))
      if (hasPrivate(String(type)))
        throw new Error(
          `${op}: cannot copy ${nameOf(value)}, because it has #private members. Use public fields and methods.`,
        );
    return Reflect.construct(Module, [], value.constructor) as Module;
  }
  if (Array.isArray(value)) return [];
  if (value instanceof Map) return new Map();
  if (value instanceof Set) return new Set();
  return isPlainObject(value) ? (Object.create(Object.getPrototypeOf(value) as object | null) as object) : value;
}

/**
 * Copies a module in evaluation mode, with the tensors and modules in its properties. Objects of other classes are shared.
 * @param op the caller's name for errors @param copies the copies that exist already
 * @param replaced new tensors for the properties of some modules
 */
export function copyOf<T>(
  op: string,
  value: T,
  copies: Map<unknown, unknown>,
  replaced: ReadonlyMap<unknown, Record<string, Tensor>> = new Map(),
): T {
  if (typeof value !== "object" || value === null || copies.has(value)) return (copies.get(value) ?? value) as T;
  const copy = newLike(op, value);
  copies.set(value, copy);
  const inner = <V>(part: V): V => copyOf(op, part, copies, replaced);
  if (copy instanceof Map) for (const [key, part] of value as unknown as typeof copy) copy.set(key, inner(part));
  else if (copy instanceof Set) for (const part of value as unknown as typeof copy) copy.add(inner(part));
  else if (copy !== value && !(copy instanceof Tensor))
    for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(value))) {
      if ("value" in property) property.value = replaced.get(value)?.[name] ?? inner(property.value);
      Object.defineProperty(copy, name, property);
    }
  if (copy instanceof Module) copy.training = false;
  return copy as T;
}
