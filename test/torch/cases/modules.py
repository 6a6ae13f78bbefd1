"""Modules with several inputs and results: recurrent layers, attention and transformers."""
import json
import math

import torch
from encoding import camel
from cases.case import case, encode, generator, groups, randn
from cases.images import first


def flat(v):
    """The tensors in nested lists, in order, without None."""
    return [v] if isinstance(v, torch.Tensor) else [x for part in v or [] for x in flat(part)]


def module_case(name, layer, args, module, run, inputs, stored=None, state=None):
    """layer(...args).forward(...inputs) and its gradients with respect to parameters and float inputs. `stored`: the inputs in nabla's layout."""
    module = module.double()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(randn(*p.shape, scale=0.6))
    module.zero_grad()
    for x in flat(inputs):
        if x.is_floating_point():
            x.requires_grad_()
    outs = flat(run(*inputs))
    dys = [randn(*y.shape) for y in outs]
    torch.autograd.backward(outs, dys)
    groups.setdefault("modules", []).append({
        "name": name, "layer": layer, "args": encode(args), "inputs": encode(stored if stored is not None else inputs, short=True), "out": encode(outs), "dy": encode(dys, short=True),
        "state": state(module) if state else {camel(k): encode(v, short=True) for k, v in module.state_dict().items()},
        "grads": {} if state else {camel(k): encode(p.grad) for k, p in module.named_parameters()},
        "dx": encode([x.grad for x in flat(inputs) if x.is_floating_point()]),
    })


def make_recurrent():
    nn = torch.nn
    kinds = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}
    variants = [({}, 5, 3, True), ({"num_layers": 2, "bidirectional": True}, 4, 3, True), ({"batch_first": True, "bias": False}, 3, 2, False),
                ({"num_layers": 2, "batch_first": True, "bidirectional": True}, 4, 3, "lengths"), ({"bidirectional": True}, 6, 4, "lengths"),
                ({"num_layers": 3}, 4, None, True), ({"num_layers": 2}, 1, 1, True)]
    for kind, make in kinds.items():
        for options, steps, batch, start in variants + ([({"nonlinearity": "relu"}, 4, 2, True)] if kind == "RNN" else []):
            module = make(3, 5, **options)
            first, lengths = options.get("batch_first", False), None
            shape = (steps, 3) if batch is None else (batch, steps, 3) if first else (steps, batch, 3)
            count = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
            state = [randn(*([count, 5] if batch is None else [count, batch, 5]), scale=0.6) for _ in range(2 if kind == "LSTM" else 1)]
            if start == "lengths":
                lengths = torch.tensor([steps, 1, steps - 1, 2][:batch])

            def run(x, s=None, _=None, module=module, first=first, lengths=lengths, steps=steps):
                s = tuple(s) if isinstance(s, list) else s
                if lengths is None:
                    return module(x, s)
                packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=first, enforce_sorted=False)
                y, last = module(packed, s)
                return nn.utils.rnn.pad_packed_sequence(y, batch_first=first, total_length=steps)[0], last

            given = [randn(*shape)] + ([state if kind == "LSTM" else state[0]] if start else [])
            stored = given + ([{"lengths": lengths}] if lengths is not None else [])
            described = json.dumps({**options, **({"lengths": lengths.tolist()} if lengths is not None else {})})
            module_case(f"{kind} {described} of {list(shape)}{'' if start else ' from nothing'}", kind, [3, 5, options], module, run, given, stored)
    for kind, make in {"RNNCell": nn.RNNCell, "LSTMCell": nn.LSTMCell, "GRUCell": nn.GRUCell}.items():
        state = [randn(4, 5, scale=0.6) for _ in range(2 if kind == "LSTMCell" else 1)]
        cell = make(3, 5)
        module_case(kind, kind, [3, 5], cell, lambda x, s: cell(x, tuple(s) if isinstance(s, list) else s), [randn(4, 3), state if kind == "LSTMCell" else state[0]])
        module_case(f"{kind} from nothing", kind, [3, 5], cell, lambda x: cell(x), [randn(4, 3)])


