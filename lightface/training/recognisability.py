"""Learn which embeddings of a network are nobody's, from crops of faces and copies of them that were spoiled.

A copy's target is the cosine of its embedding to that of its own crop: the crops label themselves, and no identity is
needed. For each family of flaws a ridge regression from the unit embedding learns it. Small networks in its place, and
embeddings with their length, told no more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from lightface.alignment import accept_aligned, align_face
from lightface.detection import FaceDetector, MtcnnDetector, select_faces
from lightface.embedding import Embedder
from lightface.errors import PhotoError, TrainingError
from lightface.frame import CROP_PX
from lightface.images import find_photos, load_photo
from lightface.models.recognisability import Recognisability
from lightface.records import AlignedFace, ByteArray, FaceSelection, FloatArray, Frame

MIN_FACES = 200  # of fewer, the last percent of good faces says nothing
MAX_FACES = 1800  # more only take longer
_AT_ONCE = 100  # faces whose copies are in memory
_NOBODY = 0.6  # cosine to the own crop; at less, a face is hardly matched with itself
_RIDGE = 1.0
_REFUSED = 0.02  # share of good faces, by all families together
_FLAWLESS = 0.1  # the value of this quantile of good faces passes for flawless
_LEAST_SPREAD = 1e-3  # between the two

Generator = np.random.Generator
Image = npt.NDArray[np.float32]  # (H, W, 3), 0..255
Way = Callable[[Image, Generator], Image]


def learn_recognisability(embedder: Embedder, faces: Sequence[AlignedFace], *, seed: int = 0) -> Recognisability | None:
    """For the weights of `embedder`, from faces as they should be.

    None where they are fewer than MIN_FACES, or all alike to these weights, as to those that have learnt nothing yet.
    MAX_FACES of more are drawn. On a CPU it takes some minutes.
    """
    if len(faces) < MIN_FACES:
        return None
    generator = np.random.default_rng(seed)
    faces = [faces[row] for row in generator.permutation(len(faces))[:MAX_FACES]]
    fitted = len(faces) // 3  # the others, which the fit has not seen, tell what good faces reach
    good = embedder.embed(faces)
    spoiled = np.concatenate(
        [
            embedder.embed(_spoil_all(faces[start : min(start + _AT_ONCE, fitted)], generator))
            for start in range(0, fitted, _AT_ONCE)
        ]
    ).reshape(fitted, len(FAMILIES), -1)
    alike = np.einsum("nkd,nd->nk", spoiled, good[:fitted])
    targets = np.clip((alike - _NOBODY) / (1 - _NOBODY), 0, 1)
    functions = [_fit_ridge(good[:fitted], spoiled[:, k], targets[:, k]) for k in range(len(FAMILIES))]
    directions, offsets = np.stack([one[0] for one in functions]), np.array([one[1] for one in functions])
    return _scale(directions, offsets, good[fitted:])


def find_faces(folder: Path, *, frame: Frame = Frame(), detector: FaceDetector | None = None) -> list[AlignedFace]:
    """The largest face of each photograph in a folder, of at most MAX_FACES, aligned; those without one are left out.

    A picture of exactly 144x144 pixels is taken for a crop that is aligned already. TrainingError where there are fewer
    than MIN_FACES.
    """
    detector = MtcnnDetector() if detector is None else detector
    paths = find_photos([folder])
    faces: list[AlignedFace] = []
    for row in np.random.default_rng(0).permutation(len(paths)):
        try:
            image_rgb = load_photo(paths[row]).image_rgb
            if image_rgb.shape[:2] == (CROP_PX, CROP_PX):
                faces.append(accept_aligned(image_rgb, frame))
                continue
            found = detector.detect(image_rgb)
            (face,) = select_faces(found, FaceSelection.LARGEST, image_size=image_rgb.shape[1::-1])
            faces.append(align_face(image_rgb, face, frame))
        except PhotoError:
            continue
        if len(faces) == MAX_FACES:
            break
    if len(faces) < MIN_FACES:
        raise TrainingError(f"{folder} has {len(faces)} photographs with a usable face; give {MIN_FACES} and more")
    return faces


def face_of_crop(crop: ByteArray) -> AlignedFace:
    """A (C, 144, 144) training crop, grey or BGR, as recognition has it."""
    grey_or_rgb = crop[::-1].transpose(1, 2, 0)
    return accept_aligned(np.ascontiguousarray(np.broadcast_to(grey_or_rgb, (*crop.shape[1:], 3))))


def spoil(pixels: ByteArray, family: tuple[Way, ...], generator: Generator) -> ByteArray:
    """A (H, W, 3) uint8 crop made worse in a way of the family, from hardly to beyond recognition.

    One in five is made worse in any other way on top.
    """
    ways = [family[generator.integers(len(family))]]
    if generator.random() < 0.2:
        other = FAMILIES[generator.integers(len(FAMILIES))]
        ways.append(other[generator.integers(len(other))])
    image = pixels.astype(np.float32)
    for way in ways:
        image = np.clip(np.rint(way(image, generator)), 0, 255).astype(np.float32)  # whole grey levels, as in a file
    return image.astype(np.uint8)


def _spoil_all(faces: Sequence[AlignedFace], generator: Generator) -> list[AlignedFace]:
    """A copy of each face for each family: (faces x families) in one list."""
    return [replace(face, pixels=spoil(face.pixels, family, generator)) for face in faces for family in FAMILIES]


def _fit_ridge(
    good: FloatArray, spoiled: FloatArray, targets: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.float64], float]:
    """The direction (D,) and the offset that take good rows to 1, spoiled ones to their targets; both weigh alike."""
    rows = np.concatenate([good, spoiled]).astype(np.float64)
    wanted = np.concatenate([np.ones(len(good)), targets])
    weights = np.concatenate([np.ones(len(good)), np.full(len(spoiled), len(good) / len(spoiled))])
    row_mean = np.average(rows, axis=0, weights=weights)
    wanted_mean = np.average(wanted, weights=weights)
    weighed = (rows - row_mean).T * weights
    squares = weighed @ (rows - row_mean) + _RIDGE * np.eye(rows.shape[1])
    direction = np.linalg.solve(squares, weighed @ (wanted - wanted_mean))
    return direction, float(wanted_mean - row_mean @ direction)


def _scale(
    directions: npt.NDArray[np.float64], offsets: npt.NDArray[np.float64], good: FloatArray
) -> Recognisability | None:
    """So that few of the good rows (N, D) fall below 0, as many in each function, and most of them reach 1."""
    values = good @ directions.T + offsets
    blind = np.quantile(values, _REFUSED / len(FAMILIES), axis=0)
    free = np.quantile(values, _FLAWLESS, axis=0)
    if (free - blind < _LEAST_SPREAD).any():
        return None
    scale = 1 / (free - blind)
    return Recognisability.pack(
        (directions * scale[:, None]).astype(np.float32), ((offsets - blind) * scale).astype(np.float32)
    )


def _draw(generator: Generator, low: float, high: float) -> float:
    """Between the two, as likely in each octave."""
    return float(np.exp(generator.uniform(np.log(low), np.log(high))))


def _draw_noise(image: Image, sigma: float, generator: Generator) -> Image:
    """In grey levels, the same in all channels."""
    noise: Image = generator.normal(0, sigma, (*image.shape[:2], 1)).astype(np.float32)
    return noise


def _blur(image: Image, generator: Generator) -> Image:
    return cv2.GaussianBlur(image, (0, 0), _draw(generator, 1, 14)).astype(np.float32)


def _smooth(image: Image, generator: Generator) -> Image:
    """By a median: edges stay, features go."""
    return cv2.medianBlur(image.astype(np.uint8), 2 * round(_draw(generator, 2, 14)) + 1).astype(np.float32)


def _reduce(image: Image, generator: Generator) -> Image:
    """To few pixels and back, smoothly or as a mosaic."""
    size_px = round(_draw(generator, 4, 40))
    small = cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_AREA)
    how = _INTERPOLATIONS[generator.integers(3)]
    return cv2.resize(small, image.shape[1::-1], interpolation=how).astype(np.float32)


def _compress(image: Image, generator: Generator) -> Image:
    quality = round(_draw(generator, 1, 16))
    _, coded = cv2.imencode(".jpg", image.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert decoded is not None  # it was just coded
    return decoded.astype(np.float32)


def _darken(image: Image, generator: Generator) -> Image:
    """With the noise of a sensor, or none."""
    return image * _draw(generator, 0.005, 0.3) + _draw_noise(image, generator.choice([0, 2, 4]), generator)


def _overexpose(image: Image, generator: Generator) -> Image:
    return image * _draw(generator, 1.5, 20)


def _flatten(image: Image, generator: Generator) -> Image:
    flat: Image = generator.uniform(0, 255) + (image - image.mean()) * _draw(generator, 0.01, 0.3)
    return flat


def _add_noise(image: Image, generator: Generator) -> Image:
    return image + _draw_noise(image, _draw(generator, 10, 200), generator)


def _invert(image: Image, generator: Generator) -> Image:
    inverted: Image = 255 - image
    return inverted


def _turn(image: Image, generator: Generator) -> Image:
    return _place(image, degrees=generator.uniform(25, 335))


def _replace(image: Image, generator: Generator) -> Image:
    """By no face at all: one grey, or patches of any size."""
    cells = round(_draw(generator, 1, 128))
    patches = generator.uniform(0, 255, (cells, cells)).astype(np.float32)
    pattern = cv2.resize(patches, image.shape[1::-1], interpolation=_INTERPOLATIONS[generator.integers(3)])
    return np.repeat(pattern[..., None], 3, axis=2)


def _weave(image: Image, generator: Generator) -> Image:
    """By no face at all: two waves across each other, as in cloth, fences and blinds."""
    rows, columns = np.indices(image.shape[:2], np.float32)
    waves = np.zeros(image.shape[:2], np.float32)
    for _ in range(2):
        angle, length_px = generator.uniform(0, math.pi), _draw(generator, 3, 40)
        waves += np.sin((rows * math.cos(angle) + columns * math.sin(angle)) * (2 * math.pi / length_px))
    pattern = generator.uniform(60, 200) + waves * _draw(generator, 5, 60)
    return np.repeat(pattern[..., None].astype(np.float32), 3, axis=2)


def _misplace(image: Image, generator: Generator) -> Image:
    """Out of the network's frame, as where the landmarks were found wrong."""
    scale = _draw(generator, 0.3, 3)
    return _place(image, scales=(scale, scale), shift=generator.uniform(-0.3, 0.3, 2))


