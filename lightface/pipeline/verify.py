"""Are two photographs of one person?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightface.errors import PhotoError, ThresholdError, check_number
from lightface.images import PhotoSource
from lightface.images.photos import as_source
from lightface.matching import cosine_scores, is_same, measure_poorness, threshold_of_pair
from lightface.pipeline.face_pipeline import FacePipeline, PhotoFaces, stack_vectors
from lightface.records import FaceEmbedding, FaceSelection, Status, Verification
from lightface.words import explain, visible


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedPair:
    """One row of a list of pairs: a verification, or the photograph that spoiled it and why."""

    path_a: Path
    path_b: Path
    verification: Verification | None = None
    failed_path: Path | None = None
    error: PhotoError | None = None

    @property
    def status(self) -> Status:
        """SAME, DIFFERENT or ERROR."""
        return Status.ERROR if self.verification is None else self.verification.status

    def __str__(self) -> str:
        result = self.verification if self.error is None else explain(self.failed_path, self.error)
        return visible(f"{self.path_a}, {self.path_b}: {result}")

    def to_dict(self) -> dict[str, Any]:
        """The columns of the table of pairs, for `json.dumps`."""
        found = self.verification
        return {
            "path_a": str(self.path_a),
            "path_b": str(self.path_b),
            "similarity": None if found is None else found.similarity,
            "threshold": None if found is None else found.threshold,
            "status": self.status.value,
            "error": None if self.error is None else self.error.reason,
            "error_path": None if self.failed_path is None else str(self.failed_path),
        }


def verify_photos(
    pipeline: FacePipeline,
    path_a: PhotoSource,
    path_b: PhotoSource,
    *,
    threshold: float,
    poor_raise: float = 0.0,
    selection: FaceSelection | str = FaceSelection.LARGEST,
) -> Verification:
    """Compare the selected face of one photograph with that of another.

    Two poor faces must be more alike than `threshold` (cosine), by up to `poor_raise`; see `threshold_of_pair`. With
    the selection ALL, the two most similar faces are compared. Raises PhotoError where a photograph cannot be read or
    has no fitting face.
    """
    (pair,) = verify_pairs(
        pipeline, [(path_a, path_b)], threshold=threshold, poor_raise=poor_raise, selection=selection
    )
    if pair.error is not None:
        raise pair.error
    assert pair.verification is not None
    return pair.verification


def verify_pairs(
    pipeline: FacePipeline,
    pairs: Sequence[tuple[PhotoSource, PhotoSource]],
    *,
    threshold: float,
    poor_raise: float = 0.0,
    selection: FaceSelection | str = FaceSelection.LARGEST,
    progress: Callable[[PhotoFaces], None] | None = None,
) -> list[VerifiedPair]:
    """Compare many pairs, one result a pair, in their order. Each photograph is embedded once, however often it occurs.

    Decided as in `verify_photos`. `progress` hears of each photograph. ThresholdError for a threshold that is no finite
    number.
    """
    check_number("a threshold", threshold, error=ThresholdError)
    check_number("a raise for poor faces", poor_raise, low=0, error=ThresholdError)
    known: dict[int, tuple[PhotoSource, Path]] = {}  # with the source itself, whose id is its own while it lives

    def name_once(source: PhotoSource) -> Path:
        """One path for each object, so that an open file is read once."""
        return known.setdefault(id(source), (source, as_source(source)))[1]

    named = [(name_once(source_a), name_once(source_b)) for source_a, source_b in pairs]
    photos: dict[Path, PhotoFaces] = {}
    for photo in pipeline.selecting(selection).embed_paths(dict.fromkeys(path for pair in named for path in pair)):
        photos[photo.path] = photo
        if progress is not None:
            progress(photo)
    return [_verify(photos[path_a], photos[path_b], threshold, poor_raise) for path_a, path_b in named]


def _verify(photo_a: PhotoFaces, photo_b: PhotoFaces, threshold: float, poor_raise: float) -> VerifiedPair:
    for photo in (photo_a, photo_b):
        if photo.error is not None:
            return VerifiedPair(photo_a.path, photo_b.path, failed_path=photo.path, error=photo.error)
    face_a, face_b, similarity = _most_similar(photo_a.faces, photo_b.faces)
    poorness = measure_poorness([face_a.quality, face_b.quality])
    needed = threshold_of_pair(threshold, *poorness, poor_raise=poor_raise)
    status = Status.SAME if is_same(similarity, needed) else Status.DIFFERENT
    found = Verification(face_a, face_b, similarity, needed, status, poor_raise=needed - threshold)
    return VerifiedPair(photo_a.path, photo_b.path, found)


def _most_similar(
    faces_a: Sequence[FaceEmbedding], faces_b: Sequence[FaceEmbedding]
) -> tuple[FaceEmbedding, FaceEmbedding, float]:
    scores = cosine_scores(stack_vectors(faces_a), stack_vectors(faces_b))
    best_a, best_b = divmod(int(scores.argmax()), len(faces_b))
    return faces_a[best_a], faces_b[best_b], float(scores[best_a, best_b])
