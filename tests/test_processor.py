from __future__ import annotations

import pytest
import torch

from lightface.processor import multiplies_bf16


@pytest.mark.parametrize(
    ("capabilities", "multiplies"),
    [
        ({"avx512_bf16": True}, True),
        ({"avx512_bf16": False, "amx_bf16": True}, True),
        ({"avx512_f": True, "avx512_bf16": False}, False),
        ({"neon": True, "bf16": True}, False),  # not measured: torch may have no kernels for it
    ],
)
def test_the_processor_is_asked(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], multiplies: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert multiplies_bf16() is multiplies


def test_an_older_torch_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert multiplies_bf16() is False