def _narrow(image: Image, generator: Generator) -> Image:
    """As a wide picture that was fitted into a narrower one."""
    return _place(image, scales=(_draw(generator, 0.35, 0.85), 1))


def _widen(image: Image, generator: Generator) -> Image:
    return _place(image, scales=(_draw(generator, 1.2, 3), 1))


def _cover_top(image: Image, generator: Generator) -> Image:
    return _cover(image, 0.0, generator.uniform(0.3, 0.6), generator)


def _cover_eyes(image: Image, generator: Generator) -> Image:
    return _cover(image, generator.uniform(0.15, 0.3), generator.uniform(0.38, 0.55), generator)


def _cover_bottom(image: Image, generator: Generator) -> Image:
    return _cover(image, generator.uniform(0.4, 0.75), 1.0, generator)


def _cover_patch(image: Image, generator: Generator) -> Image:
    """By a square anywhere."""
    covered = image.copy()
    side_px = round(len(image) * generator.uniform(0.3, 0.9))
    top, left = generator.integers(0, len(image) - side_px + 1, 2)
    covered[top : top + side_px, left : left + side_px] = generator.uniform(0, 255)
    return covered


def _cover_side(image: Image, generator: Generator) -> Image:
    edge_px = round(len(image) * generator.uniform(0.4, 0.65))
    covered = image.copy()
    covered[:, slice(edge_px) if generator.random() < 0.5 else slice(-edge_px, None)] = generator.uniform(0, 255)
    return covered


