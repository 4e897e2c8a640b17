"""Move a gallery to other weights: embed its photographs again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lightface.errors import FaceNotFoundError, GalleryError, ImageError, LightfaceError
from lightface.faces import FaceSelection, FloatArray
from lightface.gallery import FaceSample, Gallery, is_same_face
from lightface.pipeline.face_pipeline import FacePipeline, PhotoFaces


@dataclass(frozen=True, slots=True, eq=False)
class UnusableSample:
    """A sample that cannot be embedded again, and why."""

    sample: FaceSample
    error: LightfaceError


@dataclass(frozen=True, slots=True, eq=False)
class ReembedReport:
    """What a re-embedding did, or would do."""

    model_id_before: str | None
    model_id_after: str
    embedded: int  # samples
    unusable: tuple[UnusableSample, ...]


def reembed_gallery(
    pipeline: FacePipeline,
    gallery: Gallery,
    *,
    drop_unusable: bool = False,
    dry_run: bool = False,
    progress: Callable[[PhotoFaces], None] | None = None,
) -> ReembedReport:
    """Embed every sample again from its stored image path, all or nothing.

    A photograph must be the same file as at enrolment (SHA-256), and the face is found again by its box. A sample
    for which that fails is deleted with `drop_unusable`; without, GalleryError names the first and nothing is
    changed. `dry_run` only reports. The gallery must have been opened without a model id.
    """
    before = gallery.model_id
    by_path: dict[Path, list[FaceSample]] = {}
    for sample in gallery.samples():
        by_path.setdefault(Path(sample.source_path), []).append(sample)
    vectors: dict[int, FloatArray] = {}
    unusable: list[UnusableSample] = []
    for photo in pipeline.embed_paths(by_path, selection=FaceSelection.ALL):
        for sample in by_path[photo.path]:
            assert sample.id is not None  # it came from a gallery
            try:
                vectors[sample.id] = _find_again(sample, photo)
            except LightfaceError as error:
                unusable.append(UnusableSample(sample, error))
        if progress is not None:
            progress(photo)
    report = ReembedReport(before, pipeline.model_id, len(vectors), tuple(unusable))
    if dry_run:
        return report
    if unusable and not drop_unusable:
        first = unusable[0]
        raise GalleryError(
            f"{len(unusable)} of {len(vectors) + len(unusable)} samples cannot be embedded again, "
            f"the first from {first.sample.source_path} ({first.error}); bring the photographs back, "
            "or drop those samples with --drop-unusable"
        )
    dropped = [one.sample.id for one in unusable if one.sample.id is not None]
    gallery.replace_embeddings(pipeline.model_id, vectors, drop=dropped)
    return report


def _find_again(sample: FaceSample, photo: PhotoFaces) -> FloatArray:
    if photo.sha256 is not None and photo.sha256 != sample.image_sha256:
        raise ImageError("the photograph has changed since it was enrolled")
    if photo.error is not None:
        raise photo.error
    for face in photo.faces:
        if is_same_face(sample.box_px, face.detection.box_px if face.detection else None):
            return face.vector
    raise FaceNotFoundError("the enrolled face is not found in the photograph any more")
