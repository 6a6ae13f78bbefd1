#!/usr/bin/python3
"""Writes values.json: PyTorch's results, with which the tests named torch-* compare nabla's.

    /usr/bin/python3 test/torch/make.py      # Debian's python3-torch, 1.13

Deterministic: one seed, one thread. PyTorch computes in float64 on inputs that are exact in float32, so a difference is a
rounding error or a defect of nabla. Numbers have 8 significant digits; NaN and infinities are strings.

A case names the function of nabla to call, `f`, and lists its `args`, options last. A tensor is {shape, data, dtype?}, or {at}, an
index into `shared`, if it occurs several times. `out` is the result. `grads` are the gradients with respect to the arguments in
`wrt`, for the output gradient `dy` (1 if absent). If a case has `v`, then `hvp` is the product of the Hessian and v, with respect to
the first argument in `wrt`.
"""
import json
import math
import pathlib

import torch
import torch.nn.functional as F
from encoding import brief, camel, encode_tensor, exact, number

torch.set_num_threads(1)
SEED = 20231
generator = torch.Generator().manual_seed(SEED)
groups = {}
places = {}  # indices of shared tensors

# --- values ---------------------------------------------------------------------------------------------------------


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
    """A value as JSON. If `short`, v is an input: it is written with the shortest decimals, and only once if it occurs several times."""
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
    """Options as text in the name of a case."""
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


# --- losses ---------------------------------------------------------------------------------------------------------

REDUCTIONS = ("mean", "sum", "none")


def over_reductions(f, torch_f, *args, reductions=REDUCTIONS, hvp=False, **rest):
    for reduction in reductions:
        case("losses", f, torch_f, *args, reduction=reduction, hvp=hvp and reduction == "mean", **rest)


def make_losses():
    x, t = randn(3, 5, scale=1.5), randn(3, 5)
    t[0, 0] = x[0, 0]  # an error of 0
    over_reductions("losses.mse", F.mse_loss, x, t, wrt=(0, 1), hvp=True)
    over_reductions("losses.l1", F.l1_loss, x, t, wrt=(0, 1))
    for delta in (1.0, 0.5, 2.5):
        over_reductions("losses.huber", F.huber_loss, x, t, wrt=(0, 1), hvp=True, delta=delta)
    for beta in (1.0, 0.25, 2.0):
        over_reductions("losses.smoothL1", F.smooth_l1_loss, x, t, wrt=(0, 1), hvp=True, beta=beta)
    # At x = t and β = 0, PyTorch's gradient is −1, although the gradient of its l1 is 0, as in nabla. We do not compare this
    # point.
    over_reductions("losses.smoothL1", F.smooth_l1_loss, x[1:], t[1:], wrt=(0, 1), beta=0.0)
    edge = exact([-2.0, -1, -0.5, 0, 0.5, 1, 2])
    case("losses", "losses.huber", F.huber_loss, edge, torch.zeros(7).double(), note="at |d| = δ and 0", reduction="none", delta=1.0)
    case("losses", "losses.smoothL1", F.smooth_l1_loss, edge, torch.zeros(7).double(), note="at |d| = β and 0", reduction="none", beta=0.5)

    p, q = rand(3, 4), rand(3, 4, low=0, high=1)
    weight = rand(3, 4, low=0.2, high=2)
    over_reductions("losses.bce", F.binary_cross_entropy, p, q)
    over_reductions("losses.bce", F.binary_cross_entropy, p, q, note="weighted", weight=weight)
    over_reductions("losses.bce", F.binary_cross_entropy, p, q, note="weighted by column", weight=weight[0])
    case("losses", "losses.bce", F.binary_cross_entropy, p, q, note="second order", hvp=True)
    certain, truth = exact([0.0, 0, 1, 1]), exact([0.0, 1, 0, 1])
    case("losses", "losses.bce", F.binary_cross_entropy, certain, truth, note="value at probabilities 0 and 1", wrt=(), reduction="none")
    case("losses", "losses.bce", F.binary_cross_entropy, certain[[0, 3]], truth[[0, 3]], note="at 0 and 1 where the target agrees", reduction="sum")
    case("losses", "losses.bce", F.binary_cross_entropy, certain[[1, 2]], truth[[1, 2]], note="at 0 and 1 where the target disagrees", reduction="sum")

    z, hard = randn(3, 4, scale=3), labels((3, 4), 2).double()
    bwl = F.binary_cross_entropy_with_logits
    over_reductions("losses.bceWithLogits", bwl, z, q, wrt=(0, 1), hvp=True)
    over_reductions("losses.bceWithLogits", bwl, z, hard, note="hard targets")
    over_reductions("losses.bceWithLogits", bwl, z, q, note="weighted", weight=weight)
    over_reductions("losses.bceWithLogits", bwl, z, q, hvp=True, pos_weight=exact([0.5, 1, 2, 3]))
    over_reductions("losses.bceWithLogits", bwl, z, q, note="both weights", weight=weight[:, :1], pos_weight=exact([0.5, 1, 2, 3]))
    far = exact([-200.0, -50, 0, 50, 200, 200])
    case("losses", "losses.bceWithLogits", bwl, far, exact([0.0, 1, 0, 1, 0, 1]), note="far from 0", reduction="none")
    case("losses", "losses.bceWithLogits", bwl, far, exact([0.0, 1, 0, 1, 0, 1]), note="far from 0", reduction="none", pos_weight=exact(3.0))

    make_class_losses()

    logq = torch.log_softmax(randn(3, 5), -1).float().double()
    target = probabilities(3, 5)
    kl = (*REDUCTIONS, "batchmean")
    over_reductions("losses.klDiv", F.kl_div, logq, target, reductions=kl, wrt=(1, 0), hvp=True)
    over_reductions("losses.klDiv", F.kl_div, logq, torch.log(target).float().double(), reductions=kl, wrt=(0, 1), log_target=True)
    sparse = target.clone()
    sparse[0, 1] = sparse[2, 3] = 0
    over_reductions("losses.klDiv", F.kl_div, logq, sparse, note="zeros in the target", reductions=kl)

    def hinge(x, t, margin=1.0, reduction="mean"):
        each = torch.relu(margin - t * x)
        return each if reduction == "none" else getattr(each, reduction)()

    s = signs(3, 5)
    over_reductions("losses.hinge", hinge, x, s)
    over_reductions("losses.hinge", hinge, x, s, margin=0.3)

    a, b, s = randn(6, 4), randn(6, 4), exact([1, -1, 1, -1, -1, 1])
    b[4] = a[4] + exact([0.1, 0, 0, 0.2])
    for margin in (0.0, 0.4):
        over_reductions("losses.cosineEmbedding", F.cosine_embedding_loss, a, b, s, wrt=(0, 1), margin=margin)
    case("losses", "losses.cosineEmbedding", F.cosine_embedding_loss, a, b, s, note="second order", hvp=True)
    case("losses", "losses.cosineEmbedding", F.cosine_embedding_loss, torch.zeros(2, 3).double(), randn(2, 3), exact([1.0, 1]), note="of a zero vector")


def make_certain():
    """Almost certain predictions, and classes with probability 0. Each case has one element, so small losses matter too."""
    bwl, ce = F.binary_cross_entropy_with_logits, F.cross_entropy
    for z, t in ((15, 1), (20, 1), (25, 1), (-15, 0), (-20, 0), (20, 0), (-20, 1), (18, 0.25)):
        for options in ({}, {"pos_weight": exact([3.0])}):
            case("losses", "losses.bceWithLogits", bwl, exact([float(z)]), exact([float(t)]), note=f"at {z}, target {t}", hvp=not options and z * (t - 0.5) > 0, **options)
    for margin in (10.0, 16.7, 20.0, 25.0):
        x = exact([[margin, 0.0]])
        case("losses", "losses.crossEntropy", ce, x, torch.tensor([0]), note=f"margin {margin:g}")
        case("losses", "losses.crossEntropy", ce, x, torch.tensor([1]), note=f"margin −{margin:g}")
        case("losses", "losses.crossEntropy", ce, x, exact([[1.0, 0.0]]), note=f"margin {margin:g}, probabilities")
        case("losses", "losses.nll", lambda x, t: F.nll_loss(x, t), F.log_softmax(x, -1).detach(), torch.tensor([0]), note=f"margin {margin:g}")
    never = torch.tensor([[2.0, 1.0, -math.inf]]).double()
    weight = exact([1.0, 2.0, 3.0])
    case("losses", "losses.crossEntropy", ce, never, torch.tensor([0]), note="a logit of −∞", weight=weight, wrt=())
    gone = torch.tensor([[-math.inf, -math.inf], [0.0, 0.0]]).double()
    case("losses", "losses.crossEntropy", ce, gone, torch.tensor([-100, 1]), note="an ignored row of −∞", wrt=())
    case("losses", "losses.nll", lambda x, t: F.nll_loss(x, t), torch.tensor([[-math.inf, 0.0], [-0.7, -0.7]]).double(), torch.tensor([-100, 1]), note="an ignored row with −∞", wrt=())
    p = exact([[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]])
    case("losses", "losses.klDiv", lambda x, t, **o: F.kl_div(x, t, **o), exact([[-1.0, -30.0, -0.5], [-3.0, -0.1, -4.0]]), p, note="targets of 0 and 1", reduction="none")
    for z in (-80.0, -20.0, 20.0, 80.0):
        for f, torch_f in (("softplus", lambda x: F.softplus(x, threshold=1e9)), ("logSigmoid", F.logsigmoid)):
            case("losses", f, torch_f, exact([z]), note=f"at {z:g}")


