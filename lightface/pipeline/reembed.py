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
from lightface.gallery import Gallery, StoredSample, is_same_face
from lightface.gallery.likeness import leave_out
from lightface.gallery.records import overlap
from lightface.images import count_pixels, hash_file
from lightface.measurement.metrics import SourcedThreshold
from lightface.models.registry import DEFAULT_FAR, WeightsRecord, find_record
from lightface.pipeline.face_pipeline import FacePipeline, PhotoFaces
from lightface.pipeline.thresholds import resolve_threshold
from lightface.records import BoolArray, FaceSelection, FloatArray, IntArray
from lightface.words import count_of

# What other weights change in a gallery: the scores of its samples, and the decisions that rest upon them.
#
# Both sets of embeddings are of the same samples, and each is judged at its own threshold, since cosines of different
# weights are no common scale. Products are made in blocks, so that memory does not grow with the square of the
# samples.


_ROWS_AT_ONCE = 256
_STEPS = 20_000  # of the cosines from -1 to 1: medians are exact to 0.0001


@dataclass(frozen=True, slots=True)
class ScoreShift:
    """The cosines of pairs of samples of one kind, before and after."""

    pairs: int
    mean_before: float
    mean_after: float
    median_before: float
    median_after: float


@dataclass(frozen=True, slots=True)
class PairFlips:
    """How many pairs of samples are judged otherwise."""

    same_lost: int  # of one person: accepted before, not after
    same_gained: int
    different_lost: int  # of different people: accepted, by mistake, before and not after
    different_gained: int


@dataclass(frozen=True, slots=True)
class Naming:
    """Whom a sample is taken for, when it is not in the gallery itself."""

    person: int | None  # position among the people; None: nobody reaches the threshold
    similarity: float  # cosine to the template of that person, or of the most similar one


@dataclass(frozen=True, slots=True)
class FlippedNaming:
    """A sample that is named otherwise."""

    sample: int  # position
    before: Naming
    after: Naming


@dataclass(frozen=True, slots=True)
class EmbeddingShift:
    """All that two sets of embeddings differ in. Without thresholds nothing is decided, and so nothing flips."""

    same: ScoreShift | None  # None where there is no such pair
    different: ScoreShift | None
    threshold_before: SourcedThreshold | None
    threshold_after: SourcedThreshold | None
    pair_flips: PairFlips | None
    named_right_before: int | None  # samples that get their own person's name
    named_right_after: int | None
    flipped: tuple[FlippedNaming, ...]


