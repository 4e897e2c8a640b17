from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import torch

from lightface.machine import (
    count_cores,
    keep_freed_memory,
    multiplies_bf16,
    processor_features,
    return_unused_memory,
    usual_precision,
)


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


@pytest.mark.parametrize(
    ("device", "multiplies", "precision"),
    [
        ("cpu", True, "bf16"),
        ("cpu", False, "fp32"),
        ("cuda:1", True, "fp16"),
        ("mps", True, "fp32"),
    ],
)
def test_the_usual_precision(monkeypatch: pytest.MonkeyPatch, device: str, multiplies: bool, precision: str) -> None:
    monkeypatch.setattr("lightface.machine.multiplies_bf16", lambda: multiplies)
    assert usual_precision(torch.device(device)) == precision


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be kept to a core here")
def test_only_cores_that_may_be_used_count() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert count_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert count_cores() == len(allowed)


def test_processors_can_be_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "amx_bf16": False}, raising=False)
    assert processor_features() == f"{platform.machine()} amx_bf16=False avx2=True"
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert processor_features() == platform.machine()


FORK = """if True:
    import multiprocessing, sys
    import numpy as np
    import torch
    torch.set_num_threads(2)
    from lightface.pipeline import load_pipeline
    pipeline = load_pipeline(precision="fp32")
    picture = np.random.default_rng(0).integers(0, 256, (500, 500, 3), np.uint8)
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()
    embed = lambda: answers.put(len(list(pipeline.embed_paths([picture] * 2))))
    embed()
    child = fork.Process(target=embed)
    child.start()
    child.join(60)
    waits = child.is_alive()
    child.kill()
    sys.exit("the child waits for ever" if waits else None)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs forks")
def test_a_pipeline_works_after_a_fork() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr


PROBE = """
import ctypes
from lightface.machine import keep_freed_memory
assert keep_freed_memory()
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]
libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
before = libc.mallinfo2()
block = libc.malloc(64 << 20)
held = libc.mallinfo2()
libc.free(block)
after = libc.mallinfo2()
from lightface.machine import return_unused_memory
def resident_kb():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])
blocks = [ctypes.create_string_buffer(b"x" * (32 << 20)) for _ in range(4)]
full = resident_kb()
last = ctypes.create_string_buffer(1 << 20)
del blocks
return_unused_memory()
assert resident_kb() < full - 100_000, (full, resident_kb())
print(held.hblks - before.hblks, held.arena - before.arena >= 60 << 20, after.arena == held.arena)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_large_blocks_are_not_mapped_and_are_kept() -> None:
    # In a process of its own, which then is the only one to be set so.
    result = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["0", "True", "True"]


def test_nothing_happens_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_freed_memory() is False
    return_unused_memory()
