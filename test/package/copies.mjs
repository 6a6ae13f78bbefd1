// Loads two copies of nabla and passes each copy's tensors and modules to the other. Prints as JSON the warnings, the error messages, and a
// sum that each copy computes from its own tensors.
const warnings = [];
console.warn = (...args) => void warnings.push(args.join(" "));
const [a, b] = await Promise.all(process.argv.slice(2).map((path) => import(path)));
const messageOf = (f) => {
  try {
    f();
  } catch (error) {
    return error.message;
  }
};
const exchange = (own, other) => {
  const foreign = other.tensor([10, 20, 30]);
  return [
    () => own.tensor([1, 2, 3]).add(foreign),
    () => own.matmul(foreign, own.ones([3])),
    () => new own.nn.Linear(3, 1).forward(foreign),
    () => new own.nn.Sequential(new other.nn.Linear(3, 1)),
    () => new own.optim.SGD([foreign], { lr: 1 }),
  ].map(messageOf);
};
const messages = [...exchange(a, b), ...exchange(b, a)];
const sums = [a, b].map((copy) =>
  copy
    .tensor([1, 2, 3])
    .add(copy.tensor([10, 20, 30]))
    .toArray(),
);
console.log(JSON.stringify({ same: a.Tensor === b.Tensor, warnings, messages, sums }));
