"""Clipping and initial values."""
import math

import torch
from encoding import number
from cases.case import encode, groups, randn


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
