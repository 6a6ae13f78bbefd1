#!/usr/bin/python3
"""Writes differential.json: 500 random configurations of losses, reductions, norms, optimizers and integer ops, with PyTorch's results.

    /usr/bin/python3 test/torch/differential.py      # Debian's python3-torch, 1.13

One seed determines every configuration: function, shapes, dims, options, and values from several distributions (plain, large,
tiny, offset, tied, with zeros). test/ops/torch-differential.test.ts runs each one eagerly and compiled. Floating-point results
are computed in float64 from inputs that float32 holds exactly; integer results must be equal.
"""
import json
import math
import pathlib

import torch
import torch.nn.functional as F
from encoding import camel
from cases.random_case import INT_MAX, INT_MIN, SEED, call, chance, encode, float32, generator, normal, options_of, pick, plain, some_shape, uniform, values

COUNTS = {"losses": 150, "reductions": 110, "norms": 80, "optimizers": 60, "integers": 100}

# --- losses ---------------------------------------------------------------------------------------------------------


def pairwise():
    name, torch_f, extra = pick.choice([
        ("mse", F.mse_loss, {}),
        ("l1", F.l1_loss, {}),
        ("huber", F.huber_loss, {"delta": pick.choice([None, 0.1, 0.5, 3.0])}),
        ("smoothL1", F.smooth_l1_loss, {"beta": pick.choice([None, 0.1, 0.5, 3.0])}),
    ])
    shape = some_shape()
    x, kind = values(shape)
    t = values(shape, (kind,))[0]
    o = options_of(reduction=pick.choice([None, "mean", "sum", "none"]), **extra)
    return call(f"{name} {shape} {kind} {o}", f"losses.{name}", lambda a, b, _: torch_f(a, b, **o), [x, t, o], (0, 1))


def binary():
    shape = some_shape(1, 2)
    o = options_of(reduction=pick.choice([None, "sum", "none"]), weight=uniform(shape, 0.2, 2) if chance(0.3) else None)
    if chance(0.35):
        x, t = uniform(shape, 0.01, 0.99), uniform(shape)
        return call(f"bce {shape} {sorted(o)}", "losses.bce", lambda a, b, _: F.binary_cross_entropy(a, b, **o), [x, t, o], (0,))
    if chance(0.4):
        o["pos_weight"] = uniform(shape[-1:], 0.2, 4)
    x = float32(normal(shape) * pick.choice([1, 5, 20, 40]))
    t = torch.randint(0, 2, shape, generator=generator).double() if chance(0.5) else uniform(shape)
    return call(f"bceWithLogits {shape} {sorted(o)}", "losses.bceWithLogits", lambda a, b, _: F.binary_cross_entropy_with_logits(a, b, **o), [x, t, o], (0,))


def last_to_1(v):
    return v.movedim(-1, 1).contiguous() if v.dim() > 1 else v


def classes():
    """Classification losses, some with logits of −∞ at classes other than the label and in ignored rows."""
    lead, c = some_shape(1, 2, (1, 2, 3, 4)), pick.choice([2, 3, 5, 6])
    x, kind = values([*lead, c], ("plain", "large", "tied", "offset"))
    smoothing = pick.choice([None, None, 0.1, 0.5])
    nll = chance(0.35)
    soft = not nll and chance(0.25)
    o = options_of(reduction=pick.choice([None, "sum", "none"]), weight=uniform([c], 0, 3) if chance(0.4) else None, label_smoothing=None if nll else smoothing)
    if nll:
        x = float32(torch.log_softmax(x, -1))
    if soft:
        t = float32(torch.softmax(normal([*lead, c]), -1))
        return call(f"crossEntropy {lead} × {c} probabilities {kind} {sorted(o)}", "losses.crossEntropy", lambda a, b, _: F.cross_entropy(last_to_1(a), last_to_1(b), **o), [x, t, o], (0, 1))
    t = torch.randint(0, c, lead, generator=generator)
    if chance(0.5):
        o["ignore_index"] = pick.choice([-100, 0, 1, 255])
        flat = t.reshape(-1)
        for i in range(flat.numel()):
            if chance(0.3):
                flat[i] = o["ignore_index"]
        if (flat == o["ignore_index"]).all():
            o["reduction"] = "sum"
    # −∞ at a class other than the label, or in an ignored row, must not affect the gradient.
    if chance(0.5) and not (smoothing and not nll):
        rows, flat = x.reshape(-1, c), t.reshape(-1)
        for i in range(flat.numel()):
            j = pick.randrange(c)
            if j != flat[i]:
                rows[i, j] = -math.inf
        kind += " with −∞"
    name = "nll" if nll else "crossEntropy"
    torch_f = F.nll_loss if nll else F.cross_entropy
    return call(f"{name} {lead} × {c} {kind} {sorted(o)}", f"losses.{name}", lambda a, b, _: torch_f(last_to_1(a), b, **o), [x, t, o], (0,))


