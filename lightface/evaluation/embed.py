"""Embed the pictures of an evaluation, each once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lightface.detection import FaceDetector
from lightface.errors import PhotoError
from lightface.evaluation.cache import CachedFace, EmbeddingCache
from lightface.evaluation.pair_list import Framing, Picture
from lightface.images import Photo
from lightface.measurement.metrics import FloatRow
from lightface.pipeline import FacePipeline
from lightface.records import BoolArray, ByteArray, DetectedFace, FaceEmbedding, FaceSelection, FloatArray

_BATCH_SIZE = 16
_METHOD = 3  # raise it when the same picture would be embedded differently

# Where InsightFace's alignment puts eyes, nose and mouth corners in a crop of 112x112 (x, y).
_ARCFACE_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
_ARCFACE_SIZE_PX = 112


@dataclass(frozen=True, slots=True)
class FailedPicture:
    """A picture without an embedding, and why."""

    name: str
    reason: str  # as in PhotoError.reason
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedPictures:
    """An embedding for each picture that has one."""

    vectors: FloatArray  # (N, 256) unit rows; zeros where the picture failed
    usable: BoolArray  # (N,)
    quality: FloatRow  # (N,) 0..1; NaN where the picture failed or its quality is not known
    failures: tuple[FailedPicture, ...]


def frame_pipeline(pipeline: FacePipeline, framing: Framing) -> FacePipeline:
    """The pipeline that takes pictures as `framing` says; gates hold for photographs only.

    A list of crops has its published figures over all of them. What a gate on quality would gain, `rejects` tells.
    """
    match framing:
        case Framing.DETECT:
            return pipeline
        case Framing.LIGHTCNN:
            return pipeline.without_gates(already_aligned=True)
        case Framing.ARCFACE:
            ungated = pipeline.without_gates()
            return FacePipeline(ArcFaceCrops(), ungated.embedder, gates=ungated.gates, selection=ungated.selection)


def embed_pictures(
    pipeline: FacePipeline,
    pictures: Sequence[Picture],
    *,
    framing: Framing = Framing.DETECT,
    selection: FaceSelection = FaceSelection.LARGEST,
    cache: EmbeddingCache | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EmbeddedPictures:
    """One face of each picture, embedded or taken from the cache; `progress` hears how many are done, of how many.

    What cannot be read or has no usable face is among the failures. OutputError where the cache cannot be used.
    """
    pipeline = pipeline.selecting(selection)
    made_by = _describe(pipeline, framing)
    pipeline = frame_pipeline(pipeline, framing)
    faces: list[CachedFace] = []
    for start in range(0, len(pictures), _BATCH_SIZE):
        faces += _embed_batch(pipeline, pictures[start : start + _BATCH_SIZE], cache, made_by)
        if progress is not None:
            progress(len(faces), len(pictures))
    usable = np.array([face.vector is not None for face in faces], np.bool_)
    nothing = np.zeros(next((face.vector.size for face in faces if face.vector is not None), 0), np.float32)
    vectors = [nothing if face.vector is None else face.vector for face in faces]
    failures = tuple(
        FailedPicture(picture.name, face.reason, face.message)
        for picture, face in zip(pictures, faces, strict=True)
        if face.vector is None
    )
    quality = np.array([np.nan if face.quality is None else face.quality for face in faces], np.float64)
    return EmbeddedPictures(np.stack(vectors), usable, quality, failures)


class ArcFaceCrops(FaceDetector):
    """Takes every picture for a crop aligned to ArcFace's template, and says where the template has the landmarks."""

    def detect(self, image_rgb: ByteArray) -> list[DetectedFace]:
        """The one face of a crop; none where the picture is not square."""
        height, width = image_rgb.shape[:2]
        if height != width:
            return []
        # Pixel centres lie at half a pixel, whatever the crop was resized to.
        scale = width / _ARCFACE_SIZE_PX
        landmarks = (_ARCFACE_POINTS + np.float32(0.5)) * np.float32(scale) - np.float32(0.5)
        return [DetectedFace((0.0, 0.0, float(width), float(height)), landmarks, 1.0)]

    def detect_batch(
        self, images_rgb: Sequence[ByteArray], *, reductions: Sequence[int] | None = None
    ) -> list[list[DetectedFace]]:
        """The same for several."""
        return [self.detect(image) for image in images_rgb]

    def relocate(self, image_rgb: ByteArray, faces: Sequence[DetectedFace]) -> list[DetectedFace]:
        """The face of the whole picture."""
        return self.detect(image_rgb)


def _embed_batch(
    pipeline: FacePipeline,
    pictures: Sequence[Picture],
    cache: EmbeddingCache | None,
    made_by: str,
) -> list[CachedFace]:
    hashes: list[str | CachedFace] = [_hash(picture) for picture in pictures]
    readable = [sha256 for sha256 in hashes if isinstance(sha256, str)]
    known = {} if cache is None else cache.find(readable, made_by=made_by)
    missing = {sha256: picture for sha256, picture in zip(hashes, pictures, strict=True) if isinstance(sha256, str)}
    new = _embed(pipeline, {sha256: one for sha256, one in missing.items() if sha256 not in known})
    if cache is not None and new:
        cache.add(new, made_by=made_by)
    known |= new
    return [known[sha256] if isinstance(sha256, str) else sha256 for sha256 in hashes]


def _hash(picture: Picture) -> str | CachedFace:
    """The SHA-256, or the failure to read the picture, which is never cached: it may be back the next time."""
    try:
        return picture.sha256()
    except PhotoError as error:
        return _to_failure(error)


def _embed(pipeline: FacePipeline, pictures: Mapping[str, Picture]) -> dict[str, CachedFace]:
    photos: dict[str, Photo] = {}
    faces: dict[str, CachedFace] = {}
    for sha256, picture in pictures.items():
        try:
            photos[sha256] = picture.load(
                max_pixels=pipeline.gates.max_pixels, allow_truncated=pipeline.gates.allow_truncated
            )
        except PhotoError as error:
            faces[sha256] = _to_failure(error)
    results = pipeline.embed_photos(list(photos.values())) if photos else []
    for sha256, result in zip(photos, results, strict=True):
        faces[sha256] = _to_failure(result.error) if result.error is not None else _to_face(result.faces[0])
    return faces


def _to_face(face: FaceEmbedding) -> CachedFace:
    return CachedFace(face.vector, face.quality)


def _to_failure(error: PhotoError) -> CachedFace:
    return CachedFace(reason=error.reason, message=str(error))


def _describe(pipeline: FacePipeline, framing: Framing) -> str:
    """Everything that decides which embedding a picture gets."""
    return pipeline.fingerprint(of_crops=framing is not Framing.DETECT, method=_METHOD, framing=framing.value)
