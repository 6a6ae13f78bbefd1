#!/usr/bin/python3
"""Writes *.safetensors: networks that PyTorch trained, with inputs and outputs, for test/formats/pytorch.test.ts.

    /usr/bin/python3 test/formats/make.py      # Debian's python3-torch, 1.13

Deterministic: one seed, one thread. This script writes the format itself, as https://github.com/huggingface/safetensors#format
describes it, because Debian has no package for it.
"""
import json
import pathlib
import struct

import torch
from torch import nn

torch.set_num_threads(1)
torch.manual_seed(20261126)
HERE = pathlib.Path(__file__).parent
NAMES = {
    torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32",
    torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def raw(tensor):
    view = torch.int16 if tensor.dtype == torch.bfloat16 else tensor.dtype
    return tensor.detach().contiguous().view(view).numpy().tobytes()


def save(path, tensors, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, tensor in tensors.items():
        begin = len(data)
        data += raw(tensor)
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    (HERE / path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def train(model, x, labels, steps):
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
    return float(loss)


def trained(path, model, x, classes, steps=150):
    labels = torch.randint(0, classes, (len(x),))
    loss = train(model, x, labels, steps)
    model.eval()
    with torch.no_grad():
        outputs = model(x)
    tensors = {**model.state_dict(), "test.inputs": x, "test.outputs": outputs}
    save(path, tensors, {"loss": f"{loss:.6f}", "torch": torch.__version__})


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 8, num_layers=2, batch_first=True, bidirectional=True)
        self.fc_out = nn.Linear(16, 3)

    def forward(self, x):
        return self.fc_out(self.lstm(x)[0][:, -1])


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
        self.gru = nn.GRU(8, 6, batch_first=True)
        self.norm = nn.LayerNorm(6)
        self.group_norm = nn.GroupNorm(2, 6)
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        return self.fc(self.group_norm(self.norm(self.gru(self.encoder(self.embedding(x)))[0][:, -1])))


trained("mlp.safetensors", nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 4)), torch.randn(24, 12), 4)
trained(
    "cnn.safetensors",
    nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU()),
        nn.ConvTranspose2d(8, 4, 2, stride=2), nn.ReLU(), nn.MaxPool2d(3), nn.Flatten(), nn.Linear(4 * 4 * 5, 16), nn.ReLU(), nn.Linear(16, 5),
    ),
    torch.randn(12, 3, 8, 10),
    5,
)  # fmt: skip
trained("lstm.safetensors", Reader(), torch.randn(10, 7, 6), 3)
trained("mixed.safetensors", Mixed(), torch.randint(0, 10, (10, 7)), 3)
trained(
    "normed.safetensors",
    nn.Sequential(nn.Conv2d(1, 3, 2), nn.Flatten(), nn.BatchNorm1d(18), nn.ReLU(), nn.LayerNorm(18), nn.Linear(18, 4)),
    torch.randn(12, 1, 3, 4),
    4,
)

values = torch.tensor([0.0, -0.0, 1.0, -2.5, 65504.0, 6e-8, 1e-5, 3.140625, float("inf"), float("-inf"), float("nan")])
whole = torch.tensor([[0, 1, -1], [127, -128, 5]])
types = {str(t).removeprefix("torch."): values.to(t) for t in (torch.float64, torch.float16, torch.bfloat16, torch.float32)}
types |= {str(t).removeprefix("torch."): whole.to(t) for t in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)}
# The float16 and bfloat16 values, as PyTorch converts them to float32.
types |= {"float16.expected": values.half().float(), "bfloat16.expected": values.bfloat16().float(), "bool": whole > 0}
save("types.safetensors", types, {})
