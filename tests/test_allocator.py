from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from lightface.allocator import keep_freed_memory, return_unused_memory

PROBE = """
import ctypes
from lightface.allocator import keep_freed_memory
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
from lightface.allocator import return_unused_memory
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
