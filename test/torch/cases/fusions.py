"""Batch normalization folded into the layer before it, by torch.nn.utils.fusion."""
import json

import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from cases.case import encode, groups, rand, randn


def first(x):
    """Moves the channels from the last dim to the second."""
    return x.movedim(-1, 1)


def last(x):
    """Moves the channels from the second dim to the last."""
    return x.movedim(1, -1) if x.dim() > 1 else x


def make_fusions():
    nn = torch.nn
    fusions = []

    def fusion(name, sizes, norm, shape, norm_options={}, **options):
        out_channels = sizes[1]
        layer = getattr(nn, name)(*sizes, **options).double().eval()
        batch_norm = getattr(nn, norm)(out_channels, **norm_options).double().eval()
        with torch.no_grad():
            for p in [*layer.parameters(), *batch_norm.parameters(), batch_norm.running_mean]:
                p.copy_(randn(*p.shape))
            batch_norm.running_var.copy_(rand(out_channels))
            fused = fuse_linear_bn_eval(layer, batch_norm) if name == "Linear" else fuse_conv_bn_eval(layer, batch_norm, "Transpose" in name)
            x = randn(*shape)
            state = {f"0.{k}": last(v) for k, v in layer.state_dict().items()}
            state.update((f"1.{k}", v) for k, v in batch_norm.state_dict().items() if v.dim())
            fusions.append({
                "name": f"{name}({', '.join(map(str, sizes))}) {json.dumps({**options, **norm_options})}".strip(),
                "layers": [[name, *sizes, encode(options)], [norm, out_channels, encode(norm_options)]],
                "state": encode(state, short=True),
                "x": encode(x, short=True), "out": encode(last(batch_norm(layer(first(x))))),
                "weight": encode(last(fused.weight)), "bias": encode(fused.bias),
            })

    fusion("Linear", (5, 7), "BatchNorm1d", (4, 5))
    fusion("Linear", (5, 7), "BatchNorm1d", (4, 5), bias=False)
    fusion("Conv1d", (3, 5, 3), "BatchNorm1d", (2, 9, 3), stride=2)
    fusion("Conv2d", (3, 5, 3), "BatchNorm2d", (2, 6, 7, 3), padding=1)
    fusion("Conv2d", (3, 5, 3), "BatchNorm2d", (2, 6, 7, 3), {"eps": 0.01}, bias=False)
    fusion("Conv2d", (4, 6, 3), "BatchNorm2d", (2, 6, 7, 4), groups=2)
    fusion("Conv2d", (6, 6, 3), "BatchNorm2d", (2, 6, 7, 6), {"affine": False}, groups=6, bias=False)
    fusion("ConvTranspose1d", (4, 6, 3), "BatchNorm1d", (2, 5, 4), stride=2)
    fusion("ConvTranspose2d", (4, 6, 3), "BatchNorm2d", (2, 4, 5, 4), stride=2, padding=1, bias=False)
    groups["fusions"] = fusions
