"""Weights of low precision, as nn.quantize stores them, and the products with them."""
import torch
from cases.case import encode, groups, randn

GROUP = 32


def to_int8(w):
    """PyTorch's quantization per row."""
    scales = w.abs().amax(1) / 127
    q = torch.quantize_per_channel(w, scales.double(), torch.zeros(len(w), dtype=torch.int64), 0, torch.qint8)
    return q.int_repr().int(), scales


def to_int4(w):
    """Groups along the rows, in integers: PyTorch 1.13 has no int4. The largest number of a group becomes -8."""
    numbers, scales = torch.zeros(w.shape, dtype=torch.int32), torch.zeros(len(w), -(-w.shape[1] // GROUP))
    for g, part in enumerate(w.split(GROUP, 1)):
        scale = part.gather(1, part.abs().argmax(1, keepdim=True)) / -8
        numbers[:, GROUP * g:GROUP * g + part.shape[1]] = torch.clamp(torch.round(part / scale), -8, 7).int()
        scales[:, g] = scale[:, 0]
    return numbers, scales


def make_quantized():
    for columns in (32, 77):
        w, bias, x = randn(5, columns), randn(5), randn(3, columns)
        for dtype in ("int8", "int4", "float16", "bfloat16"):
            made = {"name": f"{dtype}, {columns} columns", "dtype": dtype, "w": encode(w, short=True), "bias": encode(bias, short=True), "x": encode(x, short=True)}
            if dtype.startswith("int"):
                numbers, scales = (to_int8 if dtype == "int8" else to_int4)(w.float())
                spread = scales[:, None] if dtype == "int8" else scales.repeat_interleave(GROUP, 1)[:, :columns]
                small = numbers.double() * spread.double()
                made |= {"numbers": encode(numbers), "scale": encode(scales.double(), short=True)}
            else:
                small = w.float().to(getattr(torch, dtype)).double()
            groups.setdefault("quantized", []).append(made | {"weight": encode(small), "out": encode(x @ small.T + bias)})
