"""How far a face can be trusted, measured on the photograph: one score, and what it is made of.

The score is a product of shares, each 1 for a face with nothing to complain of. The ends of each share were set on
199 research portraits of 25 people and degraded copies of them; on crops of 35 other people it lowered errors as well.
On the portraits, rejecting the worst tenth lowers the share of a person's pairs refused at FAR 1e-2 by 4.7 points
(`pytest -s tests/evaluation/test_rejects.py`, run 12 of weights/RUNS.md). Further measures of pose from the landmarks
(how close the eyes are for the height of the face, how low the nose is) gained nothing on top. The score ranks faces;
it is not a probability.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import cv2
import numpy as np
import numpy.typing as npt

from lightface.records import AlignedFace, ByteArray, DetectedFace, FloatArray

# About the size at which the face stands in LightCNN's frame: what is lost below it is lost to the network.
_PATCH_PX = 96

_FULL_EYE_DISTANCE_PX = 40.0  # in LightCNN's frame a frontal face has them some 40 px apart
_BLUR_BLIND, _BLUR_FREE = 0.02, 0.06  # nine portraits of ten are sharper than 0.11
_SHAKE_BLIND, _SHAKE_FREE = 0.32, 0.55  # 199 crops of 200 are above 0.54; of 120 shaken by 10 px, half are below 0.32
# The second derivative in a direction, from those across, down and mixed: a row for each of 8 directions.
_ALONG = np.array([(math.cos(a) ** 2, math.sin(a) ** 2, math.sin(2 * a)) for a in np.linspace(0, math.pi, 9)[:-1]])
_NO_CONTRAST, _FULL_CONTRAST = 35.0, 100.0  # grey levels; nine portraits of ten have more than 115, 1,217 crops 63
_DETAIL_PX = 9  # side of the windows that show detail or none
_DETAIL = 0.005  # least spread of a window that does, as a share of the face's contrast
_COVERED_FREE, _COVERED_BLIND = 0.1, 0.27  # 199 crops of 200 are below 0.2; a black bar from mouth to chin is 0.25
_DARK, _BRIGHT = 75, 180  # mean grey levels; nine portraits of ten lie between
_YAW_FREE, _YAW_BLIND = 0.4, 1.2  # a full profile is about 1
_YAW_NARROWS = 0.8  # how much closer a turned face's eyes look
# From eyes to mouth as a multiple of the eye distance: 99 of 100 of 1,168 faces lie between 0.85 and 1.25.
_SHORT_BLIND, _SHORT_FREE, _LONG_FREE, _LONG_BLIND = 0.65, 0.8, 1.25, 1.4


class Flaw(StrEnum):
    """What is wrong with a face, in words that continue 'the face is ...'."""

    SMALL = "too small"
    BLURRED = "blurred"
    DARK = "too dark"
    BRIGHT = "overexposed"
    FLAT = "without contrast"
    COVERED = "covered or without detail in large parts"
    DISTORTED = "of unusual proportions"
    TURNED = "turned away"
    DOUBTFUL = "hardly to be told from the background"
    UNRECOGNISABLE = "unrecognisable"

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return _REMEDIES[self]


_REMEDIES = {
    Flaw.SMALL: "use a larger photograph",
    Flaw.BLURRED: "use a sharper photograph",
    Flaw.DARK: "use a photograph with more light on the face",
    Flaw.BRIGHT: "use a photograph with less light on the face",
    Flaw.FLAT: "use a photograph with better light on the face",
    Flaw.COVERED: "use a photograph that shows the whole face",
    Flaw.DISTORTED: "use a photograph that is neither stretched nor squeezed, and shows the face from the front",
    Flaw.TURNED: "use a photograph that shows the face from the front",
    Flaw.DOUBTFUL: "use a clearer photograph",
    Flaw.UNRECOGNISABLE: "use a clear photograph of the whole face, upright",
}


@dataclass(frozen=True, slots=True)
class FaceQuality:
    """What was measured on one face."""

    eye_distance_px: float  # in the photograph
    sharpness: float  # fine detail as a share of all contrast, where it is least: 0 none, 0.15 an ordinary portrait
    evenness: float  # that, as a share of the detail where it is most: 0.8 an ordinary portrait, less if shaken
    contrast: float  # grey levels between the darkest twentieth and the brightest
    covered: float  # share of the face, 0..1, that shows no detail: black, white, or behind something plain
    proportion: float  # from eyes to mouth in eye distances, as it would be without yaw: about 1
    yaw: float  # nose tip off the face's middle in half eye distances: 0 frontal, 1 profile, > 0 image-right
    roll_degrees: float  # -180..180: the line between the eyes, > 0 clockwise
    det_score: float  # 0..1: the detector's
    score: float  # 0..1: the whole
    flaw: Flaw | None  # what lowers the score most; None at a score of 1

    def recognised(self, share: float) -> FaceQuality:
        """The quality with one more factor of its score: what `Recognisability` says of the embedding (0..1)."""
        flaw = Flaw.UNRECOGNISABLE if share < self.score else self.flaw
        return replace(self, score=self.score * share, flaw=flaw)


def measure_quality(image_rgb: ByteArray, face: DetectedFace) -> FaceQuality:
    """Measure `face` in its (H, W, 3) uint8 RGB photograph.

    Roll is reported but costs nothing, because alignment takes it out.
    """
    eye_a, eye_b, nose, mouth_a, mouth_b = face.landmarks_px.astype(np.float64)
    eye_distance_px = math.dist(eye_a, eye_b)
    across = (eye_b - eye_a) / max(eye_distance_px, 1e-9)
    middle = (eye_a + eye_b + mouth_a + mouth_b) / 4
    yaw = float((nose - middle) @ across) / max(eye_distance_px / 2, 1e-9)
    patch = _cut_patch(image_rgb, face.landmarks_px)
    sharpness, evenness = _measure_sharpness(patch)
    contrast = _measure_contrast(patch)
    covered = _measure_covered(patch, contrast)
    height = math.dist((eye_a + eye_b) / 2, (mouth_a + mouth_b) / 2) / max(eye_distance_px, 1e-9)
    proportion = height / math.hypot(1, _YAW_NARROWS * yaw)
    light = _name_light(patch)
    shares = [
        (Flaw.SMALL, _ramp(eye_distance_px, 0, _FULL_EYE_DISTANCE_PX)),
        (Flaw.BLURRED, _ramp(sharpness, _BLUR_BLIND, _BLUR_FREE)),
        (Flaw.BLURRED, _ramp(evenness, _SHAKE_BLIND, _SHAKE_FREE)),
        (light or Flaw.FLAT, _ramp(contrast, _NO_CONTRAST, _FULL_CONTRAST)),
        (light or Flaw.COVERED, _ramp(covered, _COVERED_BLIND, _COVERED_FREE)),
        (Flaw.DISTORTED, _ramp(proportion, _SHORT_BLIND, _SHORT_FREE)),
        (Flaw.DISTORTED, _ramp(proportion, _LONG_BLIND, _LONG_FREE)),
        (Flaw.TURNED, _ramp(abs(yaw), _YAW_BLIND, _YAW_FREE)),
        (Flaw.DOUBTFUL, face.score),
    ]
    worst, least = min(shares, key=lambda named: named[1])
    return FaceQuality(
        eye_distance_px=eye_distance_px,
        sharpness=sharpness,
        evenness=evenness,
        contrast=contrast,
        covered=covered,
        proportion=proportion,
        yaw=yaw,
        roll_degrees=math.degrees(math.atan2(across[1], across[0])),
        det_score=face.score,
        score=math.prod(share for _, share in shares),
        flaw=worst if least < 1 else None,
    )


def measure_crop(crop: AlignedFace) -> FaceQuality:
    """Measure a face that came already aligned, of which the photograph is not known.

    Sharpness, contrast and cover are measured; size, pose, proportions and detection are taken to be flawless. So the
    score is an upper bound, and tells less.
    """
    frame = crop.frame
    middle, half_eyes = frame.center_column_px, _FULL_EYE_DISTANCE_PX / 2
    eyes, mouth = frame.eye_row_px, frame.mouth_row_px
    landmarks_px = np.array(
        [
            (middle - half_eyes, eyes),
            (middle + half_eyes, eyes),
            (middle, (eyes + mouth) / 2),
            (middle - half_eyes, mouth),
            (middle + half_eyes, mouth),
        ],
        np.float32,
    )
    size = float(frame.size_px)
    return measure_quality(crop.pixels, DetectedFace((0.0, 0.0, size, size), landmarks_px, 1.0))


def _cut_patch(image_rgb: ByteArray, landmarks_px: FloatArray) -> npt.NDArray[np.float64]:
    """The square between brows and chin, (96, 96) grey 0..255; black where the face lies outside the photograph."""
    eyes, mouth = landmarks_px[:2].mean(axis=0), landmarks_px[3:].mean(axis=0)
    reach_px = 1.1 * max(math.dist(*landmarks_px[:2]), math.dist(eyes, mouth))
    center = (eyes + mouth) / 2
    height, width = image_rgb.shape[:2]
    left, top = np.clip(np.floor(center - reach_px), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(center + reach_px), 0, (width, height)).astype(int)
    if left >= right or top >= bottom:
        return np.zeros((_PATCH_PX, _PATCH_PX))
    grey = cv2.cvtColor(np.ascontiguousarray(image_rgb[top:bottom, left:right]), cv2.COLOR_RGB2GRAY)
    how = cv2.INTER_AREA if min(grey.shape) > _PATCH_PX else cv2.INTER_LINEAR
    # Not in whole grey levels: their steps would pass for detail in a blurred face.
    patch = cv2.resize(grey.astype(np.float64), (_PATCH_PX, _PATCH_PX), interpolation=how)
    return patch.astype(np.float64, copy=False)


def _measure_sharpness(patch: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The second derivative in the direction that has least of it; and that as a share of the most.

    A shaken face is sharp across the movement, which would hide it in a measure of all directions.
    """
    across = patch[1:-1, 2:] - 2 * patch[1:-1, 1:-1] + patch[1:-1, :-2]
    down = patch[2:, 1:-1] - 2 * patch[1:-1, 1:-1] + patch[:-2, 1:-1]
    mixed = (patch[2:, 2:] - patch[2:, :-2] - patch[:-2, 2:] + patch[:-2, :-2]) / 4
    spread = np.cov([across.ravel(), down.ravel(), mixed.ravel()], bias=True)
    detail = np.sqrt([along @ spread @ along for along in _ALONG])
    # In proportion to the contrast, so that a dark but sharp face is sharp.
    return float(detail.min() / max(patch.std(), 1.0)), float(detail.min() / max(detail.max(), 1e-9))


def _measure_contrast(patch: npt.NDArray[np.float64]) -> float:
    # Contrast rather than brightness: a dark skin well lit loses nothing.
    darkest, brightest = np.percentile(patch, [5, 95])
    return float(brightest - darkest)


def _measure_covered(patch: npt.NDArray[np.float64], contrast: float) -> float:
    window = (_DETAIL_PX, _DETAIL_PX)
    variance = cv2.blur(patch * patch, window) - cv2.blur(patch, window) ** 2
    inside = slice(_DETAIL_PX // 2, -(_DETAIL_PX // 2))
    least = _DETAIL * max(contrast, 1.0)
    return float(np.mean(variance[inside, inside] < least**2))


def _name_light(patch: npt.NDArray[np.float64]) -> Flaw | None:
    mean = float(patch.mean())
    return Flaw.DARK if mean < _DARK else Flaw.BRIGHT if mean > _BRIGHT else None


def _ramp(value: float, nothing: float, everything: float) -> float:
    """0 at `nothing`, 1 at `everything`, straight between."""
    return min(1.0, max(0.0, (value - nothing) / (everything - nothing)))
