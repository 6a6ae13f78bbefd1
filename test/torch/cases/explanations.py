"""Explanations of a network's scores, and penalties on its gradients."""
import torch
import torch.nn.functional as F
from encoding import camel
from cases.case import encode, groups, randn


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