def make_class_losses():
    def classes_last(torch_f):
        # The classes are in dim 1 in PyTorch, and in the last dim in nabla.
        def f(x, t, **options):
            last = lambda v: v.movedim(-1, 1).contiguous() if v.dim() > 1 else v
            return torch_f(last(x), last(t) if t.is_floating_point() else t, **options)

        return f

    ce, nll = classes_last(F.cross_entropy), classes_last(F.nll_loss)
    weight = exact([0.5, 1.5, 2, 0.25, 1])
    x, t = randn(3, 5, scale=2), labels((3,), 5)
    ignored = t.clone()
    ignored[1] = -100
    other = torch.tensor([1, 3, 4])
    x3, t3 = randn(2, 2, 5, scale=2), labels((2, 2), 5)
    x4, t4 = randn(2, 1, 2, 3), labels((2, 1, 2), 3)
    soft, soft3 = probabilities(3, 5), probabilities(2, 2, 5)
    for f, torch_f, has_smoothing in (("losses.crossEntropy", ce, True), ("losses.nll", nll, False)):
        logs = (lambda v: v) if has_smoothing else (lambda v: torch.log_softmax(v, -1).float().double())
        y, y3, y4 = logs(x), logs(x3), logs(x4)
        over_reductions(f, torch_f, y, t, hvp=has_smoothing)
        over_reductions(f, torch_f, y, t, note="class weights", weight=weight)
        over_reductions(f, torch_f, y, ignored, note="a label −100")
        over_reductions(f, torch_f, y, ignored, note="a label −100, class weights", weight=weight)
        over_reductions(f, torch_f, y, other, hvp=has_smoothing, ignore_index=3)
        over_reductions(f, torch_f, y, other, note="class weights", ignore_index=3, weight=weight)
        over_reductions(f, torch_f, y3, t3)
        over_reductions(f, torch_f, y3, t3, note="class weights", weight=weight)
        over_reductions(f, torch_f, y3, t3, note="class weights", weight=weight, ignore_index=int(t3[0, 1]))
        over_reductions(f, torch_f, y4, t4)
        case("losses", f, torch_f, y[0], t[0], note="one row")
        case("losses", f, torch_f, y, torch.full((3,), -100), note="all ignored: the sum is 0", reduction="sum")
        case("losses", f, torch_f, y, torch.full((3,), -100), note="all ignored: the mean is not a number", wrt=())
        far = exact([[1000.0, 0, -1000], [-5000, -5000, -5000], [88, 89, 90]])
        case("losses", f, torch_f, far if has_smoothing else logs(far), torch.tensor([1, 0, 2]), note="large values", reduction="none")
    for smoothing in (0.1, 1.0):
        over_reductions("losses.crossEntropy", ce, x, t, hvp=True, label_smoothing=smoothing)
    over_reductions("losses.crossEntropy", ce, x, t, note="class weights", label_smoothing=0.2, weight=weight)
    over_reductions("losses.crossEntropy", ce, x, ignored, note="a label −100", label_smoothing=0.2)
    over_reductions("losses.crossEntropy", ce, x, ignored, note="a label −100, class weights", label_smoothing=0.2, weight=weight)
    over_reductions("losses.crossEntropy", ce, x, other, note="class weights", label_smoothing=0.3, weight=weight, ignore_index=3)
    over_reductions("losses.crossEntropy", ce, x3, t3, note="class weights", label_smoothing=0.2, weight=weight)
    over_reductions("losses.crossEntropy", ce, x3, t3, label_smoothing=0.2, ignore_index=int(t3[1, 0]))
    for logits, target in ((x, soft), (x3, soft3)):
        over_reductions("losses.crossEntropy", ce, logits, target, note="probabilities", wrt=(0, 1), hvp=True)
        over_reductions("losses.crossEntropy", ce, logits, target, note="probabilities, class weights", wrt=(0, 1), weight=weight)
        over_reductions("losses.crossEntropy", ce, logits, target, note="probabilities", wrt=(0, 1), label_smoothing=0.1)
        over_reductions("losses.crossEntropy", ce, logits, target, note="probabilities, class weights", label_smoothing=0.1, weight=weight)
    over_reductions("losses.crossEntropy", ce, x, exact(soft * 1.7), note="a target that does not add up to 1", wrt=(0, 1))
    case("losses", "losses.crossEntropy", ce, x[0], soft[0], note="probabilities of one row")


# --- layers ---------------------------------------------------------------------------------------------------------


def make_layers():
    nn = torch.nn
    layers = []

    def layer(name, spec, module, *shape):
        module = module.double()
        with torch.no_grad():
            for p in module.parameters():
                p.copy_(randn(*p.shape, scale=0.6))
        x = randn(*shape).requires_grad_()
        out = module(x)
        dy = randn(*out.shape)
        out.backward(dy)
        layers.append({
            "name": name, "layers": spec, "x": encode(x, short=True), "dy": encode(dy, short=True), "out": encode(out), "dx": encode(x.grad),
            "state": {k: encode(v, short=True) for k, v in module.state_dict().items()},
            "grads": {k: encode(p.grad) for k, p in module.named_parameters()},
        })

    for shape in ((7,), (1, 7), (4, 7), (2, 3, 7)):
        layer(f"Linear(7, 3) of {list(shape)}", [["Linear", 7, 3]], nn.Sequential(nn.Linear(7, 3)), *shape)
    layer("Linear(7, 3) without bias", [["Linear", 7, 3, {"bias": False}]], nn.Sequential(nn.Linear(7, 3, bias=False)), 4, 7)
    layer("Linear(1, 1)", [["Linear", 1, 1]], nn.Sequential(nn.Linear(1, 1)), 5, 1)
    layer("Linear(17, 9): beyond the tiles' edges", [["Linear", 17, 9]], nn.Sequential(nn.Linear(17, 9)), 7, 17)
    layer("an MLP of Tanh, GELU and LogSoftmax", [["Linear", 6, 8], ["Tanh"], ["Linear", 8, 5], ["GELU"], ["Linear", 5, 3], ["LogSoftmax", -1]],
          nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5), nn.GELU(), nn.Linear(5, 3), nn.LogSoftmax(-1)), 4, 6)
    layer("an MLP of ReLU and Sigmoid on images, flattened", [["Flatten"], ["Linear", 12, 7], ["ReLU"], ["Linear", 7, 2], ["Sigmoid"]],
          nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 2), nn.Sigmoid()), 3, 2, 6)
    layer("an MLP of SiLU, ELU and Softplus", [["Linear", 4, 6], ["SiLU"], ["Linear", 6, 6], ["ELU", 0.7], ["Linear", 6, 1], ["Softplus", 2]],
          nn.Sequential(nn.Linear(4, 6), nn.SiLU(), nn.Linear(6, 6), nn.ELU(0.7), nn.Linear(6, 1), nn.Softplus(2)), 5, 4)
    groups["layers"] = layers

    grid = torch.arange(-6, 6.5, 0.5, dtype=torch.float64)
    edges = {"ReLU": [0], "ReLU6": [0, 6], "SELU": [0], "Hardsigmoid": [-3, 3], "LeakyReLU": [0], "ELU": [0], "Hardtanh": [-2, -1, 1, 3]}
    for name, *args in (["ReLU"], ["ReLU6"], ["SELU"], ["SiLU"], ["Mish"], ["Tanh"], ["Sigmoid"], ["LogSigmoid"], ["Hardsigmoid"], ["Hardswish"],
                        ["LeakyReLU"], ["LeakyReLU", 0.2], ["ELU"], ["ELU", 1.5], ["GELU"], ["GELU", {"approximate": "tanh"}], ["Softplus"],
                        ["Softplus", 2.0], ["Softplus", 0.5], ["Hardtanh"], ["Hardtanh", -2.0, 3.0], ["Identity"]):
        options = args[0] if args and isinstance(args[0], dict) else {}
        module = getattr(nn, name)(**options) if options else getattr(nn, name)(*args)
        label = "".join(f"({arguments}) " for arguments in [", ".join(show(v) for v in (options.values() if options else args))] if arguments)
        corners = torch.tensor(edges.get(name, []), dtype=torch.float64)
        # At ±3, PyTorch 1.13's hardswish has the gradients −½ and 1½, a defect (its issue 147801). nabla has 0 and 1, so we skip them.
        left_out = torch.tensor([-3.0, 3]).double() if name == "Hardswish" else corners
        smooth = grid[~torch.isin(grid, left_out)]
        case("activations", f"nn.{name}", lambda x, *_: module(x), smooth, *args, note=f"{label}on −6 … 6", ones=True, hvp=not len(left_out) and name != "Identity")
        if len(corners):
            case("activations", f"nn.{name}", lambda x, *_: module(x), corners, *args, note=f"{label}at its corners {[int(c) for c in corners]}", ones=True)
    for name in ("Softmax", "LogSoftmax"):
        for shape, dim in (((5,), 0), ((3, 5), 0), ((3, 5), 1), ((2, 3, 4), 1), ((2, 3, 4), -1), ((2, 3, 4), 0)):
            case("activations", f"nn.{name}", lambda x, d: getattr(nn, name)(d)(x), randn(*shape, scale=2), dim, note=f"over dim {dim} of", hvp=True)
        big = exact([[1000.0, 999, -1000], [-1e4, -1e4, -1e4 - 1]])
        case("activations", f"nn.{name}", lambda x, d: getattr(nn, name)(d)(x), big, -1, note="of large values")


