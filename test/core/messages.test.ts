/** No error from a public function, class or method is longer than 300 characters, for any argument. */
import * as nabla from "nabla";
import { nn, ones, randn, Tensor, tidy } from "nabla";
import * as formats from "nabla/formats";
import * as gradients from "nabla/gradients";
import * as serverless from "nabla/serverless";
import { describe, expect, test } from "vitest";

type Callable = (...args: unknown[]) => unknown;
type Class = new (...args: unknown[]) => unknown;

const x = ones([2, 4]);
const model = new nn.Linear(4, 2);

const huge: [string, () => unknown][] = [
  ["an array of 10⁵ numbers", () => new Array(1e5).fill(7)],
  ["an array of 10⁵ strings", () => new Array(1e5).fill("seven")],
  ["a string of 10⁶ characters", () => "x".repeat(1e6)],
  ["a bigint of 10⁴ digits", () => 10n ** 10_000n],
  ["an object with 10⁴ keys", () => Object.fromEntries(Array.from({ length: 1e4 }, (_, i) => [`key${i}`, i]))],
  ["an object with a key of 10⁶ characters", () => ({ ["k".repeat(1e6)]: 1 })],
  ["10⁶ bytes", () => new Uint8Array(1e6)],
  ["a tensor of many dimensions", () => randn(new Array(60).fill(1))],
  ["an error with a message of 10⁶ characters", () => new Error("x".repeat(1e6))],
];

/** Functions that would stop or restart this file's engine. */
const excluded = ["nabla.init", "nabla.dispose"];
/** All functions and classes that a module exports, by path. */
const callablesOf = (path: string, module: object): [string, Callable][] =>
  Object.entries(module).flatMap(([name, value]): [string, Callable][] => {
    if (excluded.includes(`${path}.${name}`)) return [];
    if (typeof value === "function") return [[`${path}.${name}`, value as Callable]];
    return typeof value === "object" && value !== null ? callablesOf(`${path}.${name}`, value as object) : [];
  });
const modules = { nabla, "nabla/formats": formats, "nabla/gradients": gradients, "nabla/serverless": serverless };
const callables = Object.entries(modules).flatMap(([path, module]) => callablesOf(path, module));
/** The methods of a tensor and of a module. */
const methods = [x, model].flatMap((owner) => {
  const names = new Set<string>();
  for (let p: object = owner; p !== Object.prototype; p = Object.getPrototypeOf(p) as object)
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(p)))
      if (typeof value === "function" && !["constructor", "dispose"].includes(name)) names.add(name);
  return Array.from(names, (name): [string, Callable] => [
    `${owner instanceof Tensor ? "tensor" : "model"}.${name}`,
    (owner as unknown as Record<string, Callable>)[name]!.bind(owner),
  ]);
});

const isClass = (f: Callable): boolean => /^class\b/.test(Function.prototype.toString.call(f));

test("the list of functions includes nested namespaces", () => {
  const names = callables.map(([name]) => name);
  for (const name of [
    "nabla.matmul",
    "nabla.nn.Linear",
    "nabla.nn.init.orthogonal",
    "nabla.optim.Adam",
    "nabla.losses.mse",
  ])
    expect(names).toContain(name);
  for (const name of ["formats.loadState", "gradients.lanczos", "serverless.inferenceHandler"])
    expect(names).toContain(`nabla/${name}`);
  expect(names.length).toBeGreaterThan(350);
  expect(methods.length).toBeGreaterThan(130);
});

describe("error messages have at most 300 characters", () => {
  test.each(huge)("in any function, class or method, given %s", async (_, make) => {
    const value = make();
    const faults: string[] = [];
    let refused = 0;
    for (const [name, f] of [...callables, ...methods]) {
      const given = [
        [value],
        [value, value],
        [value, value, value],
        [x, value],
        [x, x, value],
        [model, value],
        [() => x, value],
        [1, value],
      ];
      for (const args of given) {
        try {
          let result: unknown;
          // Assign the result instead of returning it, because tidy rejects promises.
          tidy(() => {
            result = isClass(f) ? new (f as unknown as Class)(...args) : f(...args);
          });
          if (typeof (result as Partial<Promise<unknown>> | undefined)?.then === "function") await result;
        } catch (error) {
          refused++;
          if ((error as Error).message.length > 300)
            faults.push(`${name}: ${(error as Error).message.length}: ${(error as Error).message.slice(0, 80)}`);
        }
      }
    }
    expect(faults).toEqual([]);
    expect(refused).toBeGreaterThan(500);
  });
  test("in loadStateDict, given 10⁵ unknown names or bytes", () => {
    const model = new nn.Linear(2, 2);
    const state = Object.fromEntries(Array.from({ length: 1e5 }, (_, i) => [`key${i}`, x]));
    for (const wrong of [state, new Uint8Array(1e6)])
      try {
        model.loadStateDict(wrong as never);
        expect.unreachable();
      } catch (error) {
        expect((error as Error).message).toMatch(/^loadStateDict: /);
        expect((error as Error).message.length).toBeLessThanOrEqual(300);
      }
  });
});

describe("rejecting an argument of 10⁶ values takes less than 250 ms of CPU time", () => {
  const numbers = new Array(1e6).fill(7);
  const strings = new Array(1e6).fill("seven");
  const bytes = new Uint8Array(1e6);
  const any = (value: unknown): never => value as never;
  const cost = (f: () => unknown): number => {
    const before = process.cpuUsage();
    expect(f).toThrow();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  };
  test.each<[string, (value: unknown) => unknown]>([
    ["add", (v) => x.add(any(v))],
    ["matmul", (v) => nabla.matmul(x, any(v))],
    ["conv2d, for x", (v) => nabla.conv2d(any(v), x)],
    [
      "conv2d, for the stride",
      (v) => nabla.conv2d(ones([1, 2, 2, 1]), ones([1, 1, 1, 1]), undefined, { stride: any(v) }),
    ],
    ["sort", (v) => x.sort(any(v))],
    ["unsqueeze", (v) => x.unsqueeze(any(v))],
    ["reshape", (v) => x.reshape(any(v))],
    ["permute", (v) => x.permute(any(v))],
    ["zeros", (v) => nabla.zeros(any(v))],
    ["Linear", (v) => new nn.Linear(any(v), 2)],
    ["Sequential", (v) => new nn.Sequential(any(v))],
    ["Adam", (v) => new nabla.optim.Adam(any(v))],
    ["loadStateDict", (v) => model.loadStateDict(any(v))],
    ["train", (v) => model.train(any(v))],
    ["to", (v) => x.to(any(v))],
  ])("%s", (_, f) => {
    for (const value of [numbers, strings, bytes])
      expect(Math.min(...Array.from({ length: 3 }, () => cost(() => f(value))))).toBeLessThan(250);
  });
});
