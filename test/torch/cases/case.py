"""The cases of values.json: random inputs, and what a case contains. make.py describes the format."""
import json

import torch
from encoding import camel, encode_tensor, exact, number

torch.set_num_threads(1)
SEED = 20231
generator = torch.Generator().manual_seed(SEED)
groups = {}
places = {}  # indices of shared tensors


def randn(*shape, scale=1.0):
    return exact(torch.randn(shape, generator=generator, dtype=torch.float64) * scale)


def rand(*shape, low=0.05, high=0.95):
    return exact(torch.rand(shape, generator=generator, dtype=torch.float64) * (high - low) + low)


def labels(shape, classes):
    return torch.randint(0, classes, shape, generator=generator)


def probabilities(*shape):
    return exact(torch.softmax(torch.randn(shape, generator=generator, dtype=torch.float64), -1))


def signs(*shape):
    return torch.randint(0, 2, shape, generator=generator).double() * 2 - 1


def encode(v, short=False):
    """A value as JSON. If `short` is true, v is an input, written with the shortest decimals and only once."""
    if isinstance(v, torch.Tensor):
        v = v.detach()
        made = encode_tensor(v, short)
        if not short or v.numel() < 4:
            return made
        key = json.dumps(made)
        places.setdefault(key, len(places))
        return {"at": places[key]}
    if isinstance(v, dict):
        return {camel(k): encode(x, short) for k, x in v.items()}
    if isinstance(v, (list, tuple)):
        return [encode(x, short) for x in v]
    if isinstance(v, str):
        return camel({"batchmean": "batch_mean"}.get(v, v))
    return number(v) if isinstance(v, float) else v


def show(v):
    """Options as text, for the name of a case."""
    if isinstance(v, torch.Tensor):
        return "tensor"
    return "batchMean" if v == "batchmean" else json.dumps(number(v)).strip('"')


def case(group, f, torch_f, *args, note="", wrt=(0,), hvp=False, ones=False, **options):
    """Calls torch_f(*args, **options) and adds a case with the expected result of nabla's f(...args, options)."""
    inputs = [x.clone().requires_grad_() if i in wrt else x for i, x in enumerate(args)]
    out = torch_f(*inputs, **options)
    dy = None if out.dim() == 0 else torch.ones_like(out) if ones else randn(*out.shape)
    described = ", ".join(f"{camel(k)} {show(v)}" for k, v in options.items())
    shapes = " × ".join(str(list(x.shape)) for x in args if isinstance(x, torch.Tensor))
    made = {
        "name": " ".join(part for part in (f.split(".")[-1], note, shapes, f"({described})" if described else "") if part),
        "f": f,
        "args": encode([*args, options] if options else list(args), short=True),
        "out": encode(out),
    }
    if wrt:
        chosen = [inputs[i] for i in wrt]
        grads = torch.autograd.grad(out, chosen, dy, create_graph=hvp)
        made.update(wrt=list(wrt), grads=encode(list(grads)))
        if dy is not None:
            made["dy"] = encode(dy, short=True)
        if hvp:
            v = randn(*chosen[0].shape)
            made.update(v=encode(v, short=True), hvp=encode(torch.autograd.grad((grads[0] * v).sum(), chosen[0])[0]))
    names = {c["name"] for c in groups.setdefault(group, [])}
    assert made["name"] not in names, made["name"]
    groups[group].append(made)