# --- ops ------------------------------------------------------------------------------------------------------------


def make_ops():
    def op(f, torch_f, *args, **rest):
        case("ops", f, torch_f, *args, **rest)

    x = randn(3, 4)
    for p in (1, 2, 3, 1.5, 0.5, math.inf, -math.inf):
        f = lambda v, _p, dim=None, options=None, p=p: torch.linalg.vector_norm(v, p, dim, **(options or {}))
        op("norm", f, x, p, note=f"p = {p}", hvp=math.isfinite(p) and p != 1)
        op("norm", f, x, p, 1, note=f"p = {p} over dim 1 of")
        op("norm", f, x, p, 0, {"keepdim": True}, note=f"p = {p} over dim 0, kept, of")
    op("norm", lambda v, _p: torch.linalg.vector_norm(v, 0), exact([0.0, 1, -2, 0]), 0, note="p = 0", wrt=())
    some = exact([0.0, 1, -2, 0])
    zero = exact([0.0, 0, 0])
    for p in (1, 2, 3, 1.5, 0.5, math.inf):
        f = lambda v, _p, p=p: torch.norm(v, p)
        op("norm", f, some, p, note=f"p = {p} with zeros among the elements")
        op("norm", f, zero, p, note=f"p = {p} of the zero vector")
    op("norm", lambda v, _p: torch.norm(v, math.inf), exact([2.0, -2, 1, 2]), math.inf, note="p = inf with ties")

    y = randn(2, 3, 3, scale=3)
    for dims in (0, 1, 2, [0, 2], [1, 2], [0, 1, 2]):
        op("logSumExp", lambda v, d: torch.logsumexp(v, d), y, dims, note=f"over {dims} of", hvp=True)
    op("logSumExp", lambda v, d: torch.logsumexp(v, d), exact([[1000.0, 1000, -1000], [-1e4, -10001, -1e5], [88.5, 89, 100]]), 1, note="large values")
    inf = math.inf
    op("logSumExp", lambda v, d: torch.logsumexp(v, d), torch.tensor([[inf, 1.0], [-inf, -inf], [-inf, 2]]).double(), 1, note="infinite values", wrt=())
    for dims in (1, [0, 2], 2):
        for correction in (1, 0):
            options = {"correction": correction}
            op("variance", lambda v, d, o: torch.var(v, d if isinstance(d, list) else [d], **o), y, dims, options, note=f"over {dims}, correction {correction}, of", hvp=True)
            op("std", lambda v, d, o: torch.std(v, d if isinstance(d, list) else [d], **o), y, dims, options, note=f"over {dims}, correction {correction}, of", hvp=True)
    op("variance", lambda v: torch.var(v), y, note="of all")
    op("std", lambda v: torch.std(v), y, note="of all")
    op("variance", lambda v: torch.var(v), exact([10000.125, 10000.25, 10000.5, 9999.875]), note="far from 0: two passes")
    op("std", lambda v: torch.std(v), exact([2.0, 2, 2]), note="of equal values: no NaN in the value", wrt=())
    for zeros in (0, 1, 2):
        v = randn(5)
        v[:zeros] = 0
        op("prod", lambda v: torch.prod(v, 0), v, note=f"with {zeros} zeros", hvp=True)
    v = randn(3, 4)
    v[0, 1] = v[2, 1] = v[1, 3] = 0
    for dim in (0, 1):
        op("prod", lambda v, d: torch.prod(v, d), v, dim, note=f"over dim {dim} with zeros")
    for dim in (0, 1, 2, -1):
        op("cumsum", lambda v, d: torch.cumsum(v, d), y, dim, note=f"over dim {dim} of")
    ties = exact([[1.0, 3, 3, 2], [5, 5, 5, 5], [-1, -2, -1, -3]])
    for f, reduce in (("max", torch.amax), ("min", torch.amin)):
        op(f, lambda v: reduce(v, (0, 1)), ties, note="of all: ties share the gradient")
        op(f, lambda v, d: reduce(v, d), ties, 1, note="over dim 1: ties share the gradient")
        op(f, lambda v, d: reduce(v, d), ties, 0, note="over dim 0")
        op(f, lambda v, d: reduce(v, d), torch.tensor([[1.0, math.nan], [2.0, 3]]).double(), 1, note="NaN wins", wrt=())
    a, b = exact([1.0, 2, 3, -1, 0]), exact([2.0, 2, 1, -1, 0])
    op("maximum", torch.maximum, a, b, note="with ties", wrt=(0, 1))
    op("minimum", torch.minimum, a, b, note="with ties", wrt=(0, 1))
    op("maximum", torch.maximum, torch.tensor([math.nan, 1.0]).double(), torch.tensor([1.0, math.nan]).double(), note="NaN wins", wrt=())

    base, exponent = rand(2, 5, low=0.2, high=3), randn(2, 5)
    op("pow", torch.pow, base, exponent, wrt=(0, 1), hvp=True)
    for e in (0, 1, 2, 3, 0.5, -1, -2, 1.5):
        op("pow", lambda v, e: v**e, exact([0.0, 0.5, 2]), e, note=f"exponent {e}, from 0 on,")
    for e in (0, 1, 2, 3, -1, -2):
        op("pow", lambda v, e: v**e, exact([-2.0, -0.5]), e, note=f"exponent {e} of negative")
    op("pow", torch.pow, exact([0.0, 0, 0, 0, 2]), exact([0.0, 1, 2, 0.5, 0]), note="of 0 to powers ≥ 0, by both", wrt=(0, 1))
    op("pow", torch.pow, exact([0.0, 0]), exact([-1.0, -2]), note="of 0 to powers < 0, by both", wrt=(0, 1))

    op("atan2", torch.atan2, randn(3, 4), randn(3, 4), wrt=(0, 1), hvp=True)
    op("atan2", torch.atan2, exact([0.0, 1, 0, -1, 0.0]), exact([1.0, 0, -1, 0, 2]), note="on the axes", wrt=(0, 1))
    op("atan2", torch.atan2, torch.tensor([0.0, -0.0, 0.0, -0.0]).double(), torch.tensor([-1.0, -1, 0, 0]).double(), note="of signed zeros", wrt=())
    op("mod", torch.remainder, exact([5.5, -5.5, 5.5, -5.5, 6, -6, 0, 7]), exact([2.0, 2, -2, -2, 3, 3, 3, -3.5]), note="in all quadrants", wrt=(0, 1))
    op("round", torch.round, exact([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49, 3.7]), note="halves to even", wrt=())
    op("sign", torch.sign, exact([-2.0, 0, 3]))
    op("abs", torch.abs, exact([-2.0, 0, 3]), note="with 0")
    op("clamp", lambda v, lo, hi: torch.clamp(v, lo, hi), exact([-2.0, -1, 0, 2, 3]), -1, 2, note="at its bounds")
    op("sqrt", torch.sqrt, exact([0.0, 0.25, 4]), note="from 0 on")
    op("div", torch.div, randn(3, 4), rand(4, low=0.5, high=2), wrt=(1, 0), hvp=True)
    op("expm1", torch.expm1, exact([-5.0, -0.001, 0, 0.001, 3]), note="near 0")
    op("log1p", torch.log1p, exact([-0.9, -0.001, 0, 0.001, 3]), note="near 0")
    op("erf", torch.erf, exact([-4.0, -1, -0.01, 0, 0.5, 2]), hvp=True)

    mask = torch.tensor([[True, False, True], [False, False, True]])
    op("where", torch.where, mask, randn(2, 3), randn(2, 3), wrt=(1, 2))
    op("where", torch.where, mask, randn(3), randn(2, 1), note="broadcast,", wrt=(1, 2))
    op("gather", torch.gather, randn(3, 4), 1, torch.tensor([[0, 0, 3], [1, 2, 1], [3, 3, 3]]), note="along dim 1, repeated,")
    op("gather", torch.gather, randn(3, 4), 0, torch.tensor([[0, 1, 2, 0], [2, 2, 2, 1]]), note="along dim 0,")
    op("gather", torch.gather, randn(2, 3, 2), 1, torch.tensor([[[0, 2], [2, 1]], [[1, 1], [0, 0]]]), note="along dim 1,")
    for dim in (0, 1, 2):
        op("indexSelect", torch.index_select, randn(3, 4, 2), dim, torch.tensor([1, 0, 1, 1]), note=f"along dim {dim}; its gradient is index_add,")
    rows, to = randn(2, 4), torch.tensor([[2, 0, 2, 1], [0, 0, 1, 1]])
    op("scatterSum", lambda s, d, i, n: torch.zeros(2, n).double().scatter_add(d, i, s), rows, 1, to, 3, note="along dim 1,")
    op("scatterSum", lambda s, d, i, n: torch.zeros(n, 4).double().scatter_add(d, i, s), rows, 0, to, 5, note="along dim 0,")
    op("embedding", F.embedding, torch.tensor([[1, 3, 1], [0, 1, 4]]), randn(5, 3), note="with repeats,", wrt=(1,))
    for padding in ([1, 2], [1, 0, 0, 2], [0, 1, 2, 0, 1, 1], [-1, 2], [1, -2, -1, 0]):
        op("pad", lambda v, p, value: F.pad(v, p, value=value), randn(2, 3, 4), padding, 0.5, note=f"by {padding},")

    def sliced(indices):
        # PyTorch has no negative steps, so select the same elements by index.
        def f(v, *_):
            for dim, index in enumerate(indices):
                if index is not None:
                    v = v.index_select(dim, torch.tensor(list(index), dtype=torch.long))
            return v

        return f

    z = randn(4, 6)
    op("slice", sliced([range(3, -1, -1)]), z, [None, None, -1], note="[::-1]")
    op("slice", sliced([None, range(5, -1, -2)]), z, None, [None, None, -2], note="[:, ::-2]")
    op("slice", sliced([range(1, 3), range(4, 0, -3)]), z, [1, 3], [4, 0, -3], note="[1:3, 4:0:-3]")
    op("slice", sliced([None, range(4, 1, -1)]), z, None, [-2, -5, -1], note="[:, -2:-5:-1]")
    op("slice", sliced([range(3, -1, -3), range(0, 6, 4)]), z, [100, None, -3], [None, None, 4], note="[100::-3, ::4]")
    op("slice", lambda v, i, r: v[-1][1:5:3], z, -1, [1, 5, 3], note="[-1, 1:5:3]")
    op("flip", lambda v, d: torch.flip(v, d), randn(2, 3, 2), [0, 2], note="over 0 and 2 of")
    for a, b in (((3, 4), (4, 2)), ((4,), (4, 2)), ((3, 4), (4,)), ((4,), (4,)), ((2, 1, 2, 3), (3, 3, 2)), ((2, 3, 4), (4,))):
        op("matmul", torch.matmul, randn(*a), randn(*b), wrt=(0, 1))
    for f in ("softmax", "logSoftmax"):
        torch_f = torch.softmax if f == "softmax" else torch.log_softmax
        op(f, lambda v, d: torch_f(v, d), randn(3, 5, scale=2), 0, note="over dim 0, twice differentiated,", hvp=True)


