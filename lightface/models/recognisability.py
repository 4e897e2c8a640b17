"""Whether an embedding says whose face it is: faces too poor to tell collapse to a few directions and match.

Linear functions of the unit embedding, one for each family of flaws, tell them apart. They belong to the weights, since
each network has directions of its own. Source of the observation: Deng and others, "Harnessing Unrecognizable Faces for
Improving Face Recognition", 2021. Reading them needs no torch.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Self

import numpy as np

from lightface.records import FloatArray


@dataclass(frozen=True, slots=True)
class Recognisability:
    """Says of an embedding how much of the person is left in it.

    A function is `embedding @ direction + offset`: 0 where a flaw of its family has left nobody, 1 where nothing is
    wrong. The lowest counts. ValueError for numbers that cannot be used.
    """

    directions: str  # base64 of (K, D) float16, little-endian: for K families, and embeddings of D numbers
    offsets: tuple[float, ...]  # (K,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "offsets", tuple(self.offsets))  # files have lists
        if not (np.isfinite(self._unpack()).all() and np.isfinite(self.offsets).all()):
            raise ValueError("a recognisability that is no number")

    @classmethod
    def pack(cls, directions: FloatArray, offsets: FloatArray) -> Self:
        """From (K, D) and (K,) numbers."""
        packed = base64.b64encode(directions.astype("<f2").tobytes()).decode("ascii")
        return cls(packed, tuple(round(float(offset), 4) for offset in offsets))

    @property
    def digest(self) -> str:
        """Tells one from another."""
        return hashlib.sha256(f"{self.directions} {self.offsets}".encode()).hexdigest()[:12]

    @property
    def embedding_size(self) -> int:
        """D."""
        return len(self._unpack()[0])

    def measure(self, vectors: FloatArray) -> FloatArray:
        """(N,) shares of (N, D) unit rows: 0 unrecognisable, 1 nothing wrong."""
        values = vectors @ self._unpack().T + np.array(self.offsets, np.float32)
        shares: FloatArray = np.clip(values.min(axis=1), 0, 1)
        return shares

    def _unpack(self) -> FloatArray:
        numbers = np.frombuffer(base64.b64decode(self.directions, validate=True), "<f2").astype(np.float32)
        return numbers.reshape(len(self.offsets), -1)
