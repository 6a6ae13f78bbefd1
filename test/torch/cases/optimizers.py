"""Optimizers and learning rate schedules."""
import torch
import torch.nn.functional as F
from encoding import camel, number
from cases.case import encode, groups, randn, show

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
    # Without foreach, PyTorch 1.13's NAdam uses mu twice in mu_product_next, a defect that 2.0 fixed.
    run("NAdam", foreach=True)
    run("NAdam", foreach=True, lr=0.02, betas=(0.8, 0.95), weight_decay=0.1, momentum_decay=0.01)
    run("LBFGS", lr=0.5, max_iter=1)
    run("LBFGS", max_iter=2, history_size=3, line_search_fn="strong_wolfe")


def make_sparse():
    """20 steps on the mean square of tanh(rows·A) − y, for rows of a table with a sparse gradient. The batches take turns."""
    table, a, y = randn(7, 3), randn(3, 2), randn(5, 2)
    batches = [[1, 4, 1, 0, 1], [2, 2, 2, 2, 2], [5, 0, 4, 4, 1], [6, 1, 5, 5, 0]]  # no batch uses row 3
    groups["sparse"] = {"table": encode(table, short=True), "a": encode(a, short=True), "y": encode(y, short=True), "batches": batches, "runs": []}

    def run(kind, uses="once", padding_idx=None, clip=None, **options):
        weight = table.clone().requires_grad_()
        optimizer = getattr(torch.optim, kind)([weight], **options)
        at = []
        for step in range(1, max(STEPS) + 1):
            index = torch.tensor(batches[step % len(batches)])
            look = lambda indices: F.embedding(indices, weight, padding_idx=padding_idx, sparse=True)
            loss = lambda rows: F.mse_loss(torch.tanh(rows @ a), y)
            optimizer.zero_grad(set_to_none=True)
            if uses == "twice":
                loss(look(index) + look(index.flip(0) // 2)).backward()
            elif uses == "accumulated":
                loss(look(index)).backward()
                loss(look(index // 3)).backward()
            elif uses == "tied":
                (loss(look(index)) + 0.1 * (look(index) @ weight.T).square().mean()).backward()
            else:
                loss(look(index)).backward()
            assert weight.grad.is_sparse == (uses != "tied")
            if clip is not None:
                # The formula of clip_grad_norm_, which in PyTorch 1.13 scales a copy of a sparse gradient and so leaves it as it is.
                norm = weight.grad.coalesce().values().norm()
                weight.grad.mul_(torch.clamp(clip / (norm + 1e-6), max=1))
            optimizer.step()
            if step in STEPS:
                at.append(encode(weight.detach().clone()))
        parts = [uses] + [f"{name} {value}" for name, value in (("paddingIdx", padding_idx), ("clipped to", clip)) if value is not None]
        described = ", ".join(parts + [f"{camel(k)} {show(v) if not isinstance(v, tuple) else list(v)}" for k, v in options.items()])
        groups["sparse"]["runs"].append({"name": f"{kind}: {described}", "optimizer": kind, "options": encode(options), "uses": uses,
                                         **({} if padding_idx is None else {"paddingIdx": padding_idx}), **({} if clip is None else {"clip": clip}), "at": at})

    for uses in ("once", "twice", "accumulated"):
        run("SparseAdam", uses, lr=0.05)
        run("SGD", uses, lr=0.5)
        run("Adagrad", uses, lr=0.1)
    run("SparseAdam", lr=0.05, betas=(0.5, 0.9), eps=0.05)
    run("SparseAdam", lr=0.05, maximize=True)
    run("SparseAdam", padding_idx=1, lr=0.05)
    run("SparseAdam", clip=0.05, lr=0.05, eps=0.01)
    run("SGD", padding_idx=4, lr=0.5)
    run("SGD", clip=0.05, lr=0.5)
    run("SGD", lr=0.1, maximize=True)
    run("SGD", lr=0.1, momentum=0.9)
    run("SGD", lr=0.1, momentum=0.9, dampening=0.3)
    run("SGD", lr=0.1, momentum=0.9, nesterov=True)
    run("Adagrad", lr=0.1, lr_decay=0.1, initial_accumulator_value=0.2, eps=0.01)
    run("Adagrad", lr=0.05, maximize=True)
    run("SGD", "tied", lr=0.1)
    run("Adagrad", "tied", lr=0.1)


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
    # Test phases at the ends of their ranges, and after the last step.
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
