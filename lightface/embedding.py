"""Aligned faces -> unit vectors, on the device and in the precision that this machine offers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lightface.errors import DeviceError, check_count
from lightface.machine import DTYPES, usual_precision
from lightface.models.registry import WeightsRecord
from lightface.models.weights import LoadedModel
from lightface.records import AlignedFace, FloatArray, Frame, InputContract

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")

# On the CPU the maps of 64 faces are too large for its caches and for the allocator to keep: a third slower than 8.
_BATCH_SIZE: Final = {"cpu": 8, "mps": 64, "cuda": 256}
# ITU-R BT.601, the weights behind OpenCV's and Pillow's grey.
_GREY_OF_RGB: Final = np.array([0.299, 0.587, 0.114], dtype=np.float32)


class Embedder:
    """Turns aligned faces into embeddings of unit length.

    `device`: auto (cuda, then mps, then cpu), or one of them, "cuda:1" included. `precision`: fp32, bf16, fp16 or
    auto, which is bf16 on a CPU that multiplies it natively, fp16 on cuda and fp32 elsewhere; `self.precision` is never
    auto. A row in bf16 or fp16 has a cosine of at least 0.999 to that in fp32. `flip`: whether the embedding of the
    mirror image is added before scaling to unit length, which doubles the work; None: as the weights' record says. The
    other choice makes embeddings of another `model_id`, for which the record knows no thresholds. `batch_size`: how
    many faces go through the network at once; None: as many as suit the device.
    DeviceError when the device or precision is not to be had, ConfigError for a batch that is no number.
    """

    def __init__(
        self,
        model: LoadedModel,
        *,
        device: str = "auto",
        precision: str = "auto",
        flip: bool | None = None,
        batch_size: int | None = None,
    ) -> None:
        if batch_size is not None:
            check_count("batch_size", batch_size)
        self.record: WeightsRecord = model.record.with_flip(flip)
        self.device = resolve_device(device)
        self.precision = _resolve_precision(precision, self.device)
        self.batch_size = _BATCH_SIZE[self.device.type] if batch_size is None else batch_size
        # A copy, since moving a module changes it for everybody who holds it. The weights are converted here once:
        # autocast would do it anew for each batch.
        self._dtype = DTYPES[self.precision]
        self._network = copy.deepcopy(model.network).to(self.device, self._dtype)
        self._network.to(memory_format=torch.channels_last)

    @property
    def model_id(self) -> str:
        """Embeddings are comparable where this is equal."""
        return self.record.model_id

    @property
    def frame(self) -> Frame:
        """Where the network wants the face."""
        return self.record.contract.frame

    def embed(self, faces: Sequence[AlignedFace]) -> FloatArray:
        """(N, 256) float32 rows of unit length, in the order of the faces; (0, 256) for none."""
        if not faces:
            return np.zeros((0, self.record.embedding_size), np.float32)
        parts = [
            self._embed_batch(faces[start : start + self.batch_size]) for start in range(0, len(faces), self.batch_size)
        ]
        # Fetched together, so that a GPU is given the next batch while it works on this one.
        rows: FloatArray = torch.cat(parts).cpu().numpy()
        return rows

    @torch.inference_mode()
    def _embed_batch(self, faces: Sequence[AlignedFace]) -> Tensor:
        """(N, 256) float32 rows of unit length, on the device; on a GPU perhaps still in the making."""
        images = torch.from_numpy(to_network_input(faces, self.record.contract)).to(self._dtype)
        images = images.contiguous(memory_format=torch.channels_last)
        if self.device.type == "cuda":
            images = images.pin_memory().to(self.device, non_blocking=True)  # copied while the processor goes on
        else:
            images = images.to(self.device)
        embeddings: Tensor = self._network(images).float()
        if self.record.flip:
            embeddings = embeddings + self._network(images.flip(-1)).float()
        return F.normalize(embeddings)


def to_network_input(faces: Sequence[AlignedFace], contract: InputContract) -> FloatArray:
    """(N, C, size, size) float32 in the channels, order and scale of the contract.

    ValueError when a face was aligned into another frame: its embedding would be wrong without a sign of it.
    """
    for face in faces:
        if face.frame != contract.frame:
            raise ValueError(f"a face aligned into {face.frame} was given to weights for {contract.frame}")
    pixels = np.stack([face.pixels for face in faces])
    if contract.order == "grey":
        # Rounded, as the training crops were stored in whole grey levels.
        channels = np.rint(pixels @ _GREY_OF_RGB)[:, None]
    else:
        ordered = pixels if contract.order == "rgb" else pixels[..., ::-1]
        channels = ordered.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(channels, dtype=np.float32) * np.float32(contract.scale)


def resolve_device(name: str) -> torch.device:
    """The device that a name stands for on this machine; DeviceError when it is not there."""
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise DeviceError(f"unknown device {name!r}; choose from {', '.join(DEVICES)}") from error
    count = {"cpu": 1, "cuda": torch.cuda.device_count() if cuda else 0, "mps": int(mps)}.get(device.type)
    if count is None:
        raise DeviceError(f"unknown device {name!r}; choose from {', '.join(DEVICES)}")
    if not 0 <= (device.index or 0) < count or str(device) != name:  # torch takes cuda:256 for cuda:0
        raise DeviceError(f"device {name!r} is not available on this machine; use `device` cpu or auto")
    return device


def _resolve_precision(name: str, device: torch.device) -> str:
    if name not in PRECISIONS:
        raise DeviceError(f"unknown precision {name!r}; choose from {', '.join(PRECISIONS)}")
    if name == "auto":
        return usual_precision(device)
    if name == "fp16" and device.type == "cpu":
        raise DeviceError("fp16 on the CPU is slow and inexact; use `precision` bf16 or fp32")
    return name