def divergence():
    shape = some_shape(2, 2)
    x = float32(torch.log_softmax(normal(shape), -1))
    t = float32(torch.softmax(normal(shape) * 2, -1))
    log_target = chance(0.4)
    o = options_of(reduction=pick.choice([None, "sum", "none", "batchmean"]), log_target=True if log_target else None)
    if log_target:
        t = float32(t.log())
    elif chance(0.5):
        t = t * torch.randint(0, 2, shape, generator=generator)
    return call(f"klDiv {shape} {o}", "losses.klDiv", lambda a, b, _: F.kl_div(a, b, **o), [x, t, o], (0,))


def embedding_loss():
    n, d = pick.choice([1, 2, 5]), pick.choice([2, 3, 6])
    a, b = plain([n, d]), plain([n, d])
    t = torch.randint(0, 2, [n], generator=generator).double() * 2 - 1
    o = options_of(margin=pick.choice([None, 0.3]), reduction=pick.choice([None, "sum", "none"]))
    return call(f"cosineEmbedding {[n, d]} {o}", "losses.cosineEmbedding", lambda x, y, s, _: F.cosine_embedding_loss(x, y, s, **o), [a, b, t, o], (0, 1))


def loss():
    return pick.choices([pairwise, binary, classes, divergence, embedding_loss], [3, 4, 6, 2, 1])[0]()


# --- reductions -----------------------------------------------------------------------------------------------------


def some_dims(rank):
    """Random dims to reduce: one, several or all (None). Some of them are negative."""
    if chance(0.25):
        return None
    chosen = pick.sample(range(rank), pick.randint(1, rank))
    dims = [d - rank if chance(0.3) else d for d in chosen]
    return dims[0] if len(dims) == 1 and chance(0.7) else dims


def reduction():
    f = pick.choice(["sum", "mean", "max", "min", "variance", "std", "norm", "prod", "logSumExp", "cumsum", "softmax", "logSoftmax", "argMax", "argMin", "any", "all"])
    shape = some_shape(1, 4)
    rank = len(shape)
    x, kind = values(shape, ("plain", "tied", "zeros") if f in ("prod", "any", "all") else ("plain", "large", "tiny", "offset", "tied"))
    if f in ("softmax", "logSoftmax", "logSumExp") and kind == "large":
        # x − max has a rounding error of x/2²⁴: at 1000, exponentials in float32 keep four digits.
        x = float32(x / 30)
    if f in ("cumsum", "softmax", "logSoftmax"):
        dim = pick.randrange(-rank, rank)
        torch_f = {"cumsum": torch.cumsum, "softmax": torch.softmax, "logSoftmax": torch.log_softmax}[f]
        return call(f"{f} {shape} {kind} over {dim}", f, torch_f, [x, dim], (0,))
    keepdim = pick.choice([None, True, False])
    o = options_of(keepdim=keepdim)
    keep = bool(keepdim)
    if f in ("argMax", "argMin"):
        dim = pick.randrange(-rank, rank)
        x = plain(shape)
        torch_f = torch.argmax if f == "argMax" else torch.argmin
        return call(f"{f} {shape} over {dim} {o}", f, lambda v, d, _: torch_f(v, d, keepdim=keep), [x, dim, o])
    dims = some_dims(rank)
    every = list(range(rank)) if dims is None else [dims] if isinstance(dims, int) else dims
    count = math.prod(shape[d] for d in every)
    arguments = [o] if dims is None else [dims, o]
    note = f"{f} {shape} {kind} over {dims} {o}"
    if f in ("any", "all"):
        return call(note, f, lambda v, *_: _any(v != 0, every, keep) if f == "any" else ~_any(v == 0, every, keep), [x, *arguments])
    if f in ("variance", "std"):
        correction = pick.choice([0, 1] if count > 1 else [0])
        o["correction"] = correction
        if f == "std" and (count == 1 or kind == "tied"):
            x, note = plain(shape), f"{f} {shape} plain over {dims} {o}"
            if count == 1:
                return call(note, f, lambda v, *_: torch.std(v, every, correction=0, keepdim=keep), [x, *arguments])
        torch_f = torch.var if f == "variance" else torch.std
        return call(f"{note} {correction}", f, lambda v, *_: torch_f(v, every, correction=correction, keepdim=keep), [x, *arguments], (0,))
    if f == "norm":
        p = pick.choice([1, 2, 3, 1.5, math.inf, -math.inf])
        return call(f"{note} p {p}", f, lambda v, *_: torch.linalg.vector_norm(v, p, every, keepdim=keep), [x, p, every, o], (0,))
    if f == "prod":
        def product(v, *_):
            for d in sorted(every, key=lambda d: d % rank, reverse=True):
                v = torch.prod(v, d, keepdim=True)
            return v if keep else v.reshape([n for i, n in enumerate(shape) if i not in [d % rank for d in every]])
        return call(note, f, product, [x, *arguments], (0,))
    torch_f = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax, "min": torch.amin, "logSumExp": torch.logsumexp}[f]
    return call(note, f, lambda v, *_: torch_f(v, every, keepdim=keep), [x, *arguments], (0,))


