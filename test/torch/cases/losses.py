"""Losses, and their derivatives where predictions are certain."""
import math

import torch
import torch.nn.functional as F
from encoding import exact
from cases.case import case, labels, probabilities, rand, randn, signs

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
