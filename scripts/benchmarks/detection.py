"""Detection: ours with its defaults against facenet-pytorch's MTCNN as its README calls it, on one thread.

Both are given the decoded photograph. Its faces of 40 px and more are the ones that count, where it scores them above
our own threshold; how many of all its boxes we find stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from benchmarks.figures import Context, Row, race
from lightface.detection import MtcnnDetector, MtcnnSettings
from lightface.errors import LightfaceError
from lightface.images import load_photo
from lightface.records import ByteArray, DetectedFace

_SIDES_PX = (640, 1280, 2560, 4000)
_SMALLEST_FACE_PX = 40


def measure(context: Context) -> list[Row]:
    photos = _load(context.photos, count=4 if context.quick else 60)
    rows: list[Row] = []
    threads = cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    for side_px in _SIDES_PX[:2] if context.quick else _SIDES_PX:
        canvases = [_paste(photos, side_px, seed) for seed in range(1 if context.quick else 3)]
        resized = [_resize(photo, side_px) for photo in photos[:: len(photos) if context.quick else 10]]
        rows += _measure_size(context, side_px, timed=[*resized[:2], canvases[0]], others=[*resized[2:], *canvases[1:]])
    torch.set_num_threads(context.threads)
    cv2.setNumThreads(threads)
    return rows


def _measure_size(
    context: Context, side_px: int, *, timed: Sequence[ByteArray], others: Sequence[ByteArray]
) -> list[Row]:
    ours = {
        "lightface": MtcnnDetector(),  # in the precision that suits the processor
        "lightface fp32": MtcnnDetector(precision="fp32"),
    }

    def build_ours(name: str) -> Callable[[], object]:
        return lambda: [ours[name].detect(image) for image in timed]

    def build_facenet() -> Callable[[], object]:
        detect = _facenet()
        return lambda: [detect(image) for image in timed]

    rows = race(
        {
            "lightface": lambda: build_ours("lightface"),
            "lightface fp32": lambda: build_ours("lightface fp32"),
            "facenet-pytorch": build_facenet,
        },
        part="detection",
        case=f"{side_px} px, 1 thread",
        per="photo",
        ours="lightface",
        context=context,
        units=len(timed),
    )
    if any(row.contender == "facenet-pytorch" and row.note for row in rows):
        return rows
    detect = _facenet()
    expected = [detect(image) for image in (*timed, *others)]
    figures = {
        name: _compare([detector.detect(image) for image in (*timed, *others)], expected)
        for name, detector in ours.items()
    }
    return [replace(row, extra=figures.get(row.contender, {})) for row in rows]


def _facenet() -> Callable[[ByteArray], list[DetectedFace]]:
    from facenet_pytorch import MTCNN

    mtcnn = MTCNN()

    def detect(image_rgb: ByteArray) -> list[DetectedFace]:
        boxes, scores, landmarks = mtcnn.detect(Image.fromarray(image_rgb), landmarks=True)
        if boxes is None:
            return []
        width, height = image_rgb.shape[1::-1]
        clipped = np.clip(boxes.astype(float), 0, (width, height, width, height))
        return [
            DetectedFace(tuple(box.tolist()), points.astype(np.float32), float(score))
            for box, score, points in zip(clipped, scores, landmarks, strict=True)
        ]

    return detect


@dataclass(slots=True)
class _Tally:
    """How many of somebody else's faces were found."""

    expected: int = 0
    found: int = 0

    def add(self, was_found: bool) -> None:
        self.expected += 1
        self.found += was_found

    @property
    def share(self) -> float:
        return self.found / self.expected if self.expected else float("nan")


def _compare(found: Sequence[list[DetectedFace]], expected: Sequence[list[DetectedFace]]) -> Mapping[str, float]:
    sure, every = _Tally(), _Tally()
    errors: list[float] = []
    for own, theirs in zip(found, expected, strict=True):
        for other in theirs:
            if other.size_px < _SMALLEST_FACE_PX:
                continue
            nearest = max(own, key=lambda face: _overlap(face, other), default=None)
            is_found = nearest is not None and _overlap(nearest, other) > 0.5
            every.add(is_found)
            if other.score > MtcnnSettings().det_threshold:
                sure.add(is_found)
            if nearest is not None and is_found:
                eyes_px = np.linalg.norm(other.landmarks_px[0] - other.landmarks_px[1])
                distances = np.linalg.norm(nearest.landmarks_px - other.landmarks_px, axis=1)
                errors.append(float(distances.mean() / eyes_px))
    middle, high = np.percentile(errors, (50, 95)) if errors else (float("nan"), float("nan"))
    return {
        "its faces": sure.expected,
        "found": sure.share,
        "of all its boxes": every.share,
        "landmarks off by eye distances (median)": float(middle),
        "landmarks off (95 %)": float(high),
    }


def _overlap(face: DetectedFace, other: DetectedFace) -> float:
    """Intersection over union."""
    a, b = np.reshape(face.box_px, (2, 2)), np.reshape(other.box_px, (2, 2))
    shared = np.clip(np.minimum(a[1], b[1]) - np.maximum(a[0], b[0]), 0, None).prod()
    return float(shared / ((a[1] - a[0]).prod() + (b[1] - b[0]).prod() - shared))


def _load(paths: Sequence[Path], *, count: int) -> list[ByteArray]:
    """Up to `count` photographs from all over the list."""
    photos = []
    for path in paths[:: max(1, len(paths) // count)]:
        try:
            photos.append(load_photo(path).image_rgb)
        except LightfaceError:
            continue
    return photos[:count]


def _resize(image_rgb: ByteArray, side_px: int) -> ByteArray:
    height, width = image_rgb.shape[:2]
    ratio = side_px / max(height, width)
    how = cv2.INTER_CUBIC if ratio > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(image_rgb, (round(width * ratio), round(height * ratio)), interpolation=how), np.uint8)


def _paste(photos: Sequence[ByteArray], side_px: int, seed: int) -> ByteArray:
    """A canvas, 4 by 3, full of photographs in rows of many heights."""
    random = np.random.default_rng(seed)
    canvas = np.full((side_px * 3 // 4, side_px, 3), 90, np.uint8)
    top = 0
    while top < len(canvas):
        height, left = int(random.integers(150, 500)), 0
        while left < side_px:
            photo = photos[int(random.integers(len(photos)))]
            small = _resize(photo, round(height * max(1, photo.shape[1] / photo.shape[0])))
            part = canvas[top : top + height, left : left + small.shape[1]]
            part[:] = small[: part.shape[0], : part.shape[1]]
            left += small.shape[1]
        top += height
    return canvas
