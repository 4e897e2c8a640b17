"""Move a gallery to other weights: embed its photographs again, and tell what that changes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from lightface.errors import FaceNotFoundError, GalleryError, ImageError, PhotoError, ThresholdError
from lightface.faces import FaceSelection, FloatArray
from lightface.gallery import FaceSample, Gallery, is_same_face
from lightface.models.registry import WeightsRecord
from lightface.pipeline.face_pipeline import FacePipeline, PhotoFaces
from lightface.pipeline.shift import EmbeddingShift, SourcedThreshold, compare_embeddings
from lightface.pipeline.thresholds import DEFAULT_FAR, find_record, resolve_threshold
from lightface.words import count_of


class Trouble(StrEnum):
    """Why a sample cannot be embedded again."""

    GONE = "gone"  # no file lies where the photograph was
    CHANGED = "changed"  # another SHA-256
    UNREADABLE = "unreadable"
    FACE_NOT_FOUND = "face_not_found"


@dataclass(frozen=True, slots=True, eq=False)
class UnusableSample:
    """A sample that cannot be embedded again, and why."""

    sample: FaceSample
    person_name: str
    trouble: Trouble
    error: PhotoError


@dataclass(frozen=True, slots=True)
class NamedSample:
    """A sample that other weights name otherwise, when it is not in the gallery itself. None: nobody."""

    sample_id: int
    source_path: str
    person_name: str  # whose it is
    name_before: str | None
    similarity_before: float  # to the person named, or to the most similar one
    name_after: str | None
    similarity_after: float


@dataclass(frozen=True, slots=True, eq=False)
class ReembedReport:
    """What a re-embedding did, or would do."""

    model_id_before: str | None  # None while nobody was ever enrolled
    model_id_after: str
    embedded: int  # samples
    unusable: tuple[UnusableSample, ...]  # deleted, if the gallery was moved all the same
    shift: EmbeddingShift  # of the samples that were embedded
    flipped: tuple[NamedSample, ...]
    moved: bool  # whether the gallery was changed


def reembed_gallery(
    pipeline: FacePipeline,
    gallery: Gallery,
    *,
    drop_unusable: bool = False,
    dry_run: bool = False,
    threshold: float | None = None,
    progress: Callable[[PhotoFaces], None] | None = None,
) -> ReembedReport:
    """Embed every sample again from its stored image path, all or nothing.

    A photograph must be the same file as at enrolment (SHA-256), and the face is found again by its box; gates do not
    hold, since it was let in. A sample for which that fails is deleted with `drop_unusable`; without, GalleryError
    names the first and nothing is changed. `dry_run` only reports. Decisions are compared at `threshold` where it is
    given, else each set at its own: before, the gallery's or that of its weights; after, that of the new weights. A
    gallery that is of these weights already is left alone, with its thresholds. The gallery must have been opened
    without a model id.
    """
    model_id, samples = gallery.model_id, gallery.samples()
    if model_id == pipeline.model_id:
        return ReembedReport(model_id, model_id, 0, (), _NO_SHIFT, (), moved=False)
    if not (drop_unusable or dry_run):
        _refuse(samples, [(sample, "it is gone") for sample in samples if not os.path.exists(sample.source_path)])
    names = {person.id: person.name for person in gallery.people()}
    vectors, unusable = _embed_again(pipeline, samples, names, progress)
    before = _known_threshold(find_record(model_id) if model_id else None, gallery, threshold)
    after = _known_threshold(pipeline.record, None, threshold)
    kept = [sample for sample in samples if sample.id in vectors]
    shift = _compare(kept, vectors, before, after)
    moved = not dry_run
    if moved:
        if not drop_unusable:
            _refuse(samples, [(one.sample, str(one.error)) for one in unusable])
        dropped = [one.sample.id for one in unusable if one.sample.id is not None]
        gallery.replace_embeddings(pipeline.model_id, vectors, drop=dropped)
    flipped = _name_flips(shift, kept, names)
    return ReembedReport(model_id, pipeline.model_id, len(vectors), tuple(unusable), shift, flipped, moved)


_NO_SHIFT = EmbeddingShift(None, None, None, None, None, None, None, ())


def _refuse(samples: Sequence[FaceSample], unusable: Sequence[tuple[FaceSample, str]]) -> None:
    if unusable:
        first, reason = unusable[0]
        raise GalleryError(
            f"{len(unusable):,} of {count_of(len(samples), 'sample')} cannot be embedded again, "
            f"the first from {first.source_path} ({reason}); "
            "--dry-run lists them: bring the photographs back, or drop those samples with --drop-unusable"
        )


def _embed_again(
    pipeline: FacePipeline,
    samples: Sequence[FaceSample],
    names: Mapping[int, str],
    progress: Callable[[PhotoFaces], None] | None,
) -> tuple[dict[int, FloatArray], list[UnusableSample]]:
    """The new unit row of each sample by its id, and the samples for which there is none."""
    by_path: dict[Path, list[FaceSample]] = {}
    for sample in samples:
        by_path.setdefault(Path(sample.source_path), []).append(sample)
    gates = replace(pipeline.gates, det_threshold=0, min_face_size_px=0, min_face_share=0, min_quality=0)
    ungated = FacePipeline(pipeline.detector, pipeline.embedder, gates=gates)
    vectors: dict[int, FloatArray] = {}
    unusable: list[UnusableSample] = []
    for photo in ungated.embed_paths(by_path, selection=FaceSelection.ALL):
        for sample in by_path[photo.path]:
            assert sample.id is not None and sample.person_id is not None  # it came from a gallery
            try:
                vectors[sample.id] = _find_again(sample, photo)
            except PhotoError as error:
                trouble = _name_trouble(sample, photo)
                unusable.append(UnusableSample(sample, names[sample.person_id], trouble, error))
        if progress is not None:
            progress(photo)
    return vectors, unusable


def _find_again(sample: FaceSample, photo: PhotoFaces) -> FloatArray:
    if photo.sha256 is not None and photo.sha256 != sample.image_sha256:
        raise ImageError("the photograph has changed since it was enrolled")
    if photo.error is not None:
        raise photo.error
    for face in photo.faces:
        if is_same_face(sample.box_px, face.detection.box_px if face.detection else None):
            return face.vector
    raise FaceNotFoundError("the enrolled face is not found in the photograph any more")


def _name_trouble(sample: FaceSample, photo: PhotoFaces) -> Trouble:
    if photo.sha256 is None:
        return Trouble.UNREADABLE if os.path.exists(photo.path) else Trouble.GONE
    return Trouble.CHANGED if photo.sha256 != sample.image_sha256 else Trouble.FACE_NOT_FOUND


def _known_threshold(
    record: WeightsRecord | None, gallery: Gallery | None, threshold: float | None
) -> SourcedThreshold | None:
    """What decides with these weights; None where nothing does."""
    try:
        decides = resolve_threshold(record, gallery=gallery, threshold=threshold)
    except ThresholdError:
        return None
    if threshold is not None:
        return SourcedThreshold(decides, "as given")
    calibrated = gallery is not None and gallery.thresholds()
    return SourcedThreshold(decides, "calibrated" if calibrated else f"of the weights, FAR {DEFAULT_FAR}")


def _compare(
    kept: Sequence[FaceSample],
    vectors: Mapping[int, FloatArray],
    before: SourcedThreshold | None,
    after: SourcedThreshold | None,
) -> EmbeddingShift:
    nothing = np.zeros((0, 1), np.float32)
    _, person_index = np.unique([sample.person_id for sample in kept], return_inverse=True)
    return compare_embeddings(
        np.stack([sample.vector for sample in kept]) if kept else nothing,
        np.stack([vectors[sample.id] for sample in kept if sample.id is not None]) if kept else nothing,
        person_index.astype(np.int64),
        threshold_before=before,
        threshold_after=after,
    )


def _name_flips(shift: EmbeddingShift, kept: Sequence[FaceSample], names: Mapping[int, str]) -> tuple[NamedSample, ...]:
    owners = [names[sample.person_id] for sample in kept if sample.person_id is not None]
    by_position = list(dict.fromkeys(sample.person_id for sample in kept if sample.person_id is not None))
    flips = []
    for flip in shift.flipped:
        sample = kept[flip.sample]
        assert sample.id is not None  # it came from a gallery
        before, after = (
            None if naming.person is None else names[by_position[naming.person]] for naming in (flip.before, flip.after)
        )
        flips.append(
            NamedSample(
                sample.id,
                sample.source_path,
                owners[flip.sample],
                before,
                flip.before.similarity,
                after,
                flip.after.similarity,
            )
        )
    return tuple(flips)
