"""The machine in words: what a reader needs to judge a figure, and nothing that names the machine itself."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from lightface.machine import count_cores

_PACKAGES = (
    "torch",
    "facenet-pytorch",
    "onnxruntime",
    "openvino",
    "faiss-cpu",
    "dlib-bin",
    "face-recognition-models",
    "opencv-python-headless",
    "numpy",
)


@dataclass(frozen=True, slots=True)
class Machine:
    """Hardware and versions."""

    processor: str
    cores: int  # that this process may use
    gpu: str  # "" for none
    python: str
    versions: Mapping[str, str]  # of the packages that are there

    def describe(self) -> str:
        """One line."""
        parts = [f"{self.processor}, {self.cores} cores", *([self.gpu] if self.gpu else [])]
        return ", ".join(
            [*parts, f"Python {self.python}", *(f"{name} {version}" for name, version in self.versions.items())]
        )


def describe_machine() -> Machine:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return Machine(
        processor=_processor_model(),
        cores=count_cores(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        python=platform.python_version(),
        versions=versions,
    )


def _processor_model() -> str:
    """Linux keeps the model where `platform` does not look."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    found = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(found, "") or platform.processor() or platform.machine()
