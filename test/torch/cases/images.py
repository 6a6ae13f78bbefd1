"""Convolutions, pools, norms and resizing."""
import json

import torch
import torch.nn.functional as F
from cases.case import case, encode, groups, randn


def make_pools_1d():
    turned = lambda f: lambda x, size, **o: f(x.transpose(-1, -2), size, **o).transpose(-1, -2)
    for options in ({}, {"stride": 1}, {"stride": 3, "padding": 1}, {"dilation": 2, "stride": 2}, {"stride": 2, "ceil_mode": True}):
        case("pools", "nn.MaxPool1d", turned(F.max_pool1d), randn(2, 9, 3), 2, **options)
    case("pools", "nn.MaxPool1d", turned(F.max_pool1d), randn(7, 3), 3, note="without a batch")
    for options in ({}, {"stride": 1}, {"stride": 2, "padding": 1}, {"stride": 2, "padding": 1, "count_include_pad": False}):
        case("pools", "nn.AvgPool1d", turned(F.avg_pool1d), randn(2, 9, 3), 3, **options)


def first(x):
    """Moves the channels from the last dim to the second."""
    return x.movedim(-1, 1)


def conv2d(x, w, b=None, **o):
    return F.conv2d(first(x), first(w), b, **o).movedim(1, -1)


def transposed2d(x, w, b=None, **o):
    return F.conv_transpose2d(first(x), first(w), b, **o).movedim(1, -1)


def both(f, torch_f, x, w, bias, **o):
    inputs = (randn(*x), randn(*w, scale=0.5)) + ((randn(bias),) if bias else (None,))
    case("convs", f, torch_f, *inputs, wrt=(0, 1, 2) if bias else (0, 1), **o)


def make_wide_convs():
    """Convolutions with enough channels for Winograd's method."""
    both("conv2d", conv2d, (1, 6, 5, 16), (16, 3, 3, 16), 16, padding=1)
    both("convTranspose2d", transposed2d, (1, 6, 5, 16), (16, 3, 3, 16), 16, padding=1)


def make_convs():
    def conv1d(x, w, b=None, **o):
        return F.conv1d(first(x), first(w), b, **o).movedim(1, -1)

    def transposed1d(x, w, b=None, **o):
        return F.conv_transpose1d(first(x), first(w), b, **o).movedim(1, -1)

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
