"""What may be wrong in a gallery: photographs under the wrong name, people enrolled twice or two as one, repeats.

An audit compares what is stored; it embeds nothing and changes nothing. `pytest -s tests/pipeline/test_audit_people.py`
measures the figures below: 25 people with eight photographs each (199 faces), the weights of run 12 (weights/RUNS.md).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Final

import numpy as np

from lightface.errors import PersonNotFoundError, ThresholdError, check_number
from lightface.frame import EMBEDDING_SIZE
from lightface.gallery.gallery import Gallery
from lightface.gallery.likeness import find_like_people, find_like_samples, find_parts, leave_out
from lightface.gallery.records import StoredSample
from lightface.matching import is_same, mean_templates
from lightface.records import BoxPx, FloatArray, IntArray

# From this cosine up, two faces are taken for one picture. The two true repeats among the 199 faces have 0.98 and more,
# the most similar different photographs of one person 0.91, of two people 0.61.
SAME_PICTURE: Final = 0.95
# A sample is taken for mislabelled when another person is nearer than its own by this share of the threshold. Of six
# photographs put under other names (20 draws), 91 % are found, and 91 % of what is listed was swapped.
_MARGIN: Final = 0.5
LOW_QUALITY: Final = 0.3  # `quality.measure_quality`; 2 % of the 199 faces are below
_CROWD: Final = 5  # times the median number of samples
_SHOWN: Final = 1000  # of pairs, whose number can grow with the square of the gallery


@dataclass(frozen=True, slots=True)
class AuditedPerson:
    """A person, with the number of their samples."""

    id: int
    name: str
    sample_count: int


@dataclass(frozen=True, slots=True)
class AuditedSample:
    """A sample, and whose it is."""

    id: int
    person_id: int
    person_name: str
    source_path: str
    image_sha256: str
    box_px: BoxPx | None
    quality: float | None


@dataclass(frozen=True, slots=True)
class MislabelledSample:
    """A sample that is nearer to another person than to its own. Similarities are cosines to mean templates."""

    sample: AuditedSample
    own_similarity: float  # to the other samples of its person
    other_similarity: float  # to the samples of the other
    nearest_own: AuditedSample
    nearest_other: AuditedSample


@dataclass(frozen=True, slots=True)
class PersonPart:
    """Samples that are enrolled for one person and do not resemble that person's others."""

    samples: tuple[AuditedSample, ...]
    similarity: float  # mean cosine to the person's other samples
    resembles: AuditedPerson | None  # another person, whose template they reach the threshold with, on average
    resembles_similarity: float | None  # that average


@dataclass(frozen=True, slots=True)
class MixedPerson:
    """A person whose samples do not look like one person's: two people under one name, or strangers among the samples.

    Mislabelled samples are left out, since they are listed as such.
    """

    person: AuditedPerson
    # Two or more, the likeliest to be the person first: of those that are like nobody else the largest, or the oldest.
    parts: tuple[PersonPart, ...]

    @property
    def is_tie(self) -> bool:
        """Whether nothing says which of the first two parts is the person."""
        first, second = self.parts[:2]
        return len(first.samples) == len(second.samples) and (first.resembles is None) == (second.resembles is None)


@dataclass(frozen=True, slots=True)
class RepeatedPicture:
    """Two samples of one picture, or two faces of one file where one person was enrolled."""

    a: AuditedSample
    b: AuditedSample
    similarity: float
    same_file: bool
    # Of a picture under two names, the sample that is less like its person's others; None where nothing tells.
    misplaced: AuditedSample | None


@dataclass(frozen=True, slots=True)
class ClosePeople:
    """Two people who may be one. Each one's samples reach `similarity` to the other's template, on average."""

    a: AuditedPerson
    b: AuditedPerson
    similarity: float
    sample_a: AuditedSample  # of all their samples the two that are nearest
    sample_b: AuditedSample


@dataclass(frozen=True, slots=True)
class GalleryAudit:
    """What an audit found, the worst of each kind first. Of pairs at most 1000 are listed; totals count all."""

    location: str
    model_id: str | None
    threshold: float  # cosine from which two faces are one person
    person_count: int
    sample_count: int
    mislabelled: tuple[MislabelledSample, ...]
    mixed: tuple[MixedPerson, ...]
    close_people: tuple[ClosePeople, ...]
    close_people_total: int
    repeated: tuple[RepeatedPicture, ...]
    repeated_total: int
    low_quality: tuple[AuditedSample, ...]
    gone: tuple[AuditedSample, ...]  # no file lies where the photograph was
    single_sample: tuple[AuditedPerson, ...]
    without_samples: tuple[AuditedPerson, ...]
    crowded: tuple[AuditedPerson, ...]  # with at least five times the median number of samples

    @property
    def doubts(self) -> int:
        """Findings that leave it open who is who: mislabelled, mixed and close people, one picture with two names."""
        shared = sum(one.a.person_id != one.b.person_id for one in self.repeated)
        return len(self.mislabelled) + len(self.mixed) + self.close_people_total + shared


