"""The models of bench/models in PyTorch. Their parameters are in the same order, so that they take nabla's weights."""
import json

import torch
import torch.nn as nn
import torch.nn.functional as F


def mlp(*sizes):
    layers = [layer for a, b in zip(sizes, sizes[1:]) for layer in (nn.ReLU(), nn.Linear(a, b))]
    return nn.Sequential(*layers[1:])


def conv(a, b, kernel, stride=1, groups=1):
    return [nn.Conv2d(a, b, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(b)]


class Block(nn.Module):
    def __init__(self, a, b, stride):
        super().__init__()
        self.first, self.second = nn.Sequential(*conv(a, b, 3, stride)), nn.Sequential(*conv(b, b, 3))
        self.shortcut = nn.Sequential(*conv(a, b, 1, stride)) if stride > 1 else nn.Identity()

    def forward(self, x):
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class InvertedResidual(nn.Module):
    def __init__(self, a, b, stride, expansion):
        super().__init__()
        hidden = a * expansion
        widen = [*conv(a, hidden, 1), nn.ReLU6()] if expansion > 1 else []
        self.layers = nn.Sequential(*widen, *conv(hidden, hidden, 3, stride, hidden), nn.ReLU6(), *conv(hidden, b, 1))
        self.is_residual = stride == 1 and a == b

    def forward(self, x):
        y = self.layers(x)
        return y + x if self.is_residual else y


class Images(nn.Module):
    """Convolutional layers, the mean over the pixels, and a linear layer."""

    def __init__(self, features, channels, classes):
        super().__init__()
        self.features, self.linear = nn.Sequential(*features), nn.Linear(channels, classes)

    def forward(self, x):
        return self.linear(self.features(x).mean((2, 3)))


def resnet(stem, classes):
    stems = {"large": [*conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], "small": [*conv(3, 64, 3), nn.ReLU()]}
    blocks = [block for i in range(4) for block in (Block(64 << max(0, i - 1), 64 << i, 2 if i else 1), Block(64 << i, 64 << i, 1))]
    return Images([*stems[stem], *blocks], 512, classes)


def mobilenet(classes):
    groups = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    layers, a = [*conv(3, 32, 3, 2), nn.ReLU6()], 32
    for expansion, b, count, stride in groups:
        for i in range(count):
            layers.append(InvertedResidual(a, b, 1 if i else stride, expansion))
            a = b
    return Images([*layers, *conv(a, 1280, 1), nn.ReLU6()], 1280, classes)


class Lstm(nn.Module):
    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        self.recurrent, self.linear = nn.LSTM(inputs, hidden), nn.Linear(hidden, outputs)

    def forward(self, x):
        return self.linear(self.recurrent(x)[1][0][0])


class Tokens(nn.Module):
    """A GPT (causal, with norms before the blocks and an output layer) or a BERT (with norms after the blocks)."""

    def __init__(self, layers, width, heads, vocabulary, steps, causal):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(steps, width)
        options = dict(dropout=0.0, activation=F.gelu, batch_first=True, norm_first=causal)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(width, heads, 4 * width, **options) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, vocabulary, bias=False) if causal else None
        self.mask = ~torch.ones(steps, steps, dtype=torch.bool).tril() if causal else None

    def forward(self, x):
        y = self.tokens(x) + self.positions(torch.arange(x.shape[1]))
        if self.linear is None:
            y = self.norm(y)
        for layer in self.layers:
            y = layer(y, src_mask=self.mask)
        return y if self.linear is None else self.linear(self.norm(y)).flatten(0, 1)


class Generator(Tokens):
    """A GPT that processes one token. `past` holds the keys and values of the tokens before it, one pair per layer."""

    def forward(self, x, *past):
        at, present = past[0].shape[2] if past else 0, []
        y = self.tokens(x) + self.positions(torch.arange(at, at + x.shape[1]))
        for i, layer in enumerate(self.layers):
            y = y + self.attend(layer.self_attn, layer.norm1(y), past[2 * i : 2 * i + 2], present)
            y = y + layer.linear2(F.gelu(layer.linear1(layer.norm2(y))))
        return (self.linear(self.norm(y)).flatten(0, 1), *present)

    def attend(self, attention, x, past, present):
        batch, steps, width = x.shape
        heads = F.linear(x, attention.in_proj_weight, attention.in_proj_bias).reshape(batch, steps, 3, attention.num_heads, -1)
        q, k, v = heads.permute(2, 0, 3, 1, 4)
        if past:
            k, v = (torch.cat(pair, 2) for pair in zip(past, (k, v)))
        present += [k, v]
        scores = q @ k.transpose(-1, -2) / attention.head_dim**0.5
        if steps > 1:
            scores = scores + torch.full((steps, steps), float("-inf")).triu(1)
        return attention.out_proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, steps, width))


