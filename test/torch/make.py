#!/usr/bin/python3
"""Writes values.json: PyTorch's results, with which the tests named torch-* compare nabla's.

    /usr/bin/python3 test/torch/make.py      # Debian's python3-torch, 1.13

Deterministic: one seed, one thread. PyTorch computes in float64 on inputs that are exact in float32, so a difference is a
rounding error or a defect in nabla. Numbers have 8 significant digits; NaN and infinities are strings.

A case names the nabla function to call, `f`, and lists its `args`, options last. A tensor is {shape, data, dtype?}, or {at}, an
index into `shared`, if it occurs several times. `out` is the result. `grads` are the gradients with respect to the arguments in
`wrt`, for the output gradient `dy` (1 if absent). If a case has `v`, then `hvp` is the product of the Hessian and v, with respect to
the first argument in `wrt`.
"""
import json
import pathlib

import torch
from cases.case import SEED, encode, groups, places
from cases.explanations import make_gradients
from cases.fusions import make_fusions
from cases.images import make_convs, make_norms, make_pools, make_pools_1d, make_sizes, make_wide_convs
from cases.init import make_clips, make_init
from cases.layers import make_layers
from cases.linalg import make_linalg
from cases.losses import make_certain, make_losses
from cases.modules import make_attention, make_recurrent
from cases.ops import make_ops
from cases.optimizers import make_more_optimizers, make_optimizers, make_schedules, make_sparse, problem
from cases.quantized import make_quantized

for make in (make_losses, make_layers, make_ops, make_optimizers, make_clips, make_init, make_convs, make_pools, make_norms, make_sizes, make_recurrent, make_attention, make_more_optimizers, make_schedules, make_linalg, make_pools_1d, make_gradients, make_certain, make_wide_convs, make_fusions, make_sparse, make_quantized):
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