def _any(v, dims, keep):
    rank = v.dim()
    for d in sorted((d % rank for d in dims), reverse=True):
        v = v.any(d, keepdim=keep)
    return v


# --- norms ----------------------------------------------------------------------------------------------------------


def norm():
    f = pick.choice(["layerNorm", "rmsNorm", "groupNorm", "batchNorm", "batchNormTrain"])
    eps = pick.choice([1e-5, 1e-3, 0.1])
    shape = some_shape(2, 4, (1, 2, 3, 4, 5))
    # If x is normalized over one or two elements, it becomes constant: the gradient is 0 plus rounding errors.
    while f == "batchNormTrain" and math.prod(shape[:-1]) < 3:
        shape = some_shape(2, 4, (1, 2, 3, 4, 5))
    x, kind = values(shape, ("plain", "large", "offset"))
    o = {"eps": eps}
    note = f"{f} {shape} {kind} eps {eps}"
    if f in ("layerNorm", "rmsNorm"):
        last = shape[-pick.randint(1, len(shape) - 1):]
        if math.prod(last) < 3:
            return norm()
        w, b = plain(last), plain(last)
        if f == "layerNorm":
            return call(f"{note} over {last}", f, lambda v, s, w, b, _: F.layer_norm(v, s, w, b, **o), [x, last, w, b, o], (0, 2, 3))
        dims = tuple(range(-len(last), 0))
        return call(f"{note} over {last}", f, lambda v, s, w, _: v * torch.rsqrt((v * v).mean(dims, keepdim=True) + eps) * w, [x, last, w, o], (0, 2))
    channels = shape[-1]
    w, b = plain([channels]), plain([channels])
    first = lambda v: v.movedim(-1, 1)
    if f == "groupNorm":
        groups = pick.choice([g for g in range(1, channels + 1) if channels % g == 0])
        if math.prod(shape[1:]) // groups < 3:
            return norm()
        return call(f"{note} in {groups}", f, lambda v, g, w, b, _: F.group_norm(first(v), g, w, b, **o).movedim(1, -1), [x, groups, w, b, o], (0, 2, 3))
    if f == "batchNorm":
        mean, variance = plain([channels]), uniform([channels], 0.1, 3)
        return call(note, f, lambda v, m, s, w, b, _: F.batch_norm(first(v), m, s, w, b, False, 0.1, eps).movedim(1, -1), [x, mean, variance, w, b, o], (0, 3, 4))
    made = call(note, "batchNormTrain", lambda v, w, b, _: F.batch_norm(first(v), None, None, w, b, True, 0.1, eps).movedim(1, -1), [x, w, b, o], (0, 1, 2))
    return {**made, "first": True}


# --- optimizers -----------------------------------------------------------------------------------------------------