class BagOfWords(nn.Module):
    def __init__(self, vocabulary, width, outputs):
        super().__init__()
        self.embedding, self.linear = nn.Embedding(vocabulary, width), nn.Linear(width, outputs)

    def forward(self, words):
        return self.linear(self.embedding(words).mean(1))


# The models, by the beginnings of their names.
MODELS = {
    "MLP 784-128-10": lambda: mlp(784, 128, 10),
    "LSTM 28→128": lambda: Lstm(28, 128, 10),
    "BERT 6×384": lambda: Tokens(6, 384, 6, 30522, 128, False),
    "GPT 6×384": lambda: Generator(6, 384, 6, 256, 128, True),
    "ResNet-18 224": lambda: resnet("large", 1000),
    "MobileNetV2 224": lambda: mobilenet(1000),
    "ResNet-18 32": lambda: resnet("small", 10),
    "GPT 6×256": lambda: Tokens(6, 256, 8, 256, 128, True),
    "MLP 784-512-10": lambda: mlp(784, 512, 10),
    "tabular MLP": lambda: mlp(100, 256, 128, 1),
    "embedding 50000": lambda: BagOfWords(50000, 128, 10),
}


def read(file):
    """Reads the parameters and the arguments that models.mjs wrote. Images and convolutions get PyTorch's order, channels first."""
    with open(file + ".json") as lines, open(file + ".bin", "rb") as data:
        parts, content = json.load(lines), bytearray(data.read())
    at, lists = 0, []
    for key in ("parameters", "args"):
        lists.append([])
        for part in parts[key]:
            count = int(torch.tensor(part["shape"]).prod())
            values = torch.frombuffer(content, dtype=getattr(torch, part["dtype"]), count=count, offset=at).reshape(part["shape"])
            at += 4 * count
            values = values.movedim(-1, 1).contiguous() if values.dim() == 4 else values
            lists[-1].append(values.long() if part["dtype"] == "int32" else values)
    return lists


class Model:
    """Runs or trains a model. Exports a model that only runs to FILE.onnx, and its inputs to FILE.input."""

    def __init__(self, task):
        kind, _, name = task["name"].partition(": ")
        self.model = next(make for start, make in MODELS.items() if name.startswith(start))()
        parameters, (self.x, *targets) = read(task["file"])
        self.past = []
        with torch.no_grad():
            for p, value in zip(self.model.parameters(), parameters, strict=True):
                p.copy_(value)
        if kind == "train":
            self.target = targets[0]
            self.loss = F.mse_loss if self.target.is_floating_point() else F.cross_entropy
            self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
            self.run = self.train
        else:
            self.reset = None
            self.model.eval()
            self.run = self.infer
            if targets:
                with torch.no_grad():
                    self.past = [x.contiguous() for x in self.model(targets[0])[1:]]
            self.export(task["file"])

    def reset(self):
        """Training continues from round to round."""

    def infer(self):
        with torch.no_grad():
            return self.model(self.x, *self.past)[0] if self.past else self.model(self.x)

    def train(self):
        self.optimizer.zero_grad()
        loss = self.loss(self.model(self.x), self.target)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def export(self, file):
        inputs = [self.x, *self.past]
        torch.onnx.export(self.model, tuple(inputs), file + ".onnx", opset_version=16)
        with open(file + ".input", "wb") as data, open(file + ".input.json", "w") as lines:
            for x in inputs:
                data.write(x.numpy().tobytes())
            json.dump([{"type": "float32" if x.is_floating_point() else "int64", "shape": x.shape} for x in inputs], lines)
