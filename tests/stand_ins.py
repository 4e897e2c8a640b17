"""Pictures of one colour, and a detector and an embedder that need no network, so that what is tested is the job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from lightface.embedding import Embedder
from lightface.models.recognisability import Recognisability
from lightface.models.registry import find_weights
from lightface.pipeline import FaceGates, FacePipeline
from lightface.records import AlignedFace, ByteArray, DetectedFace, FloatArray, Frame

LANDMARKS = np.array([[0.35, 0.35], [0.65, 0.35], [0.5, 0.5], [0.38, 0.7], [0.62, 0.7]], np.float32)


class MiddleDetector:
    """Finds one face in the middle of each picture, and a second one in a wide picture; none where all is black."""

    def detect(self, image_rgb: ByteArray) -> list[DetectedFace]:
        if not image_rgb.any():
            return []
        height, width = image_rgb.shape[:2]
        side, count = min(height, width), 2 if width >= 2 * height else 1
        return [
            DetectedFace(
                (index * side, 0.0, (index + 1) * side, side),
                LANDMARKS * side + np.array((index * side, 0), np.float32),
                0.99,
            )
            for index in range(count)
        ]

    def detect_batch(
        self, images_rgb: Sequence[ByteArray], *, reductions: Sequence[int] | None = None
    ) -> list[list[DetectedFace]]:
        return [self.detect(image) for image in images_rgb]

    def relocate(self, image_rgb: ByteArray, faces: Sequence[DetectedFace]) -> list[DetectedFace]:
        return list(faces)


class MeanEmbedder(Embedder):
    """Embeds the mean colour of a crop, and counts what it embeds."""

    def __init__(self, name: str = "stand-in", *, precision: str = "fp32") -> None:
        self.name = name
        self.precision = precision
        self.device = torch.device("cpu")
        self.count = 0
        # To which nothing is unrecognisable: colours are no faces.
        anything = Recognisability.pack(np.zeros((1, 256), np.float32), np.ones(1, np.float32))
        self.record = replace(find_weights("lightcnn9"), recognisability=anything)

    @property
    def model_id(self) -> str:
        return self.name

    @property
    def frame(self) -> Frame:
        return Frame()

    def embed(self, faces: Sequence[AlignedFace]) -> FloatArray:
        self.count += len(faces)
        rows = np.zeros((len(faces), 256), np.float32)
        for row, face in zip(rows, faces, strict=True):
            row[:3] = face.pixels.mean(axis=(0, 1)) + 1
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


class ScriptedDetector:
    """Finds the same faces in every picture."""

    def __init__(self, *faces: DetectedFace) -> None:
        self.faces = list(faces)

    def detect(self, image_rgb: ByteArray) -> list[DetectedFace]:
        return self.faces

    def detect_batch(
        self, images_rgb: Sequence[ByteArray], *, reductions: Sequence[int] | None = None
    ) -> list[list[DetectedFace]]:
        return [self.faces for _ in images_rgb]

    def relocate(self, image_rgb: ByteArray, faces: Sequence[DetectedFace]) -> list[DetectedFace]:
        return list(faces)


def make_pipeline(embedder: MeanEmbedder, **gates: Any) -> FacePipeline:
    """No picture of one colour is of any quality, so that is no gate unless it is asked for."""
    return FacePipeline(MiddleDetector(), embedder, gates=FaceGates(**{"min_quality": 0.0, **gates}))


def paint(path: Path, colour: tuple[int, int, int], *, width: int = 80) -> Path:
    """A picture of 80 px height in one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, 80), colour).save(path)
    return path