# --- optimizers -----------------------------------------------------------------------------------------------------

STEPS = (1, 2, 5, 10, 20)
problem = {}


def make_optimizers():
    """20 steps on the mean square of tanh(x·W1ᵀ + b1)·W2ᵀ − y, with three parameters."""
    problem.update(x=randn(8, 2), y=randn(8, 2), start=[randn(3, 2), randn(3), randn(2, 3)])
    optim = torch.optim
    runs = groups["optimizers"] = []

    def run(kind, note="", lrs=None, late=None, **options):
        params = [p.clone().requires_grad_() for p in problem["start"]]
        # With `lrs`, each parameter is a separate group; None means the default.
        what = [{"params": [p], **({} if lr is None else {"lr": lr})} for p, lr in zip(params, lrs)] if lrs else params
        optimizer = getattr(optim, kind)(what, **options)
        at = []
        for step in range(1, max(STEPS) + 1):
            w1, b1, w2 = params
            optimizer.zero_grad(set_to_none=True)
            F.mse_loss(torch.tanh(F.linear(problem["x"], w1, b1)) @ w2.T, problem["y"]).backward()
            if late is not None and step <= 3:
                params[late].grad = None
            optimizer.step()
            if step in STEPS:
                at.append(encode([p.detach().clone() for p in params]))
        described = note or ", ".join(f"{camel(k)} {show(v) if not isinstance(v, tuple) else list(v)}" for k, v in options.items() if k != "lr") or "plain"
        runs.append({"name": f"{kind}: {described}", "optimizer": {"RMSprop": "RMSProp"}.get(kind, kind), "options": encode(options),
                     **({"lrs": lrs} if lrs else {}), **({} if late is None else {"late": late}), "at": at})

    run("SGD", lr=0.1)
    run("SGD", lr=0.1, momentum=0.9)
    run("SGD", lr=0.1, momentum=0.9, dampening=0.3)
    run("SGD", lr=0.1, momentum=0.9, nesterov=True)
    run("SGD", lr=0.1, weight_decay=0.1)
    run("SGD", lr=0.05, momentum=0.8, dampening=0.1, weight_decay=0.05)
    run("SGD", lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.05)
    run("SGD", lr=0.01, maximize=True)
    run("SGD", lr=0.01, momentum=0.5, weight_decay=0.1, maximize=True)
    run("SGD", "groups with rates of their own", lrs=[0.2, None, 0.02], lr=0.1, momentum=0.9)
    run("SGD", "a parameter without gradient for 3 steps", late=2, lr=0.1, momentum=0.9, dampening=0.3)
    run("Adam")
    run("Adam", lr=0.05)
    run("Adam", lr=0.05, betas=(0.8, 0.95), eps=1e-3)
    run("Adam", lr=0.05, weight_decay=0.1)
    run("Adam", lr=0.1, amsgrad=True, betas=(0.5, 0.6))
    run("Adam", lr=0.05, amsgrad=True, weight_decay=0.1)
    run("Adam", lr=0.02, maximize=True)
    run("Adam", lr=0.02, maximize=True, weight_decay=0.2)
    run("Adam", "groups with rates of their own", lrs=[0.2, None, 0.02], lr=0.05)
    run("Adam", "a parameter without gradient for 3 steps", late=0, lr=0.05)
    run("AdamW")
    run("AdamW", lr=0.05)
    run("AdamW", lr=0.05, weight_decay=0.3, betas=(0.8, 0.95), eps=1e-4)
    run("AdamW", lr=0.05, weight_decay=0.1, amsgrad=True)
    run("AdamW", lr=0.02, weight_decay=0.1, maximize=True)
    run("AdamW", "a parameter without gradient for 3 steps", late=1, lr=0.05, weight_decay=0.1)
    run("RMSprop")
    run("RMSprop", lr=0.02, alpha=0.9, eps=1e-3)
    run("RMSprop", lr=0.01, momentum=0.9)
    run("RMSprop", lr=0.01, centered=True)
    run("RMSprop", lr=0.01, weight_decay=0.1)
    run("RMSprop", lr=0.01, momentum=0.5, centered=True, weight_decay=0.1)
    run("RMSprop", "groups with rates of their own", lrs=[0.05, None, 0.002], lr=0.01, momentum=0.5)
    run("RMSprop", "a parameter without gradient for 3 steps", late=2, lr=0.01, momentum=0.5, centered=True)
    run("Adagrad")
    run("Adagrad", lr=0.1, lr_decay=0.1)
    run("Adagrad", lr=0.1, initial_accumulator_value=0.5)
    run("Adagrad", lr=0.1, weight_decay=0.1, eps=1e-3)
    run("Adagrad", lr=0.02, maximize=True)
    run("Adagrad", lr=0.05, maximize=True, weight_decay=0.1, lr_decay=0.05)
    run("Adagrad", "groups with rates of their own", lrs=[0.2, None, 0.02], lr=0.1, lr_decay=0.05)
    run("Adagrad", "a parameter without gradient for 3 steps", late=2, lr=0.1, lr_decay=0.1)


# --- matrices, einsum, sorting ---------------------------------------------------------------------------------------


def positive(*shape):
    """Symmetric and positive definite."""
    a = randn(*shape, scale=0.4)
    return exact(a @ a.mT + torch.eye(shape[-1]) * 1.5)


def several_case(f, torch_f, x, *args, note="", **options):
    """A function of one tensor with several results, and its gradients for the float results."""
    x = x.clone().requires_grad_()
    outs = list(torch_f(x, *args, **options))
    floats = [y for y in outs if y.is_floating_point()]
    dys = [randn(*y.shape) for y in floats]
    (dx,) = torch.autograd.grad(floats, x, dys)
    groups.setdefault("several", []).append({
        "name": f"{f} {note}{list(x.shape)} {list(args)} {options}", "f": f, "args": encode([x.detach(), *args, options], short=True),
        "out": encode(outs), "dy": encode(dys, short=True), "dx": encode(dx)})


