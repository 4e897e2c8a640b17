"""What the processor can do."""

from __future__ import annotations

from typing import Final

import torch

# Where products of bf16 are instructions of their own. Elsewhere torch imitates them, slower than fp32.
_BF16_PRODUCTS: Final = ("avx512_bf16", "amx_bf16")


def multiplies_bf16() -> bool:
    """Whether the processor has instructions for products of bf16; False where torch is too old to tell."""
    if not hasattr(torch.cpu, "get_capabilities"):
        return False
    found = torch.cpu.get_capabilities()
    return any(found.get(name, False) for name in _BF16_PRODUCTS)
