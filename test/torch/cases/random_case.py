"""Random shapes, options and values for differential.py, and the form of a case."""
import math
import random
import warnings

import torch
from encoding import camel, encode_tensor, number

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
SEED = 20261128
pick = random.Random(SEED)
generator = torch.Generator().manual_seed(SEED)
INT_MIN, INT_MAX = -(2**31), 2**31 - 1


def float32(v):
    return v.float().double()


def normal(shape):
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def uniform(shape, low=0.0, high=1.0):
    return float32(torch.rand(shape, generator=generator, dtype=torch.float64) * (high - low) + low)


def plain(shape):
    return float32(normal(shape))


def values(shape, kinds=("plain", "large", "tiny", "offset", "tied", "zeros")):
    """A tensor from a random distribution. Offsets are small enough that float32 keeps five digits of differences."""
    kind = pick.choice(kinds)
    v = normal(shape)
    if kind == "large":
        v = v * 1e3
    elif kind == "tiny":
        v = v * 1e-4
    elif kind == "offset":
        v = v + 30
    elif kind == "tied":
        v = torch.round(v)
    elif kind == "zeros":
        v = v * torch.randint(0, 2, shape, generator=generator)
    return float32(v), kind


def some_shape(least=1, most=3, sizes=(1, 2, 3, 4, 5, 7)):
    while True:
        shape = [pick.choice(sizes) for _ in range(pick.randint(least, most))]
        if math.prod(shape) <= 48:
            return shape


def chance(p):
    return pick.random() < p


def encode(v, short=False):
    if isinstance(v, torch.Tensor):
        return encode_tensor(v.detach(), short)
    if isinstance(v, dict):
        return {camel(k): encode(x, short) for k, x in v.items()}
    if isinstance(v, (list, tuple)):
        return [encode(x, short) for x in v]
    if isinstance(v, str):
        return {"batchmean": "batchMean"}.get(v, v)
    return number(v) if isinstance(v, float) else v


def call(note, f, torch_f, args, wrt=()):
    """Runs torch_f on the arguments (the options last, as a dict). Returns the case: the value, and its gradients for a random dy."""
    inputs = [a.clone().requires_grad_() if i in wrt else a for i, a in enumerate(args)]
    out = torch_f(*inputs)
    made = {"name": note, "f": f, "args": encode(list(args), short=True), "out": encode(out)}
    if wrt:
        dy = None if out.dim() == 0 else plain(out.shape)
        grads = torch.autograd.grad(out, [inputs[i] for i in wrt], dy)
        made.update(wrt=list(wrt), grads=encode(list(grads)))
        if dy is not None:
            made["dy"] = encode(dy, short=True)
    return made


def options_of(**options):
    return {k: v for k, v in options.items() if v is not None}