def make_linalg():
    for equation, shapes in (("ij,jk->ik", [(3, 4), (4, 2)]), ("bij,bjk->bik", [(2, 3, 4), (2, 4, 2)]), ("ij,j", [(3, 4), (4,)]), ("ii->", [(4, 4)]), ("ii->i", [(4, 4)]),
                             ("bhtd,bhsd->bhts", [(2, 3, 2, 4), (2, 3, 5, 4)]), ("i,j->ji", [(3,), (4,)]), ("ij->ji", [(3, 4)]), ("ij->j", [(3, 4)]), ("...ij,...jk->...ik", [(2, 3, 4), (4, 2)]),
                             ("ab,bc,cd->ad", [(2, 3), (3, 4), (4, 2)]), ("bij,bij->b", [(2, 3, 4), (2, 3, 4)]), ("aab,bc->ac", [(3, 3, 2), (2, 4)]), ("b...,b...->...", [(3, 2, 2), (3, 2, 2)]),
                             ("ab,ab,c->", [(2, 3), (2, 3), (4,)]), ("i,i,i->i", [(3,), (3,), (3,)])):
        case("linalg", "einsum", torch.einsum, equation, *[randn(*s) for s in shapes], note=equation, wrt=tuple(range(1, len(shapes) + 1)))
    for shape in ((1, 1), (4, 4), (2, 3, 3), (2, 2, 5, 5)):
        case("linalg", "cholesky", torch.linalg.cholesky, positive(*shape), hvp=True)
    solve = lambda a, b, upper=False, transpose=False, unitriangular=False: torch.triangular_solve(b, a, upper=upper, transpose=transpose, unitriangular=unitriangular)[0]
    for options in ({}, {"upper": True}, {"transpose": True}, {"upper": True, "transpose": True, "unitriangular": True}, {"unitriangular": True}):
        case("linalg", "triangularSolve", solve, positive(4, 4), randn(4, 3), wrt=(0, 1), hvp=True, **options)
    case("linalg", "triangularSolve", solve, positive(2, 3, 3), randn(2, 3, 2), wrt=(0, 1))
    for k in (-1, 0, 2):
        case("linalg", "tril", torch.tril, randn(2, 3, 4), k, note=f"{k} of")
        case("linalg", "triu", torch.triu, randn(2, 4, 3), k, note=f"{k} of")

    def eigh(a):
        w, v = torch.linalg.eigh(a)
        largest = torch.gather(v, -2, v.abs().argmax(-2, keepdim=True)).sign()
        return w, v * largest.detach()

    for shape in ((1, 1), (3, 3), (2, 5, 5)):
        a = randn(*shape)
        several_case("eigh", eigh, exact((a + a.mT) / 2 + torch.diag(torch.arange(float(shape[-1])).double() * 2)))
    order = lambda x, dim, descending=False: torch.sort(x, dim=dim, descending=descending, stable=True)
    for shape, dim, options in (((7,), 0, {}), ((3, 5), 1, {"descending": True}), ((3, 5), 0, {}), ((2, 4, 3), 1, {})):
        several_case("sort", order, randn(*shape), dim, **options)
    several_case("sort", order, exact([2.0, 1, 2, 1, 1, 3, 2]), 0, note="of equals ")
    several_case("sort", order, exact([2.0, 1, 2, 1, 1, 3, 2]), 0, note="of equals ", descending=True)
    for shape, k, dim, options in (((7,), 3, 0, {}), ((3, 5), 2, 1, {"largest": False}), ((4, 3), 2, 0, {}), ((2, 3), 3, -1, {})):
        several_case("topK", torch.topk, randn(*shape), k, dim, **options)


def make_pools_1d():
    turned = lambda f: lambda x, size, **o: f(x.transpose(-1, -2), size, **o).transpose(-1, -2)
    for options in ({}, {"stride": 1}, {"stride": 3, "padding": 1}, {"dilation": 2, "stride": 2}, {"stride": 2, "ceil_mode": True}):
        case("pools", "nn.MaxPool1d", turned(F.max_pool1d), randn(2, 9, 3), 2, **options)
    case("pools", "nn.MaxPool1d", turned(F.max_pool1d), randn(7, 3), 3, note="without a batch")
    for options in ({}, {"stride": 1}, {"stride": 2, "padding": 1}, {"stride": 2, "padding": 1, "count_include_pad": False}):
        case("pools", "nn.AvgPool1d", turned(F.avg_pool1d), randn(2, 9, 3), 3, **options)


def make_more_optimizers():
    """50 steps of every optimizer on the same problem, with the parameters at some steps and at the end."""
    optim, runs = torch.optim, groups.setdefault("marathons", [])

    def run(kind, **options):
        params = [p.clone().requires_grad_() for p in problem["start"]]
        optimizer = getattr(optim, kind)(params, **options)

        def closure():
            w1, b1, w2 = params
            optimizer.zero_grad(set_to_none=True)
            loss = F.mse_loss(torch.tanh(F.linear(problem["x"], w1, b1)) @ w2.T, problem["y"])
            if kind == "LBFGS":  # otherwise the weights diverge
                loss = loss + 0.1 * sum((p ** 2).sum() for p in params)
            loss.backward()
            return loss

        at = []
        for step in range(1, 51):
            optimizer.step(closure)
            if step in (1, 2, 10, 50):
                at.append(encode([p.detach().clone() for p in params]))
        described = ", ".join(f"{camel(k)} {show(v) if not isinstance(v, tuple) else list(v)}" for k, v in options.items()) or "plain"
        options.pop("foreach", None)
        runs.append({"name": f"{kind}: {described}", "optimizer": {"RMSprop": "RMSProp"}.get(kind, kind), "options": encode(options), "at": at})

    run("SGD", lr=0.05, momentum=0.9, nesterov=True)
    run("Adam", lr=0.01)
    run("AdamW", lr=0.01, weight_decay=0.1)
    run("RMSprop", lr=0.005, momentum=0.5)
    run("Adagrad", lr=0.05)
    # The other implementation in PyTorch 1.13 uses mu twice in mu_product_next, a defect that 2.0 fixed.
    run("NAdam", foreach=True)
    run("NAdam", foreach=True, lr=0.02, betas=(0.8, 0.95), weight_decay=0.1, momentum_decay=0.01)
    run("LBFGS", lr=0.5, max_iter=1)
    run("LBFGS", max_iter=2, history_size=3, line_search_fn="strong_wolfe")


def make_schedules():
    """The learning rates of two groups at each of 24 steps."""
    runs = groups["schedules"] = []

    def run(kind, *args, values=None, **options):
        optimizer = torch.optim.SGD([{"params": [torch.zeros(1).requires_grad_()]}, {"params": [torch.zeros(1).requires_grad_()], "lr": 0.3}], lr=0.1, momentum=0.9)
        schedule = getattr(torch.optim.lr_scheduler, kind)(optimizer, *args, **options)
        rates = []
        for step in range(24):
            rates.append([number(group["lr"], 12) for group in optimizer.param_groups])
            optimizer.step()
            schedule.step(*([values[step]] if values else []))
        given = list(args) + ([encode({k: v for k, v in options.items() if k != "cycle_momentum"})] if kind in ("OneCycleLR", "ReduceLROnPlateau") else list(options.values()))
        runs.append({"name": f"{kind} {args} {options}", "schedule": kind, "args": given, "rates": rates, **({"values": values} if values else {})})

    run("StepLR", 5)
    run("StepLR", 3, 0.5)
    run("ExponentialLR", 0.9)
    run("LinearLR")
    run("LinearLR", 0.1, 0.8, 10)
    run("CosineAnnealingLR", 20)
    run("CosineAnnealingLR", 23, 0.01)
    run("CosineAnnealingWarmRestarts", 5)
    run("CosineAnnealingWarmRestarts", 3, 2, 0.02)
    run("OneCycleLR", 0.5, total_steps=25, cycle_momentum=False)
    run("OneCycleLR", 0.5, total_steps=30, pct_start=0.2, anneal_strategy="linear", div_factor=10.0, final_div_factor=100.0, cycle_momentum=False)
    # Phases at the ends of their ranges, and after the last step.
    for options in ({}, {"anneal_strategy": "linear"}, {"anneal_strategy": "linear", "pct_start": 0.0}, {"pct_start": 0.0}, {"anneal_strategy": "linear", "pct_start": 0.99}):
        run("OneCycleLR", 0.5, total_steps=24, cycle_momentum=False, **options)
    run("OneCycleLR", 0.5, total_steps=25, cycle_momentum=False, anneal_strategy="linear", pct_start=1.0)
    for args in ((0.25, 1.0, 1), (0.25, 0.75, 23), (0.25, 0.75, 24), (1.0, 0.0, 12)):
        run("LinearLR", *args)
    for args in ((1, 0.9), (23, 0.5), (24, 0.5)):
        run("StepLR", *args)
    for args in ((24,), (1, 0.02), (12, 0.01), (5,)):
        run("CosineAnnealingLR", *args)
    for args in ((24,), (1,), (23, 1, 0.01), (1, 2), (8, 2), (2, 3)):
        run("CosineAnnealingWarmRestarts", *args)
    falling = [1 / (1 + t) if t < 8 else 0.125 + 0.001 * (t % 3) for t in range(24)]
    run("ReduceLROnPlateau", values=falling, patience=2)
    run("ReduceLROnPlateau", values=[-v for v in falling], mode="max", factor=0.5, patience=1, cooldown=3, threshold=0.01, threshold_mode="abs", min_lr=0.02)


# --- clipping and initial values ------------------------------------------------------------------------------------


def make_clips():
    grads = [randn(3, 2, scale=2), randn(4), randn(1)]
    for scale in (1.0, 0.0):
        for norm_type in (2.0, math.inf, 1.0, 3.0):
            for limit in (0.5, 100.0) if scale else (0.5,):
                params = [torch.zeros_like(g).requires_grad_() for g in grads]
                for p, g in zip(params, grads):
                    p.grad = g * scale
                before = encode([p.grad.clone() for p in params], short=True)
                total = torch.nn.utils.clip_grad_norm_(params, limit, norm_type)
                groups.setdefault("clips", []).append({
                    "name": f"clipGradNorm to {limit:g} by norm {number(norm_type)}{'' if scale else ' of zero gradients'}", "max": limit, "normType": number(norm_type),
                    "before": before, "total": number(float(total)), "after": encode([p.grad for p in params])})
    params = [torch.zeros_like(g).requires_grad_() for g in grads]
    for p, g in zip(params, grads):
        p.grad = g.clone()
    torch.nn.utils.clip_grad_value_(params, 0.7)
    groups["clips"].append({"name": "clipGradValue to 0.7", "max": 0.7, "before": encode(grads, short=True), "after": encode([p.grad for p in params])})