def optimizer():
    """8 steps for two parameters with given gradients, some of which are missing, constant, zero, tiny or large."""
    kind = pick.choice(["SGD", "Adam", "AdamW", "NAdam", "RMSprop", "Adagrad"])
    o = {"lr": pick.choice([1e-3, 0.01, 0.1])}
    if chance(0.5):
        o["weight_decay"] = pick.choice([0.01, 0.3])
    if kind == "SGD":
        if chance(0.7):
            o["momentum"] = pick.choice([0.5, 0.9])
            if chance(0.4):
                o["nesterov"] = True
            elif chance(0.5):
                o["dampening"] = 0.3
    elif kind in ("Adam", "AdamW", "NAdam"):
        if chance(0.5):
            o["betas"] = pick.choice([(0.5, 0.9), (0.9, 0.99), (0.0, 0.5)])
        if chance(0.4):
            o["eps"] = pick.choice([1e-3, 1e-6])
        if kind == "NAdam" and chance(0.5):
            o["momentum_decay"] = 0.02
        if kind != "NAdam" and chance(0.4):
            o["amsgrad"] = True
    elif kind == "RMSprop":
        o.update(options_of(alpha=pick.choice([None, 0.5, 0.9]), momentum=pick.choice([None, 0.8]), centered=True if chance(0.4) else None, eps=pick.choice([None, 1e-3])))
    else:
        o.update(options_of(lr_decay=pick.choice([None, 0.1]), initial_accumulator_value=pick.choice([None, 0.5]), eps=pick.choice([None, 1e-3])))
    if kind not in ("NAdam", "RMSprop") and chance(0.3):
        o["maximize"] = True
    clip = pick.choice([None, None, 0.5, 5.0])
    style = pick.choice(["plain", "large", "tiny", "constant", "zeros"])
    # For constant gradients, the centred second moment is 0 plus rounding errors of float32.
    if o.get("centered") and style in ("constant", "zeros", "tiny"):
        style = "plain"
    shapes = [[3, 2], [5]]
    scale = {"large": 1e3, "tiny": 1e-3, "zeros": 0.0}.get(style, 1.0)
    fixed = [plain(s) for s in shapes]
    steps = []
    for step in range(8):
        steps.append([None if i == 1 and step == 0 and style == "plain" else fixed[i] if style == "constant" else float32(normal(s) * scale) for i, s in enumerate(shapes)])
    start = [plain(s) for s in shapes]
    params = [p.clone().requires_grad_() for p in start]
    # In PyTorch 1.13, only the foreach implementation of NAdam computes the right product of momenta.
    made = getattr(torch.optim, kind)(params, **o, **({"foreach": True} if kind == "NAdam" else {}))
    totals = []
    for grads in steps:
        for p, g in zip(params, grads):
            p.grad = None if g is None else g.clone()
        if clip is not None:
            totals.append(torch.nn.utils.clip_grad_norm_(params, clip))
        made.step()
    described = {camel(k): list(v) if isinstance(v, tuple) else v for k, v in o.items()}
    return {
        "name": f"{kind} {style} {described} clip {clip}", "optimizer": {"RMSprop": "RMSProp"}.get(kind, kind), "options": described, "clip": clip,
        "start": encode(start, short=True), "steps": encode(steps, short=True), "totals": encode([float(t) for t in totals]), "end": encode([p.detach() for p in params]),
    }


# --- integers -------------------------------------------------------------------------------------------------------


def ints(shape, kind=None):
    kind = kind or pick.choice(["small", "near 2^24", "near 2^31", "any", "ends"])
    low, high = {"small": (-9, 10), "near 2^24": (2**24 - 5, 2**24 + 6), "near 2^31": (INT_MAX - 8, INT_MAX + 1), "any": (INT_MIN, INT_MAX + 1), "ends": (INT_MIN, INT_MIN + 9)}[kind]
    return torch.randint(low, high, shape, generator=generator).int(), kind


def wrapped(v):
    """Converts int64 to int32, modulo 2³²."""
    return ((v.long() + 2**31) % 2**32 - 2**31).int()


