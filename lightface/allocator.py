"""Keep glibc from giving large blocks of memory back between two steps.

A network's activations are tens of megabytes each. glibc maps blocks of that size one by one and unmaps them when
they are freed, so that the kernel clears the same pages again and again: a third of a training step of LightCNN-9 on
two cores (128 px: 36 images/s so, 47 with the setting below).
"""

from __future__ import annotations

import ctypes
import platform

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