def audit_gallery(gallery: Gallery, *, threshold: float, min_quality: float = LOW_QUALITY) -> GalleryAudit:
    """Look through a gallery.

    `threshold` is the cosine from which two faces are one person, see `pipeline.resolve_bands`: in a gallery of
    thousands, take one for a false-accept rate far below 1e-3, or strangers will resemble each other by chance.
    Samples below `min_quality` (0..1) are listed; those of unknown quality are not. 10,000 people with five samples
    each take some 300 MB and less than a minute. ThresholdError and ConfigError where these are no such numbers.
    """
    check_number("a threshold", threshold, error=ThresholdError)
    check_number("min_quality", min_quality, low=0, high=1)
    people = gallery.people()
    names = {person.id: person.name for person in people}
    samples = [sample for sample in gallery.samples() if sample.person_id in names]  # others may be at work meanwhile
    counts = dict.fromkeys(names, 0)
    for sample in samples:
        counts[_owner(sample)] += 1
    listed = [AuditedPerson(person.id, person.name, counts[person.id]) for person in people]
    view = _View(samples, names, {person.id: person for person in listed})
    mislabelled = view.find_mislabelled(threshold)
    close, close_total = view.find_close_people(threshold)
    repeated, repeated_total = view.find_repeated(threshold)
    typical = median([one.sample_count for one in listed if one.sample_count] or [0])
    poor = [sample for sample in samples if sample.quality is not None and sample.quality < min_quality]
    return GalleryAudit(
        location=gallery.location,
        model_id=gallery.model_id,
        threshold=threshold,
        person_count=len(people),
        sample_count=len(samples),
        mislabelled=mislabelled,
        mixed=view.find_mixed(threshold, besides={one.sample.id for one in mislabelled}),
        close_people=close,
        close_people_total=close_total,
        repeated=repeated,
        repeated_total=repeated_total,
        low_quality=tuple(map(view.describe, sorted(poor, key=lambda sample: sample.quality or 0))),
        gone=tuple(view.describe(sample) for sample in samples if not os.path.exists(sample.source_path)),
        single_sample=tuple(one for one in listed if one.sample_count == 1),
        without_samples=tuple(one for one in listed if one.sample_count == 0),
        crowded=tuple(one for one in listed if one.sample_count >= _CROWD * typical > 0),
    )


def find_parts_of(gallery: Gallery, person: str | int, *, threshold: float) -> MixedPerson | None:
    """The parts that the samples of one person fall into, as `audit_gallery` sees them; None where they are alike.

    Here mislabelled samples are not left out: they are in a part as well. ThresholdError where `threshold` is none,
    PersonNotFoundError where there is no such person.
    """
    check_number("a threshold", threshold, error=ThresholdError)
    found = gallery.find_person(person)
    if found is None:
        raise PersonNotFoundError(f"there is no person {person!r} in the gallery; name one of its people")
    people = {one.id: one for one in gallery.people()}
    samples = [sample for sample in gallery.samples() if sample.person_id in people]
    counts = Counter(map(_owner, samples))
    listed = {one.id: AuditedPerson(one.id, one.name, counts[one.id]) for one in people.values()}
    view = _View(samples, {one.id: one.name for one in people.values()}, listed)
    mixed = view.find_mixed(threshold, besides={sample.id for sample in samples if sample.person_id != found.id})
    return mixed[0] if mixed else None