def channels_last(shape):
    """The shape [out, in, ...kernel] in nabla's order, [out, ...kernel, in]."""
    return (shape[0], *shape[2:], shape[1])


def make_init():
    """The expected bound or standard deviation of each initializer, computed from PyTorch's own fans and gains."""
    init = torch.nn.init
    names = {"leaky_relu": "leakyRelu"}
    groups["gains"] = [
        {"name": f"{names.get(k, k)}{'' if a is None else f', slope {a}'}", "args": [names.get(k, k)] + ([] if a is None else [a]), "gain": init.calculate_gain(k, a)}
        for k, a in (("linear", None), ("sigmoid", None), ("tanh", None), ("relu", None), ("selu", None), ("leaky_relu", None), ("leaky_relu", 0.2), ("leaky_relu", 0.0))
    ]
    cases = groups["inits"] = []

    def note(name, shape, options, **expected):
        cases.append({"name": name, "shape": list(shape), "options": encode(options), **{k: number(v) for k, v in expected.items()}})

    for theirs_shape in ((400, 300), (64, 96, 5, 4)):
        shape = channels_last(theirs_shape)
        fan_in, fan_out = init._calculate_fan_in_and_fan_out(torch.empty(theirs_shape))
        for gain in (1.0, init.calculate_gain("tanh")):
            std = gain * math.sqrt(2 / (fan_in + fan_out))
            note("xavierUniform", shape, {"gain": gain}, bound=math.sqrt(3) * std)
            note("xavierNormal", shape, {"gain": gain}, std=std)
        for options, fan, gain in (
            ({}, fan_in, init.calculate_gain("leaky_relu", 0)),
            ({"mode": "fanOut", "nonlinearity": "relu"}, fan_out, init.calculate_gain("relu")),
            ({"a": 0.3}, fan_in, init.calculate_gain("leaky_relu", 0.3)),
            ({"nonlinearity": "tanh"}, fan_in, init.calculate_gain("tanh")),
        ):
            std = gain / math.sqrt(fan)
            note("kaimingUniform", shape, options, bound=math.sqrt(3) * std)
            note("kaimingNormal", shape, options, std=std)
            # Check that PyTorch's own values have this bound or standard deviation.
            theirs = {"a": 0, **options, "mode": {"fanOut": "fan_out"}.get(options.get("mode"), "fan_in")}
            drawn = torch.empty(theirs_shape)
            torch.manual_seed(1)
            init.kaiming_normal_(drawn, **theirs)
            assert abs(float(drawn.std()) / std - 1) < 0.01, (options, float(drawn.std()), std)
            init.kaiming_uniform_(drawn, **theirs)
            assert abs(float(drawn.abs().max()) / (math.sqrt(3) * std) - 1) < 0.001, options
    phi = lambda z: math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    Phi = lambda z: 0.5 * math.erfc(-z / math.sqrt(2))
    for options in ({}, {"mean": 0.5, "std": 2.0, "a": -1.0, "b": 3.0}, {"std": 0.02, "a": -0.04, "b": 0.01}):
        o = {"mean": 0.0, "std": 1.0, "a": -2.0, "b": 2.0, **options}
        lo, hi = (o["a"] - o["mean"]) / o["std"], (o["b"] - o["mean"]) / o["std"]
        mass = Phi(hi) - Phi(lo)
        shift = (phi(lo) - phi(hi)) / mass
        std = o["std"] * math.sqrt(1 + (lo * phi(lo) - hi * phi(hi)) / mass - shift**2)
        mean = o["mean"] + o["std"] * shift
        torch.manual_seed(1)
        drawn = init.trunc_normal_(torch.empty(400, 300), **o)
        assert abs(float(drawn.std()) / std - 1) < 0.01 and abs(float(drawn.mean()) - mean) < 0.01 * std, options
        note("truncNormal", (400, 300), options, mean=mean, std=std, low=o["a"], high=o["b"])
    groups["fans"] = []
    for kind, *args in (("Linear", 300, 40), ("Embedding", 50, 12), ("Conv1d", 6, 10, 5), ("Conv1d", 6, 10, 5, {"groups": 2}), ("Conv2d", 64, 64, 3),
                        ("Conv2d", 12, 8, [3, 5], {"groups": 4}), ("Conv2d", 8, 8, 3, {"groups": 8}), ("Conv2d", 5, 7, 1), ("ConvTranspose1d", 6, 10, 4),
                        ("ConvTranspose2d", 12, 8, [3, 5]), ("ConvTranspose2d", 12, 8, 3, {"groups": 4})):
        options = args.pop() if isinstance(args[-1], dict) else {}
        weight = getattr(torch.nn, kind)(*[tuple(a) if isinstance(a, list) else a for a in args], **options).weight
        fan_in, fan_out = init._calculate_fan_in_and_fan_out(weight)
        groups["fans"].append({"layer": kind, "args": args + ([options] if options else []), "shape": list(channels_last(weight.shape)), "fanIn": fan_in, "fanOut": fan_out})
    groups["orthogonals"] = [{"shape": [12, 20], "gain": 1}, {"shape": [20, 12], "gain": 1.5}, {"shape": [16, 16], "gain": 1}, {"shape": [8, 3, 2, 2], "gain": 2}]
    for o in groups["orthogonals"]:
        w = init.orthogonal_(torch.empty(o["shape"]), o["gain"]).flatten(1)
        small = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
        assert torch.allclose(small, o["gain"] ** 2 * torch.eye(len(small)), atol=1e-5)
    groups["linears"] = []
    for shape in ((300, 400), (20, 6000)):
        theirs = torch.nn.Linear(*shape)
        bound = 1 / math.sqrt(shape[0])
        for p in (theirs.weight, theirs.bias):
            assert 0.97 * bound < float(p.abs().max()) <= bound
        groups["linears"].append({"args": list(shape), "bound": number(bound)})


# --- convolutions ---------------------------------------------------------------------------------------------------


def first(x):
    """Moves the channels from the last dim to the second."""
    return x.movedim(-1, 1)


