"""What this machine computes with: cores, and the precision that suits them."""

from __future__ import annotations

import os
import platform
from functools import cache
from typing import Final

import torch

# Where products of bf16 are instructions of their own. Elsewhere torch imitates them, slower than fp32.
_BF16_PRODUCTS: Final = ("avx512_bf16", "amx_bf16")


def count_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def survive_forks() -> None:
    """Once: have torch use one thread in processes that are forked from this one.

    Those of this process do not come along, and torch would wait for them for ever; as in `multiprocessing` by fork,
    and where a server loads a pipeline before it forks its workers.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def usual_precision(device: torch.device) -> str:
    """What precision "auto" means when networks are used: fp16 on cuda, bf16 on a CPU that multiplies it, else fp32."""
    if device.type == "cuda":
        return "fp16"
    return "bf16" if device.type == "cpu" and multiplies_bf16() else "fp32"


def multiplies_bf16() -> bool:
    """Whether the processor has instructions for products of bf16; False where torch is too old to tell."""
    if not hasattr(torch.cpu, "get_capabilities"):
        return False
    found = torch.cpu.get_capabilities()
    return any(found.get(name, False) for name in _BF16_PRODUCTS)


def processor_features() -> str:
    """What programs built for this processor can be told apart by: its kind and the instructions that it has."""
    found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return " ".join([platform.machine(), *sorted(f"{name}={value}" for name, value in found.items())])
