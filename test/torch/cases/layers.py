"""Layers."""
import torch
from encoding import exact
from cases.case import case, encode, groups, randn, show


def make_layers():
    nn = torch.nn
    layers = []

    def layer(name, spec, module, *shape):
        module = module.double()
        with torch.no_grad():
            for p in module.parameters():
                p.copy_(randn(*p.shape, scale=0.6))
        x = randn(*shape).requires_grad_()
        out = module(x)
        dy = randn(*out.shape)
        out.backward(dy)
        layers.append({
            "name": name, "layers": spec, "x": encode(x, short=True), "dy": encode(dy, short=True), "out": encode(out), "dx": encode(x.grad),
            "state": {k: encode(v, short=True) for k, v in module.state_dict().items()},
            "grads": {k: encode(p.grad) for k, p in module.named_parameters()},
        })

    for shape in ((7,), (1, 7), (4, 7), (2, 3, 7)):
        layer(f"Linear(7, 3) of {list(shape)}", [["Linear", 7, 3]], nn.Sequential(nn.Linear(7, 3)), *shape)
    layer("Linear(7, 3) without bias", [["Linear", 7, 3, {"bias": False}]], nn.Sequential(nn.Linear(7, 3, bias=False)), 4, 7)
    layer("Linear(1, 1)", [["Linear", 1, 1]], nn.Sequential(nn.Linear(1, 1)), 5, 1)
    layer("Linear(17, 9): beyond the tiles' edges", [["Linear", 17, 9]], nn.Sequential(nn.Linear(17, 9)), 7, 17)
    layer("an MLP of Tanh, GELU and LogSoftmax", [["Linear", 6, 8], ["Tanh"], ["Linear", 8, 5], ["GELU"], ["Linear", 5, 3], ["LogSoftmax", -1]],
          nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5), nn.GELU(), nn.Linear(5, 3), nn.LogSoftmax(-1)), 4, 6)
    layer("an MLP of ReLU and Sigmoid on images, flattened", [["Flatten"], ["Linear", 12, 7], ["ReLU"], ["Linear", 7, 2], ["Sigmoid"]],
          nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.ReLU(), nn.Linear(7, 2), nn.Sigmoid()), 3, 2, 6)
    layer("an MLP of SiLU, ELU and Softplus", [["Linear", 4, 6], ["SiLU"], ["Linear", 6, 6], ["ELU", 0.7], ["Linear", 6, 1], ["Softplus", 2]],
          nn.Sequential(nn.Linear(4, 6), nn.SiLU(), nn.Linear(6, 6), nn.ELU(0.7), nn.Linear(6, 1), nn.Softplus(2)), 5, 4)
    groups["layers"] = layers

    grid = torch.arange(-6, 6.5, 0.5, dtype=torch.float64)
    edges = {"ReLU": [0], "ReLU6": [0, 6], "SELU": [0], "Hardsigmoid": [-3, 3], "LeakyReLU": [0], "ELU": [0], "Hardtanh": [-2, -1, 1, 3]}
    for name, *args in (["ReLU"], ["ReLU6"], ["SELU"], ["SiLU"], ["Mish"], ["Tanh"], ["Sigmoid"], ["LogSigmoid"], ["Hardsigmoid"], ["Hardswish"],
                        ["LeakyReLU"], ["LeakyReLU", 0.2], ["ELU"], ["ELU", 1.5], ["GELU"], ["GELU", {"approximate": "tanh"}], ["Softplus"],
                        ["Softplus", 2.0], ["Softplus", 0.5], ["Hardtanh"], ["Hardtanh", -2.0, 3.0], ["Identity"]):
        options = args[0] if args and isinstance(args[0], dict) else {}
        module = getattr(nn, name)(**options) if options else getattr(nn, name)(*args)
        label = "".join(f"({arguments}) " for arguments in [", ".join(show(v) for v in (options.values() if options else args))] if arguments)
        corners = torch.tensor(edges.get(name, []), dtype=torch.float64)
        # At ±3, PyTorch 1.13's hardswish has the gradients −½ and 1½, a defect (its issue 147801). nabla has 0 and 1, so we skip them.
        left_out = torch.tensor([-3.0, 3]).double() if name == "Hardswish" else corners
        smooth = grid[~torch.isin(grid, left_out)]
        case("activations", f"nn.{name}", lambda x, *_: module(x), smooth, *args, note=f"{label}on −6 … 6", ones=True, hvp=not len(left_out) and name != "Identity")
        if len(corners):
            case("activations", f"nn.{name}", lambda x, *_: module(x), corners, *args, note=f"{label}at its corners {[int(c) for c in corners]}", ones=True)
    for name in ("Softmax", "LogSoftmax"):
        for shape, dim in (((5,), 0), ((3, 5), 0), ((3, 5), 1), ((2, 3, 4), 1), ((2, 3, 4), -1), ((2, 3, 4), 0)):
            case("activations", f"nn.{name}", lambda x, d: getattr(nn, name)(d)(x), randn(*shape, scale=2), dim, note=f"over dim {dim} of", hvp=True)
        big = exact([[1000.0, 999, -1000], [-1e4, -1e4, -1e4 - 1]])
        case("activations", f"nn.{name}", lambda x, d: getattr(nn, name)(d)(x), big, -1, note="of large values")
