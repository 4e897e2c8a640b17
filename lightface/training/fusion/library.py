"""Builds kernels.cpp with the machine's compiler, once, and calls what is in it."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import platformdirs
import torch
from torch import Tensor

from lightface.errors import ConfigError
from lightface.files import write_private
from lightface.processor import processor_features

_SOURCE = Path(__file__).with_name("kernels.cpp")
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-fPIC", "-shared")


def call(kernel: str, *arguments: Tensor | int) -> None:
    """Run a kernel on contiguous CPU tensors, with as many threads as torch uses.

    Its name ends with the type of the activations: see the end of kernels.cpp, whose order the arguments have.
    """
    numbers = [
        ctypes.c_void_p(argument.data_ptr()) if isinstance(argument, Tensor) else ctypes.c_int64(argument)
        for argument in arguments
    ]
    getattr(load_library(), kernel)(*numbers, ctypes.c_int(torch.get_num_threads()))


@cache
def load_library() -> ctypes.CDLL:
    """The kernels, built for this processor unless they are already. ConfigError where that is not possible."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if compiler is None:
        raise ConfigError("compile = true needs the compiler g++ on a CPU, and there is none; set compile = false")
    source = _SOURCE.read_bytes()
    made_of = [source, *(text.encode() for text in (compiler, *_FLAGS, processor_features()))]
    folder = platformdirs.user_cache_path("lightface") / "kernels"
    path = folder / f"{hashlib.sha256(b'|'.join(made_of)).hexdigest()[:16]}.so"
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _build(compiler, path)
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise ConfigError(f"cannot keep or load kernels in {folder} ({error}); set compile = false") from error


def _build(compiler: str, path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "kernels.so"
        command = [compiler, *_FLAGS, str(_SOURCE), "-o", str(built)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            reason = next((line for line in run.stderr.splitlines() if "error" in line), run.stderr[:200])
            raise ConfigError(f"{compiler} cannot build the kernels ({reason}); set compile = false")
        with write_private(path) as file:
            file.write(built.read_bytes())