class _View:
    """The samples of a gallery as arrays, and back."""

    def __init__(
        self, samples: Sequence[StoredSample], names: dict[int, str], people: dict[int, AuditedPerson]
    ) -> None:
        self._samples = samples
        self._names = names
        self._people = people
        # `samples()` is sorted by person, as the products want it.
        owners, first, index = np.unique([_owner(sample) for sample in samples], return_index=True, return_inverse=True)
        self._first_rows = first
        self._owners: list[int] = owners.tolist()
        self._person_index: IntArray = index.astype(np.int64, copy=False)
        self._vectors: FloatArray = np.stack([sample.vector for sample in samples]) if samples else _NOBODY
        self._templates = mean_templates(self._vectors, first.astype(np.int64)) if samples else _NOBODY

    def describe(self, sample: StoredSample) -> AuditedSample:
        return AuditedSample(
            id=sample.id,
            person_id=_owner(sample),
            person_name=self._names[_owner(sample)],
            source_path=sample.source_path,
            image_sha256=sample.image_sha256,
            box_px=sample.box_px,
            quality=sample.quality,
        )

    def find_mislabelled(self, threshold: float) -> tuple[MislabelledSample, ...]:
        if not self._samples:
            return ()
        left_out = leave_out(self._vectors, self._person_index)
        lead = left_out.other - left_out.own  # NaN for a person's only sample, of which nothing can be said
        found = np.flatnonzero((left_out.other >= np.float64(threshold)) & (lead > max(threshold, 0) * _MARGIN))
        order = found[np.argsort(-lead[found], kind="stable")]
        return tuple(
            MislabelledSample(
                sample=self.describe(self._samples[place]),
                own_similarity=float(left_out.own[place]),
                other_similarity=float(left_out.other[place]),
                nearest_own=self._nearest(place, int(self._person_index[place])),
                nearest_other=self._nearest(place, int(left_out.other_person[place])),
            )
            for place in order.tolist()
        )

    def find_mixed(self, threshold: float, *, besides: Collection[int]) -> tuple[MixedPerson, ...]:
        """People whose samples fall into parts, without the samples `besides`."""
        looked_at = np.array([sample.id not in besides for sample in self._samples], np.bool_)
        found = []
        for index, rows in enumerate(np.split(np.arange(len(self._samples)), self._first_rows[1:])):
            rows = rows[looked_at[rows]]
            labels = find_parts(self._vectors[rows], threshold=threshold)
            if labels.any():
                parts = [
                    self._describe_part(rows[labels == label], rows[labels != label], threshold)
                    for label in range(labels.max() + 1)
                ]
                parts.sort(key=lambda part: part.resembles is not None)
                found.append(MixedPerson(self._people[self._owners[index]], tuple(parts)))
        return tuple(sorted(found, key=lambda one: min(part.similarity for part in one.parts)))

    def _describe_part(self, rows: IntArray, others: IntArray, threshold: float) -> PersonPart:
        scores = self._vectors[rows].mean(axis=0) @ self._templates.T  # the mean of their cosines
        scores[self._person_index[rows[0]]] = -np.inf
        nearest = int(scores.argmax())
        alike = is_same(scores[nearest], threshold)
        return PersonPart(
            samples=tuple(self.describe(self._samples[row]) for row in rows.tolist()),
            similarity=float((self._vectors[rows] @ self._vectors[others].T).mean()),
            resembles=self._people[self._owners[nearest]] if alike else None,
            resembles_similarity=float(scores[nearest]) if alike else None,
        )

    def find_close_people(self, threshold: float) -> tuple[tuple[ClosePeople, ...], int]:
        if not self._samples:
            return (), 0
        found = find_like_people(self._vectors, self._person_index, at_least=threshold, limit=_SHOWN)
        listed = []
        for (a, b), similarity in zip(found.pairs.tolist(), found.similarities.tolist(), strict=True):
            rows_a, rows_b = (np.flatnonzero(self._person_index == person) for person in (a, b))
            scores = self._vectors[rows_a] @ self._vectors[rows_b].T
            row, column = np.unravel_index(scores.argmax(), scores.shape)
            listed.append(
                ClosePeople(
                    self._people[self._owners[a]],
                    self._people[self._owners[b]],
                    similarity,
                    self.describe(self._samples[rows_a[row]]),
                    self.describe(self._samples[rows_b[column]]),
                )
            )
        return tuple(listed), found.total

    def find_repeated(self, threshold: float) -> tuple[tuple[RepeatedPicture, ...], int]:
        """One picture again by its cosine; and of one file, what is not clearly two faces of two people."""
        found = find_like_samples(self._vectors, at_least=SAME_PICTURE, limit=_SHOWN)
        pairs = dict(zip(map(tuple, found.pairs.tolist()), found.similarities.tolist(), strict=True))
        total = found.total
        files: dict[str, list[int]] = {}
        for place, sample in enumerate(self._samples):
            files.setdefault(sample.image_sha256, []).append(place)
        for places in files.values():
            for a, b in combinations(places, 2):
                similarity = float(self._vectors[a] @ self._vectors[b])
                if similarity < SAME_PICTURE and (
                    self._person_index[a] == self._person_index[b] or similarity >= threshold
                ):
                    pairs[a, b] = similarity
                    total += 1
        listed = sorted(pairs.items(), key=lambda item: -item[1])[:_SHOWN]
        return tuple(self._repeated(a, b, similarity) for (a, b), similarity in listed), total

    def _repeated(self, a: int, b: int, similarity: float) -> RepeatedPicture:
        one, two = self._samples[a], self._samples[b]
        same_file = one.image_sha256 == two.image_sha256
        misplaced = None
        if one.person_id != two.person_id:
            own_a, own_b = (self._own_similarity(place) for place in (a, b))
            misplaced = None if own_a == own_b else self.describe(one if own_a < own_b else two)
        return RepeatedPicture(self.describe(one), self.describe(two), similarity, same_file, misplaced)

    def _own_similarity(self, place: int) -> float:
        """The mean cosine of a sample to its person's others; -1 where there are none."""
        others = (self._person_index == self._person_index[place]) & (np.arange(len(self._samples)) != place)
        return float((self._vectors[others] @ self._vectors[place]).mean()) if others.any() else -1.0

    def _nearest(self, place: int, person: int) -> AuditedSample:
        """The person's sample that is most similar to the sample at `place`, which is not it itself."""
        rows = np.flatnonzero((self._person_index == person) & (np.arange(len(self._samples)) != place))
        return self.describe(self._samples[rows[int(np.argmax(self._vectors[rows] @ self._vectors[place]))]])


_NOBODY: Final[FloatArray] = np.zeros((0, EMBEDDING_SIZE), np.float32)


def _owner(sample: StoredSample) -> int:
    return sample.person_id
