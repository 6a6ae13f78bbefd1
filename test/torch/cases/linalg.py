"""Matrices, einsum and sorting."""
import torch
from encoding import exact
from cases.case import case, encode, groups, randn


def positive(*shape):
    """Random symmetric positive definite matrices."""
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
