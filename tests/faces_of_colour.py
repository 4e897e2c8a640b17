"""Photographs of one colour, in which red says who it is and green how the picture differs from the person's others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from stand_ins import MeanEmbedder, MiddleDetector, paint

from lightface.pipeline import FaceGates, FacePipeline
from lightface.records import AlignedFace, FloatArray

HOSTILE_NAME = "<img src=x onerror=alert(1)>Ann & Bo"


class ColourEmbedder(MeanEmbedder):
    """A direction for each person, with a deviation for each picture; the higher `noise`, the harder the people."""

    device = torch.device("cpu")

    def __init__(self, noise: float = 0.5) -> None:
        super().__init__("colours")
        self.noise = noise

    def embed(self, faces: Sequence[AlignedFace]) -> FloatArray:
        self.count += len(faces)
        rows = np.zeros((len(faces), 256), np.float32)
        for row, face in zip(rows, faces, strict=True):
            red, green, _ = face.pixels[48:80, 48:80].mean(axis=(0, 1))
            person, picture = round(red / 10), round(green / 20)
            direction, deviation = (
                np.random.default_rng(seed).normal(size=256) for seed in (person, 1000 + 100 * person + picture)
            )
            row[:] = direction + self.noise * deviation
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def make_colour_pipeline(noise: float = 0.5) -> FacePipeline:
    return FacePipeline(MiddleDetector(), ColourEmbedder(noise), gates=FaceGates(min_quality=0))


def paint_person(path: Path, person: int, picture: int) -> Path:
    """Picture 1 to 12 of person 1 to 25."""
    return paint(path, colour_of(person, picture))


def colour_of(person: int, picture: int) -> tuple[int, int, int]:
    return 10 * person, 20 * picture, 100


def paint_people(folder: Path, people: int, pictures: int) -> Path:
    """`folder/p001/1.png` and so on."""
    for person in range(1, people + 1):
        for picture in range(1, pictures + 1):
            paint_person(folder / f"p{person:03d}" / f"{picture}.png", person, picture)
    return folder
