"""Runs native PyTorch on one thread, in its own process. serve.mjs describes the protocol."""
import base64
import ctypes
import json
import os
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

from torch_models import Model

STEPS, WARM_UP, SAMPLE = 50, 0.3, 0.2e-3
now = time.process_time if os.environ.get("CPU_TIME") else time.perf_counter


def send(message):
    print(json.dumps(message), flush=True)


def decode(text, dtype=torch.float32):
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=dtype) if text else torch.zeros(0, dtype=dtype)


class Matmul:
    reset = None

    def __init__(self, task):
        m, k, n = task["m"], task["k"], task["n"]
        self.a, self.b = decode(task["a"]).reshape(m, k), decode(task["b"]).reshape(k, n)

    def run(self):
        return self.a @ self.b


class Epoch:
    """One epoch of 60,000 digits in the given order, from bytes to updated weights."""

    def __init__(self, task):
        folder, self.batch = task["folder"], task["batch"]
        read = lambda name, header: torch.frombuffer(bytearray(open(os.path.join(folder, name), "rb").read()[header:]), dtype=torch.uint8)
        self.pixels = read("train-images-idx3-ubyte", 16).reshape(-1, task["inputs"])
        self.labels = read("train-labels-idx1-ubyte", 8).long()
        self.order = decode(task["order"], torch.int32).long()
        self.mean, self.deviation, self.lr = task["mean"], task["deviation"], task["lr"]
        self.model = nn.Sequential(nn.Linear(task["inputs"], task["hidden"]), nn.ReLU(), nn.Linear(task["hidden"], task["outputs"]))
        self.initial = [decode(task["start"][name]) for name in ("w1", "b1", "w2", "b2")]

    reset = None  # set below to Step.reset

    def run(self):
        total = 0.0
        for at in range(0, len(self.order), self.batch):
            picks = self.order[at : at + self.batch]
            x = (self.pixels[picks].float() / 255 - self.mean) / self.deviation
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(x), self.labels[picks])
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(picks)
        return total / len(self.order)


class Step:
    def __init__(self, task):
        start = task["start"]
        batch, inputs, hidden, outputs = task["batch"], task["inputs"], task["hidden"], task["outputs"]
        classes = task["kind"] == "classes"
        self.x = decode(start["x"]).reshape(batch, inputs)
        self.target = decode(start["labels"], torch.int32).long() if classes else decode(start["targets"]).reshape(batch, outputs)
        first, last = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
        self.model = nn.Sequential(first, nn.ReLU(), last) if classes else nn.Sequential(first, nn.Tanh(), last, nn.Sigmoid())
        self.loss = F.cross_entropy if classes else F.mse_loss
        self.initial = [decode(start[name]) for name in ("w1", "b1", "w2", "b2")]
        self.lr = task["lr"]

    def reset(self):
        with torch.no_grad():
            for p, value in zip(self.model.parameters(), self.initial):
                p.copy_(value.reshape(p.shape))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=self.lr)

    def run(self):
        self.optimizer.zero_grad()
        loss = self.loss(self.model(self.x), self.target)
        loss.backward()
        self.optimizer.step()
        return loss.item()


