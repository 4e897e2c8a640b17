"""Move a gallery to other weights: embed its photographs again, and tell what that changes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from lightface.detection import MtcnnDetector
from lightface.errors import FaceNotFoundError, GalleryError, ImageError, PhotoError, ThresholdError, check_number
from lightface.faces import FaceSelection, FloatArray
from lightface.gallery import FaceSample, Gallery, is_same_face
from lightface.gallery.records import overlap
from lightface.images import count_pixels, hash_file
from lightface.models.registry import WeightsRecord
from lightface.pipeline.face_pipeline import FacePipeline, PhotoFaces
from lightface.pipeline.shift import EmbeddingShift, SourcedThreshold, compare_embeddings
from lightface.pipeline.thresholds import DEFAULT_FAR, find_record, resolve_threshold
from lightface.words import count_of

# A face that was let in is looked for in pyramids that begin at these shares of its box's size: which levels a pyramid
# has decides now and then whether a doubtful face is found.
_SHARES = (0.7, 0.5, 0.25)


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

    A photograph must be the same file as at enrolment (SHA-256), and the face is found again by its box. Gates do not
    hold, since it was let in: where the pipeline's settings do not find it, it is looked for with settings that do.
    What was enrolled without a box is an aligned crop and is embedded as one. A sample for which that fails is deleted
    with `drop_unusable`; without, GalleryError names the first and nothing is changed. `dry_run` only reports.
    Decisions are compared at `threshold` where it is given, else each set at its own: before, the gallery's or that of
    its weights; after, that of the new weights. A gallery that is of these weights already is left alone, with its
    thresholds. The gallery must have been opened without a model id. ThresholdError for one that is no number.
    """
    if threshold is not None:
        check_number("a threshold", threshold, error=ThresholdError)
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
    by_place: dict[tuple[bool, Path], list[FaceSample]] = {}
    for sample in samples:
        by_place.setdefault((sample.box_px is None, Path(sample.source_path)), []).append(sample)
    vectors: dict[int, FloatArray] = {}
    unusable: list[UnusableSample] = []
    for are_crops in (False, True):
        paths = [path for is_crop, path in by_place if is_crop == are_crops]
        for photo in _ungate(pipeline, already_aligned=are_crops).embed_paths(paths, selection=FaceSelection.ALL):
            for sample in by_place[are_crops, photo.path]:
                assert sample.id is not None and sample.person_id is not None  # it came from a gallery
                try:
                    vectors[sample.id] = _find_again(sample, photo, pipeline)
                except PhotoError as error:
                    trouble = _name_trouble(sample, photo)
                    unusable.append(UnusableSample(sample, names[sample.person_id], trouble, error.as_result()))
            if progress is not None:
                progress(photo)
    return vectors, unusable


def _ungate(pipeline: FacePipeline, *, already_aligned: bool) -> FacePipeline:
    gates = replace(
        pipeline.gates,
        det_threshold=0,
        min_face_size_px=0,
        min_face_share=0,
        min_quality=0,
        already_aligned=already_aligned,
    )
    return FacePipeline(pipeline.detector, pipeline.embedder, gates=gates)


def _find_again(sample: FaceSample, photo: PhotoFaces, pipeline: FacePipeline) -> FloatArray:
    """The new unit row of a sample: of the face that its box marks or, of a crop, of the whole."""
    found = _pick(sample, photo)
    if found is None and _is_unchanged(sample, photo):
        for closer in _look_closer(sample, pipeline):
            (photo,) = closer.embed_paths([photo.path], selection=FaceSelection.ALL)
            found = _pick(sample, photo)
            if found is not None:
                break
    if found is not None:
        return found
    if photo.sha256 is not None and photo.sha256 != sample.image_sha256:
        raise ImageError("the photograph has changed since it was enrolled")
    if photo.error is not None:
        raise photo.error
    raise FaceNotFoundError("the enrolled face is not found in the photograph any more")


def _look_closer(sample: FaceSample, pipeline: FacePipeline) -> Iterator[FacePipeline]:
    """Pipelines for a face that was let in by other settings, however small or doubtful, in however large a picture."""
    ungated = _ungate(pipeline, already_aligned=False)
    max_pixels = max(ungated.gates.max_pixels, count_pixels(Path(sample.source_path)))
    gates = replace(ungated.gates, max_side_px=None, max_pixels=max_pixels)
    if not isinstance(pipeline.detector, MtcnnDetector) or sample.box_px is None:
        yield FacePipeline(pipeline.detector, pipeline.embedder, gates=gates)
        return
    x_min, y_min, x_max, y_max = sample.box_px
    for share in _SHARES:
        settings = replace(
            pipeline.detector.settings,
            min_face_size_px=max(share * min(x_max - x_min, y_max - y_min), 1.0),
            min_face_share=0,
            det_threshold=0,
            max_side_px=None,
        )
        yield FacePipeline(pipeline.detector.with_settings(settings), pipeline.embedder, gates=gates)


def _pick(sample: FaceSample, photo: PhotoFaces) -> FloatArray | None:
    """Of the faces of the same photograph the one that the sample's box marks best."""
    if photo.sha256 != sample.image_sha256:
        return None
    if sample.box_px is None:
        return photo.faces[0].vector if len(photo.faces) == 1 else None
    marked = [
        (overlap(sample.box_px, face.detection.box_px), place)
        for place, face in enumerate(photo.faces)
        if face.detection is not None and is_same_face(sample.box_px, face.detection.box_px)
    ]
    return photo.faces[max(marked)[1]].vector if marked else None


def _is_unchanged(sample: FaceSample, photo: PhotoFaces) -> bool:
    """Whether a photograph is the one that was enrolled, be it that it was not decoded."""
    try:
        return (photo.sha256 or hash_file(photo.path)) == sample.image_sha256
    except ImageError:
        return False


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
