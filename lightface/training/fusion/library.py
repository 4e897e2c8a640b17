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
from lightface.files import check_own_folder, check_owned, make_folder, read_regular, write_private
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
    name = hashlib.sha256(b"|".join(made_of)).hexdigest()[:16]
    try:
        _close_to_others(folder)
        path = _find_built(folder, name) or _build(compiler, folder, name)
        return ctypes.CDLL(str(path))
    except OSError as error:
        reason = f"{error.strerror or error}: {error.filename or folder}"
        raise ConfigError(f"cannot keep or load kernels ({reason}); set compile = false") from error


def _close_to_others(folder: Path) -> None:
    """See to it that nobody else can put a library there, which would run as ours. OSError where somebody can."""
    make_folder(folder)
    for place in (folder, folder.parent):
        check_own_folder(place)


def _find_built(folder: Path, name: str) -> Path | None:
    """The library that was built of this, if its contents are still those that its name tells."""
    for path in sorted(folder.glob(f"{name}-*.so")):
        check_owned(path)
        if path == folder / _name(name, read_regular(path)):
            return path
    return None


def _name(name: str, built: bytes) -> str:
    return f"{name}-{hashlib.sha256(built).hexdigest()[:32]}.so"


def _build(compiler: str, folder: Path, name: str) -> Path:
    with tempfile.TemporaryDirectory() as workshop:
        result = Path(workshop) / "kernels.so"
        command = [compiler, *_FLAGS, str(_SOURCE), "-o", str(result)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            reason = next((line for line in run.stderr.splitlines() if "error" in line), run.stderr[:200])
            raise ConfigError(f"{compiler} cannot build the kernels ({reason}); set compile = false")
        built = result.read_bytes()
    path = folder / _name(name, built)
    with write_private(path) as file:
        file.write(built)
    return path
