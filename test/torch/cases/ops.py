"""Ops."""
import math

import torch
import torch.nn.functional as F
from encoding import exact
from cases.case import case, rand, randn


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
