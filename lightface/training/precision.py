"""The number format of the forward pass."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from lightface.errors import DeviceError


def resolve_precision(name: str, device: torch.device) -> str:
    """fp32, bf16 or fp16 for a recipe's `precision`; DeviceError when the device cannot train in it."""
    if name == "auto":
        if device.type != "cuda":
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if name == "fp16" and device.type != "cuda":
        raise DeviceError("fp16 trains on cuda only; use precision bf16 or fp32")
    return name


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """A context in which convolutions and matrix products run in that precision."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16 if precision == "bf16" else torch.float16)