def make_attention():
    nn = torch.nn

    def attention(q, k, v, mask=None, is_causal=False, scale=None):
        scores = q @ k.transpose(-1, -2) * (scale if scale is not None else q.shape[-1] ** -0.5)
        if is_causal:
            scores = scores.masked_fill(~torch.ones(scores.shape[-2:], dtype=torch.bool).tril(), -math.inf)
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
        return torch.softmax(scores, -1) @ v

    some = lambda *shape: (torch.rand(shape, generator=generator) < 0.7) | (torch.arange(shape[-1]) == 0)
    for note, shapes, options in (
        ("", [(2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 2)], {}), ("", [(4, 5), (3, 5), (3, 5)], {"scale": 0.3}), ("", [(3, 4, 2), (3, 4, 2), (3, 4, 2)], {"is_causal": True}),
        ("more keys than queries", [(1, 2, 3, 2), (1, 2, 5, 2), (1, 2, 5, 3)], {"is_causal": True}), ("more queries than keys", [(1, 2, 5, 2), (1, 2, 3, 2), (1, 2, 3, 3)], {"is_causal": True}),
        ("padding", [(2, 2, 4, 3), (2, 2, 5, 3), (2, 2, 5, 3)], {"mask": some(2, 1, 1, 5)}), ("bool", [(2, 2, 4, 3), (2, 2, 5, 3), (2, 2, 5, 3)], {"mask": some(4, 5)}),
        ("added", [(2, 2, 4, 3), (2, 2, 5, 3), (2, 2, 5, 3)], {"mask": randn(2, 4, 5)}), ("added and causal", [(2, 2, 2, 4, 3)] * 3, {"mask": randn(2, 1, 1, 1, 4), "is_causal": True})):
        case("attention", "scaledDotProductAttention", attention, *[randn(*s) for s in shapes], note=note, wrt=(0, 1, 2), hvp=True, **options)

    def multihead(name, shapes, options, masks=None, weights=False):
        module = nn.MultiheadAttention(6, 3, **options)
        masks = masks or {}
        inputs = [randn(*s) for s in shapes]
        masked = {("attn_mask" if k == "is_causal" else k): (~torch.ones(shapes[0][1 if options.get("batch_first") else 0], shapes[1][1 if options.get("batch_first") else 0], dtype=torch.bool).tril() if k == "is_causal" else m) for k, m in masks.items()}
        run = lambda q, k, v: [y for y in module(q, k, v, need_weights=weights, **masked) if y is not None]
        module_case(f"MultiheadAttention {name}", "MultiheadAttention", [6, 3, options], module, run, inputs, inputs + [{**masks, **({"need_weights": True} if weights else {})}])

    first = {"batch_first": True}
    multihead("of itself", [(5, 2, 6)] * 3, {})
    multihead("batch first, with weights", [(2, 4, 6), (2, 5, 6), (2, 5, 6)], first, weights=True)
    multihead("without bias, causal", [(2, 5, 6)] * 3, {**first, "bias": False}, {"is_causal": True})
    multihead("with padding", [(5, 2, 6)] * 3, {}, {"key_padding_mask": torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 1]]).bool()})
    multihead("with forbidden places", [(2, 4, 6), (2, 3, 6), (2, 3, 6)], first, {"attn_mask": ~some(4, 3)}, weights=True)
    multihead("with a mask for each head, added, and padding", [(2, 4, 6), (2, 3, 6), (2, 3, 6)], first, {"attn_mask": randn(6, 4, 3), "key_padding_mask": torch.tensor([[0, 0, 1], [0, 0, 0]]).bool()})
    multihead("without a batch", [(4, 6), (3, 6), (3, 6)], {})

    def layer(kind, name, options, shapes, masks=None, stored=None, kwargs=None):
        made = getattr(nn, kind)(6, 2, dim_feedforward=9, dropout=0.0, **options)
        inputs = [randn(*s) for s in shapes]
        masked = kwargs if kwargs is not None else masks or {}
        module_case(f"{kind} {name}", kind, [6, 2, {"dim_feedforward": 9, "dropout": 0, **options}], made, lambda *xs: made(*xs, **masked), inputs, inputs + ([stored or masks] if masks or stored else []))

    causal = ~torch.ones(5, 5, dtype=torch.bool).tril()
    padding = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 1]]).bool()
    layer("TransformerEncoderLayer", "as it comes", {}, [(5, 2, 6)])
    layer("TransformerEncoderLayer", "gelu, norms first, padding", {"batch_first": True, "norm_first": True, "activation": "gelu"}, [(2, 5, 6)], {"src_key_padding_mask": padding})
    layer("TransformerEncoderLayer", "causal", {"batch_first": True}, [(2, 5, 6)], stored={"is_causal": True}, kwargs={"src_mask": causal})
    layer("TransformerDecoderLayer", "as it comes", {}, [(5, 2, 6), (4, 2, 6)])
    layer("TransformerDecoderLayer", "norms first, causal, with padded memory", {"batch_first": True, "norm_first": True}, [(2, 5, 6), (2, 5, 6)],
          stored={"tgt_is_causal": True, "memory_key_padding_mask": padding}, kwargs={"tgt_mask": causal, "memory_key_padding_mask": padding})
