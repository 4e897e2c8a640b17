"""What this machine computes with: cores, the precision that suits them, and its memory."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache
from typing import Final

import torch

DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}  # by precision

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


# Keep glibc from giving large blocks of memory back between two steps.
#
# A network's activations are tens of megabytes each. glibc maps blocks of that size one by one and unmaps them when
# they are freed, so that the kernel clears the same pages again and again: a third of a training step of LightCNN-9
# on two cores (128 px: 36 images/s so, 47 with the setting below).


# Of malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_NEVER = -1


def keep_freed_memory() -> bool:
    """Have this process reuse the memory that it frees, at the price of holding on to its peak; whether it could.

    Nothing happens outside Linux with glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, _NEVER))


def return_unused_memory() -> None:
    """Give the kernel the pages that lie free in the heap; call it now and then after `keep_freed_memory`.

    Without, blocks of changing sizes splinter the heap: at 64 px one process of a training run grew to 11 GB in nine
    minutes, and held 1.6 GB with a call every 20 steps. Nothing happens outside Linux with glibc.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