def integer():
    f = pick.choice(["add", "sub", "mul", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge", "sum", "cumsum", "max", "min", "argMax", "argMin", "sort", "topK", "where", "indexSelect", "gather", "concat", "tril", "oneHot", "flip", "to"])
    shape = some_shape(1, 3)
    a, kind = ints(shape)
    rank = len(shape)
    note = f"{f} {shape} {kind}"
    if f in ("add", "sub", "mul"):
        b = ints(shape)[0]
        return call(note, f, lambda x, y: wrapped({"add": x.long() + y, "sub": x.long() - y, "mul": wrapped(x.long() * y)}[f]), [a, b])
    if f in ("maximum", "minimum"):
        return call(note, f, getattr(torch, f), [a, ints(shape, kind)[0]])
    if f in ("eq", "ne", "lt", "le", "gt", "ge"):
        if chance(0.4):
            near = int(a.reshape(-1)[0]) + pick.choice([-1, 0, 1])
            return call(f"{note} against {near}", f, lambda x, y: getattr(torch, f)(x.long(), y), [a, near])
        b = ints(shape, kind)[0]
        return call(note, f, getattr(torch, f), [a, b])
    if f in ("sum", "max", "min"):
        dims = some_dims(rank)
        every = list(range(rank)) if dims is None else [dims] if isinstance(dims, int) else dims
        torch_f = {"sum": lambda v: wrapped(torch.sum(v.long(), every)), "max": lambda v: torch.amax(v, every), "min": lambda v: torch.amin(v, every)}[f]
        return call(f"{note} over {dims}", f, lambda v, *_: torch_f(v), [a] if dims is None else [a, dims])
    dim = pick.randrange(-rank, rank)
    n = shape[dim]
    if f == "cumsum":
        return call(f"{note} over {dim}", f, lambda v, d: wrapped(torch.cumsum(v.long(), d)), [a, dim])
    if f in ("argMax", "argMin"):
        # NumPy, unlike PyTorch, guarantees the first of equal elements.
        numpy_f = f.lower()
        return call(f"{note} over {dim}", f, lambda v, d: torch.tensor(getattr(v.numpy(), numpy_f)(d)), [a, dim])
    if f == "sort":
        descending = chance(0.5)
        made = call(f"{note} over {dim} descending {descending}", f, lambda v, d, _: torch.sort(v, dim=d, descending=descending).values, [a, dim, {"descending": descending}])
        return {**made, "first": True}
    if f == "topK":
        k, largest = pick.randint(1, n), chance(0.5)
        made = call(f"{note} {k} over {dim} largest {largest}", f, lambda v, k, d, _: torch.topk(v, k, d, largest).values, [a, k, dim, {"largest": largest}])
        return {**made, "first": True}
    if f == "where":
        mask = torch.randint(0, 2, shape, generator=generator).bool()
        return call(note, f, torch.where, [mask, a, ints(shape)[0]])
    if f == "indexSelect":
        index = torch.randint(0, n, [pick.randint(1, 4)], generator=generator)
        return call(f"{note} over {dim}", f, torch.index_select, [a, dim, index])
    if f == "gather":
        index = torch.randint(0, n, shape, generator=generator)
        return call(f"{note} over {dim}", f, torch.gather, [a, dim, index])
    if f == "concat":
        return call(f"{note} over {dim}", f, torch.concat, [[a, ints(shape)[0]], dim])
    if f == "tril":
        square = ints([3, 4])[0]
        k = pick.choice([-1, 0, 1])
        return call(f"tril [3, 4] {k}", f, torch.tril, [square, k])
    if f == "oneHot":
        index = torch.randint(0, 5, shape, generator=generator)
        return call(f"oneHot {shape}", f, lambda v, c: F.one_hot(v, c).double(), [index, 5])
    if f == "flip":
        return call(f"{note} over {dim}", f, lambda v, d: torch.flip(v, [d]), [a, dim])
    # nabla saturates in float32 → int32, where PyTorch's result is undefined; NaN becomes 0.
    x = float32(normal(shape) * pick.choice([3.0, 1e6, 3e9, 1e20]))
    x.reshape(-1)[0] = pick.choice([math.nan, math.inf, -math.inf, -0.0, 2.5, -2.5])
    return call(f"to int32 {shape}", "to", lambda v, _: torch.nan_to_num(v.trunc(), 0.0, INT_MAX, INT_MIN).clamp(INT_MIN, INT_MAX).long(), [x, "int32"])


# --- all ------------------------------------------------------------------------------------------------------------

MAKERS = {"losses": loss, "reductions": reduction, "norms": norm, "optimizers": optimizer, "integers": integer}
groups = {group: [MAKERS[group]() for _ in range(count)] for group, count in COUNTS.items()}
for group in groups.values():
    for i, made in enumerate(group):
        made["name"] = f"{i}: {made['name']}"
rows = [f'"{group}":[\n' + ",\n".join(json.dumps(c, separators=(",", ":"), ensure_ascii=False, allow_nan=False) for c in cases) + "\n]" for group, cases in groups.items()]
target = pathlib.Path(__file__).with_name("differential.json")
target.write_text("{" + f'"torch":"{torch.__version__}","seed":{SEED},\n' + ",\n".join(rows) + "}\n", encoding="utf-8")
print(f"{target}: {target.stat().st_size / 1024:.0f} KiB,", {group: len(cases) for group, cases in groups.items()})