def make_convs():
    def conv2d(x, w, b=None, **o):
        return F.conv2d(first(x), first(w), b, **o).movedim(1, -1)

    def conv1d(x, w, b=None, **o):
        return F.conv1d(first(x), first(w), b, **o).movedim(1, -1)

    def transposed2d(x, w, b=None, **o):
        return F.conv_transpose2d(first(x), first(w), b, **o).movedim(1, -1)

    def transposed1d(x, w, b=None, **o):
        return F.conv_transpose1d(first(x), first(w), b, **o).movedim(1, -1)

    def both(f, torch_f, x, w, bias, **o):
        inputs = (randn(*x), randn(*w, scale=0.5)) + ((randn(bias),) if bias else (None,))
        case("convs", f, torch_f, *inputs, wrt=(0, 1, 2) if bias else (0, 1), **o)

    for stride in (1, 2, [2, 1]):
        for padding in (0, 1, [2, 1]):
            for dilation in (1, [1, 2]):
                both("conv2d", conv2d, (2, 7, 6, 2), (3, 3, 2, 2), 3, stride=stride, padding=padding, dilation=dilation)
    for groups, x, w in ((2, (2, 5, 6, 4), (6, 3, 3, 2)), (4, (1, 6, 5, 4), (4, 3, 2, 1)), (4, (1, 6, 5, 4), (8, 3, 2, 1)), (3, (1, 4, 7, 9), (6, 2, 2, 3))):
        for stride, padding, dilation in ((1, 0, 1), (2, 1, 1), (1, 2, 2), (3, 1, 1)):
            both("conv2d", conv2d, x, w, w[0], stride=stride, padding=padding, dilation=dilation, groups=groups)
    both("conv2d", conv2d, (1, 4, 5, 3), (4, 1, 1, 3), 4)
    both("conv2d", conv2d, (1, 6, 5, 3), (4, 1, 1, 3), 4, stride=2)
    both("conv2d", conv2d, (1, 4, 5, 3), (4, 3, 3, 3), None, padding="same")
    both("conv2d", conv2d, (1, 5, 6, 2), (2, 2, 4, 2), None, padding="same", dilation=[2, 1])
    both("conv2d", conv2d, (1, 5, 6, 2), (2, 2, 3, 2), 2, padding="valid")
    both("conv2d", conv2d, (1, 3, 3, 33), (5, 3, 3, 33), 5, padding=1)
    for stride, padding, dilation, groups in ((1, 0, 1, 1), (2, 1, 1, 1), (1, 2, 3, 1), (2, 0, 1, 2), (3, 2, 2, 4)):
        both("conv1d", conv1d, (2, 11, 4), (8, 3, 4 // groups), 8, stride=stride, padding=padding, dilation=dilation, groups=groups)
    for stride, padding, output_padding, dilation in ((1, 0, 0, 1), (2, 1, 1, 1), (2, 0, 0, 1), (3, 1, 2, 1), (2, 2, 1, 2), ([1, 2], [1, 0], [0, 1], 1)):
        both("convTranspose2d", transposed2d, (2, 4, 3, 3), (3, 3, 2, 2), 2, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation)
        both("convTranspose2d", transposed2d, (1, 4, 3, 4), (4, 2, 3, 3), 6, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation, groups=2)
    both("convTranspose2d", transposed2d, (1, 3, 4, 4), (4, 3, 3, 1), None, stride=2, groups=4)
    for stride, padding, groups in ((1, 0, 1), (2, 1, 1), (3, 0, 2)):
        both("convTranspose1d", transposed1d, (2, 5, 4), (4, 3, 2), 2 * groups, stride=stride, padding=padding, groups=groups)


# --- pools ----------------------------------------------------------------------------------------------------------


def make_pools():
    def pool(f, torch_f, x, kernel, **o):
        case("pools", f, lambda x, k, **o: torch_f(first(x), k, **o).movedim(1, -1), randn(*x), kernel, note=f"of {kernel}", **o)

    for kernel, options in ((2, {}), (3, dict(stride=2, padding=1)), ([2, 3], dict(stride=[1, 2])), (3, dict(stride=1, padding=1)), (2, dict(stride=3)),
                            ([1, 2], dict(stride=[2, 1], padding=[0, 1]))):
        pool("maxPool2d", F.max_pool2d, (2, 6, 7, 3), kernel, **options)
        pool("maxPool2d", F.max_pool2d, (2, 6, 7, 3), kernel, ceil_mode=True, **options)
        pool("avgPool2d", F.avg_pool2d, (2, 6, 7, 3), kernel, **options)
        if "padding" in options:
            pool("avgPool2d", F.avg_pool2d, (2, 6, 7, 3), kernel, count_include_pad=False, **options)
    pool("maxPool2d", F.max_pool2d, (1, 9, 8, 5), 3, dilation=2, padding=1)
    pool("maxPool2d", F.max_pool2d, (1, 9, 8, 5), [2, 3], dilation=[3, 1], stride=2)


# --- norms ----------------------------------------------------------------------------------------------------------


def make_norms():
    for shape, sizes in (((4, 7), (7,)), ((2, 3, 5), (5,)), ((2, 3, 5), (3, 5)), ((3, 33), (33,))):
        case("norms", "layerNorm", lambda x, s, w, b, **o: F.layer_norm(x, s, w, b, **o),  randn(*shape), list(sizes), randn(*sizes), randn(*sizes), wrt=(0, 2, 3), hvp=True, eps=0.01)
        case("norms", "layerNorm", lambda x, s: F.layer_norm(x, s), randn(*shape), list(sizes), note=f"plain over {list(sizes)} of", hvp=True)
        dims = tuple(range(-len(sizes), 0))
        case("norms", "rmsNorm", lambda x, s, w, eps: x * torch.rsqrt((x * x).mean(dims, keepdim=True) + eps) * w, randn(*shape), list(sizes), randn(*sizes), wrt=(0, 2), hvp=True, eps=0.01)
    for shape, parts in (((3, 4, 6), 2), ((2, 3, 4, 6), 3), ((2, 3, 4, 6), 6), ((2, 5, 6), 1)):
        case("norms", "groupNorm", lambda x, g, w, b, **o: F.group_norm(first(x), g, w, b, **o).movedim(1, -1), randn(*shape), parts, randn(shape[-1]), randn(shape[-1]), note=f"in {parts}", wrt=(0, 2, 3), hvp=True, eps=0.01)
    batches = []
    for name, shape, options in (("BatchNorm1d", (6, 5), {}), ("BatchNorm1d", (4, 3, 5), {"momentum": 0.3}), ("BatchNorm2d", (2, 3, 4, 5), {"eps": 0.01}),
                                 ("BatchNorm2d", (2, 3, 4, 1), {}), ("BatchNorm2d", (3, 2, 2, 7), {"affine": False}), ("BatchNorm1d", (6, 5), {"momentum": None})):
        module = getattr(torch.nn, name)(shape[-1], **options).double()
        with torch.no_grad():
            for p in module.parameters():
                p.copy_(randn(*p.shape))
        state = {k: encode(v, short=True) for k, v in module.named_parameters()}
        run = lambda x: module(first(x)).movedim(1, -1)
        run(randn(*shape))  # an earlier batch, whose statistics are averaged with those of the next
        before = {k: encode(v, short=False) for k, v in module.named_buffers() if "running" in k}
        x, dy = randn(*shape).requires_grad_(), randn(*shape)
        out = run(x)
        out.backward(dy)
        after = {k: encode(v) for k, v in module.named_buffers() if "running" in k}
        module.eval()
        batches.append({
            "name": f"{name} of {list(shape)} {json.dumps(options)}", "layer": name, "features": shape[-1], "options": options,
            "state": state, "before": before, "after": after, "x": encode(x, short=True), "dy": encode(dy, short=True), "out": encode(out), "dx": encode(x.grad),
            "grads": {k: encode(p.grad) for k, p in module.named_parameters()}, "eval": encode(run(x.detach())),
        })
    groups["batches"] = batches


# --- sizes ----------------------------------------------------------------------------------------------------------


def make_sizes():
    def resize(x, **o):
        if "mode" in o and o["mode"] == "bilinear":
            o.setdefault("align_corners", False)
        return F.interpolate(first(x), **o).movedim(1, -1)

    for options in ({"scale_factor": 2.0}, {"size": [7, 4]}, {"size": [2, 9], "mode": "nearest"}, {"scale_factor": 2.0, "mode": "bilinear"},
                    {"size": [7, 4], "mode": "bilinear"}, {"size": [7, 4], "mode": "bilinear", "align_corners": True}, {"size": [1, 3], "mode": "bilinear", "align_corners": True},
                    {"scale_factor": 1.5, "mode": "bilinear"}):
        case("sizes", "nn.interpolate", resize, randn(2, 4, 5, 3), **options)
    for size in ([2, 3], [3, 2], [1, 1], [5, 7]):
        case("sizes", "nn.AdaptiveAvgPool2d", lambda x, s: F.adaptive_avg_pool2d(first(x), s).movedim(1, -1), randn(2, 5, 7, 3), size, note=f"to {size}")


# --- modules with several inputs and results -----------------------------------------------------------------------------


def flat(v):
    """The tensors in nested lists, in order, without None."""
    return [v] if isinstance(v, torch.Tensor) else [x for part in v or [] for x in flat(part)]


def module_case(name, layer, args, module, run, inputs, stored=None, state=None):
    """layer(...args).forward(...inputs) and its gradients with respect to parameters and float inputs. `stored`: the inputs in nabla's layout."""
    module = module.double()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(randn(*p.shape, scale=0.6))
    module.zero_grad()
    for x in flat(inputs):
        if x.is_floating_point():
            x.requires_grad_()
    outs = flat(run(*inputs))
    dys = [randn(*y.shape) for y in outs]
    torch.autograd.backward(outs, dys)
    groups.setdefault("modules", []).append({
        "name": name, "layer": layer, "args": encode(args), "inputs": encode(stored if stored is not None else inputs, short=True), "out": encode(outs), "dy": encode(dys, short=True),
        "state": state(module) if state else {camel(k): encode(v, short=True) for k, v in module.state_dict().items()},
        "grads": {} if state else {camel(k): encode(p.grad) for k, p in module.named_parameters()},
        "dx": encode([x.grad for x in flat(inputs) if x.is_floating_point()]),
    })


def make_recurrent():
    nn = torch.nn
    kinds = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}
    variants = [({}, 5, 3, True), ({"num_layers": 2, "bidirectional": True}, 4, 3, True), ({"batch_first": True, "bias": False}, 3, 2, False),
                ({"num_layers": 2, "batch_first": True, "bidirectional": True}, 4, 3, "lengths"), ({"bidirectional": True}, 6, 4, "lengths"),
                ({"num_layers": 3}, 4, None, True), ({"num_layers": 2}, 1, 1, True)]
    for kind, make in kinds.items():
        for options, steps, batch, start in variants + ([({"nonlinearity": "relu"}, 4, 2, True)] if kind == "RNN" else []):
            module = make(3, 5, **options)
            first, lengths = options.get("batch_first", False), None
            shape = (steps, 3) if batch is None else (batch, steps, 3) if first else (steps, batch, 3)
            count = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
            state = [randn(*([count, 5] if batch is None else [count, batch, 5]), scale=0.6) for _ in range(2 if kind == "LSTM" else 1)]
            if start == "lengths":
                lengths = torch.tensor([steps, 1, steps - 1, 2][:batch])

            def run(x, s=None, _=None, module=module, first=first, lengths=lengths, steps=steps):
                s = tuple(s) if isinstance(s, list) else s
                if lengths is None:
                    return module(x, s)
                packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=first, enforce_sorted=False)
                y, last = module(packed, s)
                return nn.utils.rnn.pad_packed_sequence(y, batch_first=first, total_length=steps)[0], last

            given = [randn(*shape)] + ([state if kind == "LSTM" else state[0]] if start else [])
            stored = given + ([{"lengths": lengths}] if lengths is not None else [])
            described = json.dumps({**options, **({"lengths": lengths.tolist()} if lengths is not None else {})})
            module_case(f"{kind} {described} of {list(shape)}{'' if start else ' from nothing'}", kind, [3, 5, options], module, run, given, stored)
    for kind, make in {"RNNCell": nn.RNNCell, "LSTMCell": nn.LSTMCell, "GRUCell": nn.GRUCell}.items():
        state = [randn(4, 5, scale=0.6) for _ in range(2 if kind == "LSTMCell" else 1)]
        cell = make(3, 5)
        module_case(kind, kind, [3, 5], cell, lambda x, s: cell(x, tuple(s) if isinstance(s, list) else s), [randn(4, 3), state if kind == "LSTMCell" else state[0]])
        module_case(f"{kind} from nothing", kind, [3, 5], cell, lambda x: cell(x), [randn(4, 3)])


