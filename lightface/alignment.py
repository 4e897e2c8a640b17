"""Turn and scale a face into the frame that a LightCNN was trained with.

Source: the READMEs of LightCNN and `face_db_align.m`, which fix the rows of the eyes and of the mouth.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from lightface.errors import LowQualityError
from lightface.frame import TRAINING_MARGIN_PX
from lightface.records import AlignedFace, ByteArray, DetectedFace, FloatArray, Frame

Matrix = npt.NDArray[np.float64]

# Below this scale the photograph is averaged first: warpAffine reads four pixels for each of its own, however
# many it steps over.
_MIN_WARPED_SCALE = 0.5

# ... to this many times the crop's resolution, leaving the rest to the warp. Of 1, 1.4, 2 and whole divisors,
# 1.4 came closest to crops drawn at 8 times the size and then averaged (39 dB at scale 0.4, against 36).
_AVERAGED_OVERSIZE = 1.4

# A picture that was reduced shows a face finely where it has at least so many pixels for one of the frame ...
_FINE_SCALE = 1.5
_FINE_EYE_DISTANCE_PX = 60.0  # ... and for the 40 px between a frontal face's eyes, which a face turned away has not

# A face whose eyes and mouth are closer than this in the photograph is no more than a dot.
_MIN_EYES_TO_MOUTH_PX = 1.0


def align_face(image_rgb: ByteArray, face: DetectedFace, frame: Frame = Frame()) -> AlignedFace:
    """Cut `face` out of the full-resolution (H, W, 3) uint8 RGB photograph.

    One similarity transform levels the eyes and puts their midpoint and the mouth's on the frame's rows. Where
    it shrinks the face to less than half, the surroundings are averaged down first. What lies outside the
    photograph is black.

    Raises LowQualityError when the mouth is not below the eyes, or the face is outside the photograph.
    """
    matrix = _homogeneous(similarity_to_frame(face.landmarks_px, frame))
    surroundings, matrix = _cut_surroundings(image_rgb, matrix, frame)
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    if scale < _MIN_WARPED_SCALE:
        surroundings, matrix = _average_down(surroundings, matrix, scale * _AVERAGED_OVERSIZE)
    crop_size = (frame.size_px, frame.size_px)
    pixels = cv2.warpAffine(surroundings, matrix[:2], crop_size, flags=cv2.INTER_LINEAR)
    return AlignedFace(pixels=pixels.astype(np.uint8, copy=False), frame=frame, detection=face)


def similarity_to_frame(landmarks_px: FloatArray, frame: Frame = Frame()) -> Matrix:
    """The (2, 3) float64 matrix that takes a photograph's pixels to the crop's.

    `landmarks_px` is (5, 2), as in `DetectedFace`. The eyes come to lie level, the first one left; their
    midpoint comes to the frame's middle column on `eye_row_px`, that of the mouth corners on `mouth_row_px`.

    Raises LowQualityError when the eyes coincide or the mouth is not below them.
    """
    points = np.asarray(landmarks_px, np.float64)
    eye_a, eye_b, mouth_a, mouth_b = points[[0, 1, 3, 4]]
    eyes, mouth = (eye_a + eye_b) / 2, (mouth_a + mouth_b) / 2
    eye_distance_px = math.dist(eye_a, eye_b)
    if not (np.isfinite(points).all() and eye_distance_px > 0):
        raise LowQualityError("the eyes of the face coincide; use a photograph that shows both")
    cos, sin = (eye_b - eye_a) / eye_distance_px
    level = np.array([[cos, sin], [-sin, cos]])  # turns the line between the eyes level
    eyes_to_mouth_px = (level @ (mouth - eyes))[1]
    if eyes_to_mouth_px < _MIN_EYES_TO_MOUTH_PX:
        raise LowQualityError("the mouth of the face is not below its eyes; use an upright photograph")
    linear = level * (frame.mouth_row_px - frame.eye_row_px) / eyes_to_mouth_px
    shift = np.array([frame.center_column_px, frame.eye_row_px]) - linear @ eyes
    return np.column_stack([linear, shift])


def is_coarse(face: DetectedFace, frame: Frame = Frame()) -> bool:
    """Whether a picture, in whose pixels `face` is, has too few of it, where there is a finer one to cut it from."""
    eye_a, eye_b, _, mouth_a, mouth_b = face.landmarks_px
    eyes_to_mouth_px = math.dist((eye_a + eye_b) / 2, (mouth_a + mouth_b) / 2)
    frame_px = frame.mouth_row_px - frame.eye_row_px
    return math.dist(eye_a, eye_b) < _FINE_EYE_DISTANCE_PX or eyes_to_mouth_px < _FINE_SCALE * frame_px


def accept_aligned(image_rgb: ByteArray, frame: Frame = Frame()) -> AlignedFace:
    """Take a square (H, H, 3) uint8 RGB crop that already is aligned, without looking for a face.

    A training crop (144 px for a frame of 128, the eyes on row 48) is cut to its middle; any other size is
    taken for the frame itself and resized to it.

    Raises LowQualityError when the crop is not square.
    """
    height, width = image_rgb.shape[:2]
    if height != width:
        raise LowQualityError(f"an aligned crop is square, this is {width}x{height}; let lightface align it")
    size = frame.size_px
    if height == size + 2 * TRAINING_MARGIN_PX:
        middle = slice(TRAINING_MARGIN_PX, TRAINING_MARGIN_PX + size)
        pixels = image_rgb[middle, middle].copy()
    elif height == size:
        pixels = image_rgb
    else:
        how = cv2.INTER_AREA if height > size else cv2.INTER_LINEAR
        pixels = cv2.resize(image_rgb, (size, size), interpolation=how).astype(np.uint8, copy=False)
    return AlignedFace(pixels=pixels, frame=frame, detection=None)


def _cut_surroundings(image_rgb: ByteArray, matrix: Matrix, frame: Frame) -> tuple[ByteArray, Matrix]:
    """The part of the photograph that the frame covers, and the matrix from that part's pixels to the crop.

    It also keeps warpAffine from photographs wider than 32767 px, which it refuses.
    """
    height, width = image_rgb.shape[:2]
    # One pixel more than the frame, for the interpolation at its edge.
    reach = np.array([-1, frame.size_px])
    corners = np.array([(x, y, 1) for x in reach for y in reach]).T
    covered = (np.linalg.inv(matrix) @ corners)[:2]
    left, top = np.maximum(np.floor(covered.min(axis=1)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(covered.max(axis=1)) + 1, (width, height)).astype(int)
    if left >= right or top >= bottom:
        raise LowQualityError("the face lies outside the photograph; use one that shows it")
    return image_rgb[top:bottom, left:right], matrix @ _map_axes(1, 1, left, top)


def _average_down(image_rgb: ByteArray, matrix: Matrix, scale: float) -> tuple[ByteArray, Matrix]:
    """The picture at `scale`, and the matrix from its pixels to the crop."""
    height, width = image_rgb.shape[:2]
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image_rgb, (new_width, new_height), interpolation=cv2.INTER_AREA)
    step_x, step_y = width / new_width, height / new_height
    # Pixel 0 of the small picture is the middle of the first `step` pixels of the large one.
    to_large = _map_axes(step_x, step_y, (step_x - 1) / 2, (step_y - 1) / 2)
    return small.astype(np.uint8, copy=False), matrix @ to_large


def _map_axes(scale_x: float, scale_y: float, shift_x: float, shift_y: float) -> Matrix:
    return np.array([[scale_x, 0, shift_x], [0, scale_y, shift_y], [0, 0, 1]], np.float64)


def _homogeneous(matrix: Matrix) -> Matrix:
    return np.vstack([matrix, [0, 0, 1]])