class Cnn:
    """The CNN of networks.ts. The weights that it receives are channels last."""

    def __init__(self, task):
        start, batch, size, (first, second) = task["start"], task["batch"], task["size"], task["channels"]
        self.x = decode(start["x"]).reshape(batch, 1, size, size)
        self.target = decode(start["labels"], torch.int32).long()
        self.model = nn.ModuleList([nn.Conv2d(1, first, 3, padding=1), nn.Conv2d(first, second, 3, padding=1), nn.Linear((size // 2) ** 2 * second, task["outputs"])])
        shaped = [decode(p["values"]).reshape(p["shape"]) for p in task["params"]]
        self.initial = [p.movedim(-1, 1) if p.dim() == 4 else p for p in shaped]
        # In PyTorch, channels come first in a flattened image.
        self.initial[4] = self.initial[4].reshape(-1, size // 2, size // 2, second).movedim(-1, 1).flatten(1)
        self.lr = task["lr"]

    def run(self):
        self.optimizer.zero_grad()
        conv1, conv2, linear = self.model
        h = F.relu(conv1(self.x))
        h = F.max_pool2d(F.relu(conv2(h)), 2)
        loss = F.cross_entropy(linear(h.flatten(1)), self.target)
        loss.backward()
        self.optimizer.step()
        return loss.item()


class Recurrent:
    """The recurrent networks of networks.ts."""

    def __init__(self, task):
        start, batch, steps, inputs = task["start"], task["batch"], task["steps"], task["inputs"]
        self.x = decode(start["x"]).reshape(steps, batch, inputs)
        self.target = decode(start["labels"], torch.int32).long()
        layer = nn.LSTM if task["kind"] == "lstm" else nn.GRU
        self.model = nn.ModuleList([layer(inputs, task["hidden"]), nn.Linear(task["hidden"], task["outputs"])])
        self.initial = [decode(p["values"]) for p in task["params"]]
        self.lr = task["lr"]

    def run(self):
        self.optimizer.zero_grad()
        recurrent, linear = self.model
        last = recurrent(self.x)[1]
        last = last[0] if isinstance(last, tuple) else last
        loss = F.cross_entropy(linear(last[0]), self.target)
        loss.backward()
        self.optimizer.step()
        return loss.item()


class Transformer:
    """The transformer of networks.ts."""

    def __init__(self, task):
        start, batch, steps, width = task["start"], task["batch"], task["steps"], task["width"]
        self.x = decode(start["x"]).reshape(batch, steps).long()
        self.target = decode(start["labels"], torch.int32).long()
        layers = [nn.TransformerEncoderLayer(width, task["heads"], task["feedforward"], dropout=0.0, batch_first=True) for _ in range(task["layers"])]
        self.model = nn.ModuleList([nn.Embedding(task["outputs"], width), *layers, nn.Linear(width, task["outputs"])])
        self.mask = ~torch.ones(steps, steps, dtype=torch.bool).tril()
        self.initial = [decode(p["values"]) for p in task["params"]]
        self.lr = task["lr"]

    def run(self):
        self.optimizer.zero_grad()
        embedding, *layers, linear = self.model
        y = embedding(self.x)
        for layer in layers:
            y = layer(y, self.mask)
        loss = F.cross_entropy(linear(y).flatten(0, 1), self.target)
        loss.backward()
        self.optimizer.step()
        return loss.item()


Epoch.reset = Transformer.reset = Cnn.reset = Recurrent.reset = Step.reset
NETWORKS = {"cnn": Cnn, "lstm": Recurrent, "gru": Recurrent, "transformer": Transformer}


def open_job(request):
    suite = request["open"]
    kinds = {"matmul": Matmul, "step": NETWORKS.get(request.get("kind"), Step), "epoch": Epoch, "models": Model}
    job = kinds[suite](request)
    reply = {}
    if job.reset:
        job.reset()
        reply["losses"] = [job.run() for _ in range(1 if suite == "epoch" else request.get("runs", STEPS))]
        if suite == "epoch":
            return job, 1, reply
    else:
        reply["result"] = base64.b64encode(job.run().numpy().tobytes()).decode()
    least, calls, before = float("inf"), 0, now()
    begin = before
    while before - begin < WARM_UP or calls < 3:
        job.run()
        after = now()
        if after > before:
            least = min(least, after - before)
        before, calls = after, calls + 1
    return job, max(1, int(SAMPLE / least + 1)), reply


def measure(job, repeat, seconds):
    if job.reset:
        job.reset()
    times, before = [], now()
    begin = before
    while not times or before - begin < seconds:
        for _ in range(repeat):
            job.run()
        after = now()
        times.append((after - before) / repeat * 1e3)
        before = after
    return {"median": statistics.median(times), "least": min(times), "samples": len(times)}


def blas():
    """
    Names the BLAS that computes matrix products and the instructions that it uses. Debian's reference BLAS is ten times slower than
    OpenBLAS.
    """
    with open("/proc/self/maps") as maps:
        paths = {line.split()[-1] for line in maps if "blas" in line}
    for path in paths:
        if "openblas" in path:
            corename = ctypes.CDLL(path).openblas_get_corename
            corename.restype = ctypes.c_char_p
            core = corename().decode()
            return f"OpenBLAS {'AVX-512' if core in ('SkylakeX', 'Cooperlake', 'Sapphirerapids') else core}"
    return "SLOW reference BLAS" if any("libblas" in path for path in paths) else "own BLAS"


torch.set_num_threads(1)
send({"name": f"PyTorch {torch.__version__.split('a')[0]}, {blas()}"})
job, repeat = None, 1
for line in sys.stdin:
    request = json.loads(line)
    try:
        if "open" in request:
            job, repeat, reply = open_job(request)
            send(reply)
        elif "round" in request:
            send(measure(job, repeat, request["round"] / 1e3))
        else:
            job = None
            send({})
    except Exception as error:  # the table reports any error
        send({"error": str(error)})
