"""The MTCNN cascade: propose windows over an image pyramid, refine them, locate the landmarks.

Written around `MtcnnNetworks`. It finds the faces that facenet-pytorch's `MTCNN.detect` finds (tests hold them against
each other, with equal settings and with the defaults) in a fraction of its time: pixels are means of halved
photographs, P-Net sees sheets of one size, only the peaks among its windows go on, and the networks compute in half
precision where the processor does. Photographs of different sizes share a batch, and a photograph without a face is an
empty list.

Source: Zhang, Zhang, Li and Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded
Convolutional Networks", 2016.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from lightface.detection.candidates import (
    Candidates,
    IndexArray,
    find_peaks,
    join,
    make_square,
    move_edges,
    place_points,
    place_windows,
    suppress_nested,
    suppress_overlapping,
)
from lightface.detection.networks import LOCATE_CROP_PX, REFINE_CROP_PX, STRIDE_PX, WINDOW_PX, MtcnnNetworks
from lightface.detection.pyramid import Halves, Level, cut_crops, draw_sheets, halve, lay_out, plan_levels, render_level
from lightface.detection.turns import (
    CLEAR_SCORE,
    QUARTERS,
    Sighting,
    needs_turn,
    quarters_of,
    rate_views,
    settle,
    turn_back,
)
from lightface.errors import check_flag, check_number
from lightface.records import ByteArray, DetectedFace, FloatArray

# Where the long side is limited, the smallest face looked for has this size in a photograph reduced to the limit.
_SMALLEST_REDUCED_FACE_PX = 20.0

# Photographs go through together until they have this many pixels: halves and scores take some 100 MB.
_PIXELS_AT_ONCE = 25_000_000

# Where two windows of a photograph overlap by more than this (intersection over union), the worse one is dropped. At
# the authors' 0.7 R-Net judges more of them, and finds no face more.
_MAX_OVERLAP_PROPOSED = 0.6


@dataclass(frozen=True, slots=True)
class MtcnnSettings:
    """What the cascade looks for. Raises ConfigError for a value out of range."""

    # Of 67 portraits reduced step by step, looking for 30 px finds all faces of 28 px, 66 of 24 px and 65 of 20 px.
    # Smaller ones say little to LightCNN, whose frame shows a face of some 100 px.
    min_face_size_px: float = 30.0  # of a face in the photograph; much smaller ones are not looked for
    min_face_share: float = 0.0  # the same as a share of the photograph's shorter side, 0..1; the larger one counts

    # P-Net's score, 0..1. At the authors' 0.6 R-Net judges half as many windows again, and finds no face more.
    propose_threshold: float = 0.7
    refine_threshold: float = 0.7  # R-Net's score, 0..1: the authors' value

    # A face's score is O-Net's of the face and its mirror image, see `turns.rate_views`.
    det_threshold: float = 0.9  # the score that a face must exceed, 0..1

    # In photographs with a longer side, faces are looked for that have 20 px when it is reduced to this one. Of the
    # same portraits on a canvas of 12 megapixels, 1600 finds all with 36 px (1280: 65) and 66 with 32 px (1280: 54).
    max_side_px: int | None = 1600  # None looks for faces of `min_face_size_px` in every photograph

    turns: bool = True  # photographs on their side or head are searched in the turn that shows their faces upright

    pyramid_factor: float = 0.709  # from one level to the next, 0..1: half the area, the authors' value

    def __post_init__(self) -> None:
        check_number("min_face_size_px", self.min_face_size_px, low=0, ends=False)
        for name in ("min_face_share", "propose_threshold", "refine_threshold", "det_threshold"):
            check_number(name, getattr(self, name), low=0, high=1)
        if self.max_side_px is not None:
            check_number("max_side_px", self.max_side_px, low=WINDOW_PX)
        check_number("pyramid_factor", self.pyramid_factor, low=0, high=1, ends=False)
        check_flag("turns", self.turns)


class MtcnnDetector:
    """A `FaceDetector`: MTCNN on one device.

    `precision` is fp32, bf16, fp16, or auto, see `usual_precision`. Raises DeviceError for a device or precision that
    this machine does not have.
    """

    def __init__(
        self,
        device: str | torch.device = "cpu",
        settings: MtcnnSettings = MtcnnSettings(),
        *,
        precision: str = "auto",
    ) -> None:
        self.settings = settings
        self._networks = MtcnnNetworks(device, precision=precision)

    def with_settings(self, settings: MtcnnSettings) -> MtcnnDetector:
        """A detector that looks for something else with the same networks."""
        other = copy.copy(self)
        other.settings = settings
        return other

    @property
    def device(self) -> torch.device:
        """Where the networks run."""
        return self._networks.device

    def detect(self, image_rgb: ByteArray) -> list[DetectedFace]:
        """Find the faces of one (H, W, 3) uint8 RGB image, largest box first."""
        return self.detect_batch([image_rgb])[0]

    def detect_batch(
        self, images_rgb: Sequence[ByteArray], *, reductions: Sequence[int] | None = None
    ) -> list[list[DetectedFace]]:
        """Find the faces of several images of any sizes; one list an image, in their order."""
        reductions = reductions or [1] * len(images_rgb)
        faces: list[list[DetectedFace]] = []
        for part in _split_by_pixels(images_rgb):
            pairs = zip(images_rgb[part], reductions[part], strict=True)
            faces += self._search_turns([halve(image, reduction=reduction) for image, reduction in pairs])
        return faces

    def relocate(self, image_rgb: ByteArray, faces: Sequence[DetectedFace]) -> list[DetectedFace]:
        """The same faces, their landmarks located anew in a photograph of which a reduced one was searched."""
        boxes_px = np.array([face.box_px for face in faces], np.float32).reshape(-1, 4)
        scores = np.array([face.score for face in faces], np.float32)
        candidates = Candidates(boxes_px, scores, np.zeros(len(faces), np.int64))
        inside, _, landmarks_px = self._view([halve(image_rgb)], candidates, QUARTERS)
        relocated = list(faces)
        for index, by_turn in zip(inside.tolist(), landmarks_px, strict=True):
            relocated[index] = replace(faces[index], landmarks_px=by_turn[quarters_of(faces[index])])
        return relocated

    def _search_turns(self, photos: Sequence[Halves]) -> list[list[DetectedFace]]:
        """The faces of each photograph, whichever way up it is."""
        found = self._search(photos)
        if not self.settings.turns:
            return [settle(sightings) for sightings in found]
        upright = [list(sightings) for sightings in found]
        for turn in QUARTERS[1:]:
            again = [index for index, sightings in enumerate(upright) if needs_turn(sightings, turn)]
            # A large photograph is turned at the size at which it is searched: whole, it would be in memory twice.
            steps = [self._smallest_px(photos[index].size) / LOCATE_CROP_PX for index in again]
            turned = [photos[index].turned(turn, step=step) for index, step in zip(again, steps, strict=True)]
            seen = self._search(turned) if turned else []
            for index, photo, sightings in zip(again, turned, seen, strict=True):
                found[index] += [replace(one, turn=turn).turned_back(photo.size) for one in sightings]
        return [settle(sightings) for sightings in found]

    def _search(self, photos: Sequence[Halves]) -> list[list[Sighting]]:
        """What is found in each photograph as it lies."""
        candidates = self._locate(photos, self._refine(photos, self._propose(photos)))
        # O-Net looks again, at the face's own box: moved or enlarged by some percent, a photograph then shifts the
        # landmarks by 1.1 % of the distance of the eyes instead of 1.5 % (facenet-pytorch: 1.8 %).
        inside, logits, landmarks_px = self._view(photos, candidates, QUARTERS[:1])
        scores = 1 / (1 + np.exp(-logits[:, 0]))
        passed = np.flatnonzero(scores > self.settings.det_threshold)
        candidates, scores, landmarks_px = candidates.take(inside[passed]), scores[passed], landmarks_px[passed, 0]
        views = np.full((len(passed), len(QUARTERS)), -np.inf, np.float32)
        views[:, 0] = logits[passed, 0]
        doubtful = np.flatnonzero(scores < CLEAR_SCORE)
        if self.settings.turns and len(doubtful):
            views[doubtful, 1:] = self._view(photos, candidates.take(doubtful), QUARTERS[1:])[1]
        found: list[list[Sighting]] = [[] for _ in photos]
        for place, image in enumerate(candidates.image_index.tolist()):
            box_px = tuple(candidates.boxes_px[place].tolist())
            face = DetectedFace(box_px, landmarks_px[place], float(scores[place]))
            found[image].append(Sighting(face, views[place]))
        return found

    def _propose(self, photos: Sequence[Halves]) -> Candidates:
        levels = [level for index, halves in enumerate(photos) for level in self._plan_levels(index, halves.size)]
        pieces = lay_out([level.drawn_size for level in levels])
        sheets = draw_sheets([render_level(photos[level.image_index], level) for level in levels], pieces)
        scores, offsets = self._networks.propose(sheets)
        found, found_offsets = [], [np.empty((0, 4), np.float32)]
        for piece in pieces:
            level = levels[piece.level_index]
            own_scores = scores[piece.sheet_index][piece.windows_on_sheet]
            peaks = find_peaks(own_scores, threshold=self.settings.propose_threshold)
            first = (np.array(piece.corner_px) - level.border_px) // STRIDE_PX
            boxes = place_windows(peaks + first, scale=level.scale)
            index = np.full(len(peaks), level.image_index)
            found.append(Candidates(boxes, own_scores[peaks[:, 0], peaks[:, 1]], index))
            found_offsets.append(offsets[piece.sheet_index][piece.windows_on_sheet][peaks[:, 0], peaks[:, 1]])
        candidates = join(found)
        kept = suppress_overlapping(candidates, candidates.image_index, max_overlap=_MAX_OVERLAP_PROPOSED)
        moved = move_edges(candidates.boxes_px[kept], np.concatenate(found_offsets)[kept], extra_px=0)
        return candidates.take(kept).with_boxes(make_square(moved))

    def _plan_levels(self, index: int, size: tuple[int, int]) -> list[Level]:
        smallest_px, factor = self._smallest_px(size), self.settings.pyramid_factor
        return plan_levels(index, size, smallest_face_px=smallest_px, factor=factor)

    def _smallest_px(self, size: tuple[int, int]) -> float:
        """The smallest face that is looked for in a photograph of that size."""
        height, width = size
        smallest_px = max(self.settings.min_face_size_px, self.settings.min_face_share * min(height, width))
        if self.settings.max_side_px is None:
            return smallest_px
        reduction = max(height, width) / self.settings.max_side_px
        return max(smallest_px, min(smallest_px, _SMALLEST_REDUCED_FACE_PX) * reduction)

    def _refine(self, photos: Sequence[Halves], candidates: Candidates) -> Candidates:
        inside, crops = cut_crops(photos, candidates, size_px=REFINE_CROP_PX)
        scores, offsets = self._networks.refine(crops)
        passed = np.flatnonzero(scores > self.settings.refine_threshold)
        candidates = candidates.take(inside[passed]).with_scores(scores[passed])
        kept = suppress_overlapping(candidates, candidates.image_index, max_overlap=0.7)
        moved = move_edges(candidates.boxes_px[kept], offsets[passed][kept])
        return candidates.take(kept).with_boxes(make_square(moved))

    def _locate(self, photos: Sequence[Halves], candidates: Candidates) -> Candidates:
        inside, crops = cut_crops(photos, candidates, size_px=LOCATE_CROP_PX)
        scores, offsets, _ = self._networks.locate(crops)
        passed = np.flatnonzero(scores > self.settings.det_threshold)
        candidates = candidates.take(inside[passed]).with_scores(scores[passed])
        candidates = candidates.with_boxes(move_edges(candidates.boxes_px, offsets[passed]))
        return candidates.take(suppress_nested(candidates, max_overlap=0.7))

    def _view(
        self, photos: Sequence[Halves], faces: Candidates, turns: Sequence[int]
    ) -> tuple[IndexArray, FloatArray, FloatArray]:
        """O-Net's view of each face and its mirror image, the crop turned by each of T `turns`.

        Returns the indices of the K faces that overlap their image, (K, T) logits, and (K, T, 5, 2) landmarks in pixels
        of the image.
        """
        squares = faces.with_boxes(make_square(faces.boxes_px))
        inside, crops = cut_crops(photos, squares, size_px=LOCATE_CROP_PX)
        turned = np.stack([np.rot90(crops, turn, axes=(1, 2)) for turn in turns], axis=1)
        pairs = np.stack([turned, turned[:, :, :, ::-1]], axis=2)
        scores, _, points = self._networks.locate(pairs.reshape(-1, *crops.shape[1:]))
        logits, landmarks = rate_views(scores.reshape(-1, 2), points.reshape(-1, 2, 5, 2))
        landmarks = landmarks.reshape(len(inside), len(turns), 5, 2)
        landmarks_px = np.stack(
            [
                place_points(squares.boxes_px[inside], turn_back(landmarks[:, place], turn, (1, 1)))
                for place, turn in enumerate(turns)
            ],
            axis=1,
        )
        return inside, logits.reshape(len(inside), len(turns)), landmarks_px


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
