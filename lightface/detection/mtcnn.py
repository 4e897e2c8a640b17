"""The MTCNN cascade: propose windows over an image pyramid, refine them, locate the landmarks.

Written around `MtcnnNetworks`. With equal settings and no long-side limit it finds the faces that
facenet-pytorch's `MTCNN.detect` finds (a test holds them against each other); unlike it, photographs of
different sizes share a batch, and a photograph without a face is an empty list.

Source: Zhang, Zhang, Li and Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded
Convolutional Networks", 2016.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lightface.detection.candidates import (
    Candidates,
    join,
    make_square,
    move_edges,
    place_points,
    place_windows,
    suppress_nested,
    suppress_overlapping,
)
from lightface.detection.networks import LOCATE_CROP_PX, REFINE_CROP_PX, WINDOW_PX, MtcnnNetworks
from lightface.detection.pyramid import (
    Level,
    SumTable,
    cut_crops,
    limit_side,
    plan_levels,
    render_levels,
    sum_areas,
)
from lightface.errors import ConfigError
from lightface.faces import ByteArray, DetectedFace, FloatArray

# Where a photograph is reduced, faces that shrink below this are given up: finding them would mean enlarging
# again what was just reduced, and P-Net is unsure of them anyway.
_SMALLEST_REDUCED_FACE_PX = 20.0

# Photographs go through together until they have this many pixels: some 500 MB of tables and activations.
_PIXELS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class MtcnnSettings:
    """What the cascade looks for. Raises ConfigError for a value out of range."""

    # Measured on 199 portraits reduced step by step, one core: looking for 30 px still finds every face of
    # 24 px and 96 % of those of 20 px, in two thirds of the time that looking for 20 px takes. Smaller faces
    # say little to LightCNN, whose frame shows a face of some 100 px.
    min_face_size_px: float = 30.0  # of a face in the photograph; much smaller ones are not looked for

    propose_threshold: float = 0.6  # P-Net's score, 0..1: the authors' value
    refine_threshold: float = 0.7  # R-Net's score, 0..1: the authors' value

    # A face's score is O-Net's. On the same portraits every face exceeds 0.95, dark or blurred ones 0.9 in 96
    # to 98 of 100. What scores less is mostly hands, fur and folds: thirteen boxes above 0.7, five above 0.9.
    det_threshold: float = 0.9  # the score that a face must exceed, 0..1

    # Photographs with a longer side are searched at this one. At 1600 every face of 40 px is found in a
    # photograph of 12 megapixels, in 0.4 s of one core instead of 0.9 s (at 1280: 73 of 100, in 0.33 s).
    max_side_px: int | None = 1600  # None searches every photograph at its full size

    pyramid_factor: float = 0.709  # from one level to the next, 0..1: half the area, the authors' value

    def __post_init__(self) -> None:
        if not self.min_face_size_px > 0:
            raise ConfigError(f"min_face_size_px is {self.min_face_size_px}; it must be above 0")
        for name in ("propose_threshold", "refine_threshold", "det_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must lie in 0..1")
        if self.max_side_px is not None and self.max_side_px < WINDOW_PX:
            raise ConfigError(f"max_side_px is {self.max_side_px}; it must be {WINDOW_PX} or more, or None")
        if not 0 < self.pyramid_factor < 1:
            raise ConfigError(f"pyramid_factor is {self.pyramid_factor}; it must lie between 0 and 1")


class MtcnnDetector:
    """A `FaceDetector`: MTCNN on one device.

    Raises DeviceError for a device that this machine does not have.
    """

    def __init__(self, device: str | torch.device = "cpu", settings: MtcnnSettings = MtcnnSettings()) -> None:
        self.settings = settings
        self._networks = MtcnnNetworks(device)

    @property
    def device(self) -> torch.device:
        """Where the networks run."""
        return self._networks.device

    def detect(self, image_rgb: ByteArray) -> list[DetectedFace]:
        """Find the faces of one (H, W, 3) uint8 RGB image, largest box first."""
        return self.detect_batch([image_rgb])[0]

    def detect_batch(self, images_rgb: Sequence[ByteArray]) -> list[list[DetectedFace]]:
        """Find the faces of several images of any sizes; one list an image, in their order."""
        searched = [limit_side(image, self.settings.max_side_px) for image in images_rgb]
        faces: list[list[DetectedFace]] = []
        for part in _split_by_pixels(searched):
            faces += self._search(searched[part], images_rgb[part])
        return faces

    def _search(self, searched: Sequence[ByteArray], full: Sequence[ByteArray]) -> list[list[DetectedFace]]:
        tables = [sum_areas(image) for image in searched]
        levels = [
            level
            for index, (small, large) in enumerate(zip(searched, full, strict=True))
            for level in self._plan_levels(index, small, large)
        ]
        candidates = self._refine(tables, self._propose(tables, levels))
        candidates, landmarks = self._locate(tables, candidates)
        return [
            _collect_faces(candidates.take(own), landmarks[own], searched=small, full=large)
            for index, (small, large) in enumerate(zip(searched, full, strict=True))
            for own in [np.flatnonzero(candidates.image_index == index)]
        ]

    def _plan_levels(self, index: int, searched: ByteArray, full: ByteArray) -> list[Level]:
        height, width = searched.shape[:2]
        wanted_px = self.settings.min_face_size_px
        reduced_px = wanted_px * max(height, width) / max(full.shape[:2])
        smallest_px = max(reduced_px, min(wanted_px, _SMALLEST_REDUCED_FACE_PX))
        factor = self.settings.pyramid_factor
        return plan_levels(index, (height, width), smallest_face_px=smallest_px, factor=factor)

    def _propose(self, tables: Sequence[SumTable], levels: Sequence[Level]) -> Candidates:
        # Levels of one size share a pass, whichever photograph they come from.
        groups: dict[tuple[int, int], list[Level]] = {}
        for level in levels:
            groups.setdefault(level.size, []).append(level)
        found, found_offsets = [], [np.empty((0, 4), np.float32)]
        for group in groups.values():
            windows, scores, offsets = self._networks.propose(
                render_levels(tables, group), threshold=self.settings.propose_threshold
            )
            level_index = windows[:, 0]
            scales = np.array([level.scale for level in group], np.float32)[level_index]
            image_index = np.array([level.image_index for level in group])[level_index]
            candidates = Candidates(place_windows(windows[:, 1:], scales), scores, image_index)
            kept = suppress_overlapping(candidates, level_index, max_overlap=0.5)
            found.append(candidates.take(kept))
            found_offsets.append(offsets[kept])
        candidates = join(found)
        kept = suppress_overlapping(candidates, candidates.image_index, max_overlap=0.7)
        moved = move_edges(candidates.boxes_px[kept], np.concatenate(found_offsets)[kept], extra_px=0)
        return candidates.take(kept).with_boxes(make_square(moved))

    def _refine(self, tables: Sequence[SumTable], candidates: Candidates) -> Candidates:
        inside, crops = cut_crops(tables, candidates, size_px=REFINE_CROP_PX)
        scores, offsets = self._networks.refine(crops)
        passed = np.flatnonzero(scores > self.settings.refine_threshold)
        candidates = candidates.take(inside[passed]).with_scores(scores[passed])
        kept = suppress_overlapping(candidates, candidates.image_index, max_overlap=0.7)
        moved = move_edges(candidates.boxes_px[kept], offsets[passed][kept])
        return candidates.take(kept).with_boxes(make_square(moved))

    def _locate(self, tables: Sequence[SumTable], candidates: Candidates) -> tuple[Candidates, FloatArray]:
        inside, crops = cut_crops(tables, candidates, size_px=LOCATE_CROP_PX)
        scores, offsets, points = self._networks.locate(crops)
        passed = np.flatnonzero(scores > self.settings.det_threshold)
        candidates = candidates.take(inside[passed]).with_scores(scores[passed])
        landmarks = place_points(candidates.boxes_px, points[passed])
        candidates = candidates.with_boxes(move_edges(candidates.boxes_px, offsets[passed]))
        kept = suppress_nested(candidates, max_overlap=0.7)
        return candidates.take(kept), landmarks[kept]


def _split_by_pixels(images: Sequence[ByteArray]) -> Iterator[slice]:
    """Runs of images that stay within `_PIXELS_AT_ONCE`, or hold one image."""
    start = pixels = 0
    for index, image in enumerate(images):
        size = image.shape[0] * image.shape[1]
        if index > start and pixels + size > _PIXELS_AT_ONCE:
            yield slice(start, index)
            start, pixels = index, 0
        pixels += size
    if start < len(images):
        yield slice(start, len(images))


def _collect_faces(
    candidates: Candidates, landmarks_px: FloatArray, *, searched: ByteArray, full: ByteArray
) -> list[DetectedFace]:
    """Records in pixels of the full image, largest first, boxes cut off at its edges."""
    full_size = np.array(full.shape[1::-1], np.float32)
    ratio = full_size / np.array(searched.shape[1::-1], np.float32)
    boxes = np.clip(candidates.boxes_px * np.tile(ratio, 2), 0, np.tile(full_size, 2))
    # A landmark is the middle of a pixel, and the middle of the first pixel is at 0.
    landmarks = (landmarks_px + 0.5) * ratio - 0.5
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return [
        DetectedFace(tuple(boxes[index].tolist()), landmarks[index], float(candidates.scores[index]))
        for index in np.argsort(-areas, kind="stable")
    ]