def _cover(image: Image, top: float, bottom: float, generator: Generator) -> Image:
    """By a bar across, from a share of the height to another."""
    covered = image.copy()
    covered[round(top * len(image)) : round(bottom * len(image))] = generator.uniform(0, 255)
    return covered


def _place(
    image: Image, *, degrees: float = 0, scales: tuple[float, float] = (1, 1), shift: npt.ArrayLike = 0
) -> Image:
    """Turned, or scaled across and down, about the middle; shifted by shares of the size; black outside."""
    size_px = len(image)
    middle = (size_px - 1) / 2
    matrix: npt.NDArray[np.float64] = np.array(scales)[:, None] * cv2.getRotationMatrix2D((middle, middle), degrees, 1)
    matrix[:, 2] += middle * (1 - np.array(scales))
    matrix[:, 2] += np.asarray(shift) * size_px
    return cv2.warpAffine(image, matrix, (size_px, size_px)).astype(np.float32)


_INTERPOLATIONS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC)

# Flaws that lead to one corner of the embeddings, which one function can tell.
FAMILIES: tuple[tuple[Way, ...], ...] = (
    (_blur, _smooth, _reduce),
    (_narrow,),
    (_widen,),
    (_compress,),
    (_darken, _overexpose, _flatten),
    (_add_noise,),
    (_turn, _invert, _replace, _weave),
    (_misplace,),
    (_cover_top, _cover_eyes),
    (_cover_bottom,),
    (_cover_patch, _cover_side),
)
