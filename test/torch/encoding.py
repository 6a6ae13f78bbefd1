"""Writes test values as JSON, for make.py and differential.py. PyTorch computes in float64 on values that are exact in float32."""
import math

import torch


def exact(values):
    """Values with 3 decimals, rounded to float32, as float64."""
    return torch.round(torch.as_tensor(values, dtype=torch.float64) * 1000).div(1000).float().double()


def number(v, digits=8):
    if isinstance(v, float) and not math.isfinite(v):
        return "NaN" if math.isnan(v) else "Infinity" if v > 0 else "-Infinity"
    v = float(f"{v:.{digits}g}") if isinstance(v, float) else v
    return int(v) if isinstance(v, float) and v.is_integer() and abs(v) < 1e15 and (v != 0 or math.copysign(1, v) > 0) else v


def brief(v):
    """The shortest decimal that rounds to this number in float32. The number is a float32 stored as float64."""
    for digits in range(1, 9):
        if float(torch.tensor(float(f"{v:.{digits}g}")).float()) == v:
            return float(f"{v:.{digits}g}")
    return v


def encode_tensor(v, short):
    data = v.reshape(-1).tolist()
    if v.dtype == torch.bool:
        return {"shape": list(v.shape), "data": [int(b) for b in data], "dtype": "bool"}
    if v.dtype in (torch.int32, torch.int64):
        return {"shape": list(v.shape), "data": data, "dtype": "int32"}
    if v.dtype == torch.uint8:
        return {"shape": list(v.shape), "data": data, "dtype": "uint8"}
    return {"shape": list(v.shape), "data": [number(brief(d), 9) if short else number(d) for d in data]}


def camel(name):
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
