from __future__ import annotations

import pytest
import torch

from lightface.errors import DeviceError
from lightface.training.precision import autocast, resolve_precision


def test_the_cpu(cpu: torch.device) -> None:
    assert resolve_precision("auto", cpu) == "fp32"
    assert resolve_precision("bf16", cpu) == "bf16"
    with pytest.raises(DeviceError, match="fp16 trains on cuda only"):
        resolve_precision("fp16", cpu)


def test_a_gpu_with_and_without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    for supported, expected in ((True, "bf16"), (False, "fp16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=supported: has)
        assert resolve_precision("auto", torch.device("cuda")) == expected


def test_autocast_changes_what_products_run_in(cpu: torch.device) -> None:
    a = torch.ones(2, 2)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with autocast(precision, cpu):
            assert (a @ a).dtype == dtype