def compare_embeddings(
    before: FloatArray,
    after: FloatArray,
    person_index: IntArray,
    *,
    threshold_before: SourcedThreshold | None,
    threshold_after: SourcedThreshold | None,
) -> EmbeddingShift:
    """Compare unit rows `before` and `after` (S, D) of samples sorted by person, `person_index` (S,) 0..K-1.

    Where only one threshold is known, the other is the one that accepts as large a share of the pairs of different
    people here. Samples are named leaving each out of its own person's template.
    """
    counts = _count_scores(before, after, person_index)
    impostors_before, impostors_after = counts[1]
    if threshold_before is None and threshold_after is not None:
        threshold_before = _match(impostors_after, threshold_after, impostors_before, "after")
    elif threshold_after is None and threshold_before is not None:
        threshold_after = _match(impostors_before, threshold_before, impostors_after, "before")
    if threshold_before is None or threshold_after is None or not len(before):
        return EmbeddingShift(*_shifts(counts), threshold_before, threshold_after, None, None, None, ())
    limits = threshold_before.threshold, threshold_after.threshold
    named = [_name(vectors, person_index, limit) for vectors, limit in zip((before, after), limits, strict=True)]
    right = [
        sum(one.person == person for one, person in zip(each, person_index.tolist(), strict=True)) for each in named
    ]
    return EmbeddingShift(
        *_shifts(counts),
        threshold_before,
        threshold_after,
        _count_flips(before, after, person_index, limits),
        named_right_before=right[0],
        named_right_after=right[1],
        flipped=tuple(
            FlippedNaming(place, old, new)
            for place, (old, new) in enumerate(zip(*named, strict=True))
            if old.person != new.person
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Scores:
    """How often each cosine occurs among the pairs of a kind."""

    histogram: IntArray  # (_STEPS + 1,)
    total: float  # sum of the cosines

    @property
    def pairs(self) -> int:
        return int(self.histogram.sum())

    @property
    def mean(self) -> float:
        return self.total / self.pairs

    @property
    def median(self) -> float:
        reached = np.cumsum(self.histogram)
        low, high = (int(np.searchsorted(reached, rank)) for rank in ((self.pairs + 1) // 2, self.pairs // 2 + 1))
        return (_cosine(low) + _cosine(high)) / 2


def _count_scores(
    before: FloatArray, after: FloatArray, person_index: IntArray
) -> tuple[tuple[_Scores, _Scores], tuple[_Scores, _Scores]]:
    """Of pairs of one person before and after, of pairs of different people before and after."""
    histograms = np.zeros((2, 2, _STEPS + 1), np.int64)
    totals = np.zeros((2, 2))
    for *scores, same in _blocks(before, after, person_index):
        for kind, chosen in enumerate((same, ~same)):
            for time, values in enumerate(scores):
                steps = np.rint((values[chosen] + 1) * (_STEPS / 2)).astype(np.int64)
                histograms[kind, time] += np.bincount(steps, minlength=_STEPS + 1)
                totals[kind, time] += values[chosen].sum(dtype=np.float64)
    genuine, impostors = (
        (
            _Scores(histograms[kind, 0], float(totals[kind, 0])),
            _Scores(histograms[kind, 1], float(totals[kind, 1])),
        )
        for kind in (0, 1)
    )
    return genuine, impostors


def _blocks(
    before: FloatArray, after: FloatArray, person_index: IntArray
) -> Iterator[tuple[FloatArray, FloatArray, BoolArray]]:
    """Each pair of samples once: cosines before and after, (P,) each, and whether they are of one person."""
    for start in range(0, len(before), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        places = np.arange(start, len(before))
        once = places[None, :] > places[:_ROWS_AT_ONCE, None]
        same = person_index[rows, None] == person_index[None, start:]
        scores_before, scores_after = (
            np.clip(vectors[rows] @ vectors[start:].T, -1, 1)[once] for vectors in (before, after)
        )
        yield scores_before, scores_after, same[once]


def _match(known: _Scores, threshold: SourcedThreshold, unknown: _Scores, which: str) -> SourcedThreshold | None:
    """The threshold that accepts the same share of pairs as `threshold` does with the other weights."""
    if not known.pairs:
        return None
    admitted = int(known.histogram[_step(threshold.threshold) :].sum())
    # The lowest step from which upwards no more pairs lie.
    above = np.cumsum(unknown.histogram[::-1])[::-1]
    lowest = int(np.flatnonzero(np.append(above, 0) <= admitted)[0])
    source = f"as strict among this gallery's pairs of different people as the one {which}"
    return SourcedThreshold(_cosine(lowest) - 1 / _STEPS, source)


def _step(cosine: float) -> int:
    return int(np.clip(np.rint((cosine + 1) * (_STEPS / 2)), 0, _STEPS))


def _cosine(step: int) -> float:
    return step / (_STEPS / 2) - 1


def _shifts(
    counts: tuple[tuple[_Scores, _Scores], tuple[_Scores, _Scores]],
) -> tuple[ScoreShift | None, ScoreShift | None]:
    genuine, impostors = (
        ScoreShift(before.pairs, before.mean, after.mean, before.median, after.median) if before.pairs else None
        for before, after in counts
    )
    return genuine, impostors


def _count_flips(
    before: FloatArray, after: FloatArray, person_index: IntArray, limits: tuple[float, float]
) -> PairFlips:
    flips = np.zeros(4, np.int64)
    for scores_before, scores_after, same in _blocks(before, after, person_index):
        was, is_now = scores_before >= np.float64(limits[0]), scores_after >= np.float64(limits[1])
        lost, gained = was & ~is_now, ~was & is_now
        flips += [int((flip & kind).sum()) for kind in (same, ~same) for flip in (lost, gained)]
    return PairFlips(*flips.tolist())


def _name(vectors: FloatArray, person_index: IntArray, threshold: float) -> list[Naming]:
    """Whom each sample is taken for by the templates of everybody, its own person's made without it."""
    left_out = leave_out(vectors, person_index)
    own = np.nan_to_num(left_out.own, nan=-np.inf)  # nobody knows who has no other sample
    is_own = own >= left_out.other
    best = np.where(is_own, own, left_out.other)
    people = np.where(is_own, person_index, left_out.other_person)
    passed = best >= np.float64(threshold)
    return [
        Naming(person if named else None, similarity)
        for person, similarity, named in zip(people.tolist(), best.tolist(), passed.tolist(), strict=True)
    ]


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

    sample: StoredSample
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
        dropped = [one.sample.id for one in unusable]
        gallery.replace_embeddings(pipeline.model_id, vectors, drop=dropped)
    flipped = _name_flips(shift, kept, names)
    return ReembedReport(model_id, pipeline.model_id, len(vectors), tuple(unusable), shift, flipped, moved)


_NO_SHIFT = EmbeddingShift(None, None, None, None, None, None, None, ())


def _refuse(samples: Sequence[StoredSample], unusable: Sequence[tuple[StoredSample, str]]) -> None:
    if unusable:
        first, reason = unusable[0]
        raise GalleryError(
            f"{len(unusable):,} of {count_of(len(samples), 'sample')} cannot be embedded again, "
            f"the first from {first.source_path} ({reason}); "
            "`dry_run` lists them: bring the photographs back, or drop those samples with `drop_unusable`"
        )


def _embed_again(
    pipeline: FacePipeline,
    samples: Sequence[StoredSample],
    names: Mapping[int, str],
    progress: Callable[[PhotoFaces], None] | None,
) -> tuple[dict[int, FloatArray], list[UnusableSample]]:
    """The new unit row of each sample by its id, and the samples for which there is none."""
    by_place: dict[tuple[bool, Path], list[StoredSample]] = {}
    for sample in samples:
        by_place.setdefault((sample.box_px is None, Path(sample.source_path)), []).append(sample)
    vectors: dict[int, FloatArray] = {}
    unusable: list[UnusableSample] = []
    for are_crops in (False, True):
        paths = [path for is_crop, path in by_place if is_crop == are_crops]
        for photo in _ungate(pipeline, already_aligned=are_crops).embed_paths(paths):
            for sample in by_place[are_crops, photo.path]:
                try:
                    vectors[sample.id] = _find_again(sample, photo, pipeline)
                except PhotoError as error:
                    trouble = _name_trouble(sample, photo)
                    unusable.append(UnusableSample(sample, names[sample.person_id], trouble, error.as_result()))
            if progress is not None:
                progress(photo)
    return vectors, unusable


def _ungate(pipeline: FacePipeline, *, already_aligned: bool) -> FacePipeline:
    return pipeline.selecting(FaceSelection.ALL).without_gates(already_aligned=already_aligned)


def _find_again(sample: StoredSample, photo: PhotoFaces, pipeline: FacePipeline) -> FloatArray:
    """The new unit row of a sample: of the face that its box marks or, of a crop, of the whole."""
    found = _pick(sample, photo)
    if found is None and _is_unchanged(sample, photo):
        for closer in _look_closer(sample, pipeline):
            (photo,) = closer.embed_paths([photo.path])
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


def _look_closer(sample: StoredSample, pipeline: FacePipeline) -> Iterator[FacePipeline]:
    """Pipelines for a face that was let in by other settings.

    However small or doubtful it is, in however large a picture, turned whichever way, with a part of the file missing.
    """
    ungated = _ungate(pipeline, already_aligned=sample.box_px is None)
    max_pixels = max(ungated.gates.max_pixels, count_pixels(Path(sample.source_path)))
    gates = replace(ungated.gates, max_side_px=None, max_pixels=max_pixels, turns=True, allow_truncated=True)
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
            turns=True,
        )
        yield FacePipeline(pipeline.detector.with_settings(settings), pipeline.embedder, gates=gates)


def _pick(sample: StoredSample, photo: PhotoFaces) -> FloatArray | None:
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


def _is_unchanged(sample: StoredSample, photo: PhotoFaces) -> bool:
    """Whether a photograph is the one that was enrolled, be it that it was not decoded."""
    try:
        return (photo.sha256 or hash_file(photo.path)) == sample.image_sha256
    except ImageError:
        return False


def _name_trouble(sample: StoredSample, photo: PhotoFaces) -> Trouble:
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
    kept: Sequence[StoredSample],
    vectors: Mapping[int, FloatArray],
    before: SourcedThreshold | None,
    after: SourcedThreshold | None,
) -> EmbeddingShift:
    nothing = np.zeros((0, 1), np.float32)
    _, person_index = np.unique([sample.person_id for sample in kept], return_inverse=True)
    return compare_embeddings(
        np.stack([sample.vector for sample in kept]) if kept else nothing,
        np.stack([vectors[sample.id] for sample in kept]) if kept else nothing,
        person_index.astype(np.int64),
        threshold_before=before,
        threshold_after=after,
    )


def _name_flips(
    shift: EmbeddingShift, kept: Sequence[StoredSample], names: Mapping[int, str]
) -> tuple[NamedSample, ...]:
    owners = [names[sample.person_id] for sample in kept]
    by_position = list(dict.fromkeys(sample.person_id for sample in kept))
    flips = []
    for flip in shift.flipped:
        sample = kept[flip.sample]
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