def make_attention():
    nn = torch.nn

    def attention(q, k, v, mask=None, is_causal=False, scale=None):
        scores = q @ k.transpose(-1, -2) * (scale if scale is not None else q.shape[-1] ** -0.5)
        if is_causal:
            scores = scores.masked_fill(~torch.ones(scores.shape[-2:], dtype=torch.bool).tril(), -math.inf)
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
        return torch.softmax(scores, -1) @ v

    some = lambda *shape: (torch.rand(shape, generator=generator) < 0.7) | (torch.arange(shape[-1]) == 0)
    for note, shapes, options in (
        ("", [(2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 2)], {}), ("", [(4, 5), (3, 5), (3, 5)], {"scale": 0.3}), ("", [(3, 4, 2), (3, 4, 2), (3, 4, 2)], {"is_causal": True}),
        ("more keys than queries", [(1, 2, 3, 2), (1, 2, 5, 2), (1, 2, 5, 3)], {"is_causal": True}), ("more queries than keys", [(1, 2, 5, 2), (1, 2, 3, 2), (1, 2, 3, 3)], {"is_causal": True}),
        ("padding", [(2, 2, 4, 3), (2, 2, 5, 3), (2, 2, 5, 3)], {"mask": some(2, 1, 1, 5)}), ("bool", [(2, 2, 4, 3), (2, 2, 5, 3), (2, 2, 5, 3)], {"mask": some(4, 5)}),
        ("added", [(2, 2, 4, 3), (2, 2, 5, 3), (2, 2, 5, 3)], {"mask": randn(2, 4, 5)}), ("added and causal", [(2, 2, 2, 4, 3)] * 3, {"mask": randn(2, 1, 1, 1, 4), "is_causal": True})):
        case("attention", "scaledDotProductAttention", attention, *[randn(*s) for s in shapes], note=note, wrt=(0, 1, 2), hvp=True, **options)

    def multihead(name, shapes, options, masks=None, weights=False):
        module = nn.MultiheadAttention(6, 3, **options)
        masks = masks or {}
        inputs = [randn(*s) for s in shapes]
        masked = {("attn_mask" if k == "is_causal" else k): (~torch.ones(shapes[0][1 if options.get("batch_first") else 0], shapes[1][1 if options.get("batch_first") else 0], dtype=torch.bool).tril() if k == "is_causal" else m) for k, m in masks.items()}
        run = lambda q, k, v: [y for y in module(q, k, v, need_weights=weights, **masked) if y is not None]
        module_case(f"MultiheadAttention {name}", "MultiheadAttention", [6, 3, options], module, run, inputs, inputs + [{**masks, **({"need_weights": True} if weights else {})}])

    first = {"batch_first": True}
    multihead("of itself", [(5, 2, 6)] * 3, {})
    multihead("batch first, with weights", [(2, 4, 6), (2, 5, 6), (2, 5, 6)], first, weights=True)
    multihead("without bias, causal", [(2, 5, 6)] * 3, {**first, "bias": False}, {"is_causal": True})
    multihead("with padding", [(5, 2, 6)] * 3, {}, {"key_padding_mask": torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 1]]).bool()})
    multihead("with forbidden places", [(2, 4, 6), (2, 3, 6), (2, 3, 6)], first, {"attn_mask": ~some(4, 3)}, weights=True)
    multihead("with a mask for each head, added, and padding", [(2, 4, 6), (2, 3, 6), (2, 3, 6)], first, {"attn_mask": randn(6, 4, 3), "key_padding_mask": torch.tensor([[0, 0, 1], [0, 0, 0]]).bool()})
    multihead("without a batch", [(4, 6), (3, 6), (3, 6)], {})

    def layer(kind, name, options, shapes, masks=None, stored=None, kwargs=None):
        made = getattr(nn, kind)(6, 2, dim_feedforward=9, dropout=0.0, **options)
        inputs = [randn(*s) for s in shapes]
        masked = kwargs if kwargs is not None else masks or {}
        module_case(f"{kind} {name}", kind, [6, 2, {"dim_feedforward": 9, "dropout": 0, **options}], made, lambda *xs: made(*xs, **masked), inputs, inputs + ([stored or masks] if masks or stored else []))

    causal = ~torch.ones(5, 5, dtype=torch.bool).tril()
    padding = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 1]]).bool()
    layer("TransformerEncoderLayer", "as it comes", {}, [(5, 2, 6)])
    layer("TransformerEncoderLayer", "gelu, norms first, padding", {"batch_first": True, "norm_first": True, "activation": "gelu"}, [(2, 5, 6)], {"src_key_padding_mask": padding})
    layer("TransformerEncoderLayer", "causal", {"batch_first": True}, [(2, 5, 6)], stored={"is_causal": True}, kwargs={"src_mask": causal})
    layer("TransformerDecoderLayer", "as it comes", {}, [(5, 2, 6), (4, 2, 6)])
    layer("TransformerDecoderLayer", "norms first, causal, with padded memory", {"batch_first": True, "norm_first": True}, [(2, 5, 6), (2, 5, 6)],
          stored={"tgt_is_causal": True, "memory_key_padding_mask": padding}, kwargs={"tgt_mask": causal, "memory_key_padding_mask": padding})


def make_gradients():
    """Explanations of a network's scores, penalties on its gradients, and the gradients of both with respect to the parameters."""
    weights = [randn(5, 4), randn(5, scale=0.5), randn(3, 5), randn(3, scale=0.5)]
    x, base, target = randn(3, 4), randn(3, 4, scale=0.5), torch.tensor([2, 0, 1])

    def scores(z, w=weights):
        return torch.tanh(z @ w[0].T + w[1]) @ w[2].T + w[3]

    def chosen(z, w=weights):
        return scores(z, w).gather(1, target.reshape(-1, 1)).reshape(-1)

    def slope(z, w=weights, create=False, f=chosen):
        z = z.clone().requires_grad_()
        return torch.autograd.grad(f(z, w).sum(), z, create_graph=create)[0]

    path = [slope(base + (k + 0.5) / 20 * (x - base)) for k in range(20)]
    explained = {"saliency": slope(x).abs(), "gradient_times_input": slope(x) * x, "integrated_gradients": (x - base) * sum(path) / 20}
    each = lambda z, w: F.cross_entropy(scores(z, w), target, reduction="none")
    norms = lambda w, f: slope(x, w, True, f).square().sum(1).sqrt()
    penalties = {
        "gradient_penalty": lambda w: norms(w, each).square().mean(), "gradient_penalty, target 1": lambda w: (norms(w, chosen) - 1).square().mean(),
        "lipschitz_penalty, bound 0.5": lambda w: F.relu(norms(w, chosen) - 0.5).square().mean(),
        "jacobian_penalty, all projections": lambda w: sum(slope(x, w, True, lambda z, v, c=c: scores(z, v)[:, c]).square().sum() for c in range(3)) / 3,
    }
    made = []
    for name, penalty in penalties.items():
        w = [v.clone().requires_grad_() for v in weights]
        value = penalty(w)
        grads = torch.autograd.grad(value, w, allow_unused=True)
        made.append({"name": camel(name), "out": encode(value), "grads": encode([torch.zeros_like(v) if g is None else g for g, v in zip(grads, w)])})
    groups["gradients"] = {"weights": encode(weights, short=True), "x": encode(x, short=True), "baseline": encode(base, short=True), "target": encode(target), "explained": encode(explained), "penalties": made}


for make in (make_losses, make_layers, make_ops, make_optimizers, make_clips, make_init, make_convs, make_pools, make_norms, make_sizes, make_recurrent, make_attention, make_more_optimizers, make_schedules, make_linalg, make_pools_1d, make_gradients, make_certain):
    make()
groups["problem"] = {k: encode(v, short=True) for k, v in problem.items()}
parts = []
for group, members in groups.items():
    if isinstance(members, list):
        rows = ",\n".join(json.dumps(member, separators=(",", ":"), ensure_ascii=False, allow_nan=False) for member in members)
        parts.append(f'"{group}":[\n{rows}\n]')
    else:
        parts.append(f'"{group}":{json.dumps(members, separators=(",", ":"))}')
shared = ",\n".join(json.dumps(json.loads(key), separators=(",", ":")) for key in places)
parts.append(f'"shared":[\n{shared}\n]')
header = f'"torch":"{torch.__version__}","seed":{SEED},\n'
target = pathlib.Path(__file__).with_name("values.json")
target.write_text("{" + header + ",\n".join(parts) + "}\n", encoding="utf-8")
print(f"{target}: {target.stat().st_size / 1024:.0f} KiB,", {k: len(v) for k, v in groups.items()})
