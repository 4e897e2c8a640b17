"""Who of a gallery is nearest to the faces of one photograph, and which of them they are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lightface.gallery.records import GalleryMatrix, Person
from lightface.matching import (
    DecisionBands,
    PersonScoring,
    assign_people,
    cosine_scores,
    decide,
    is_same,
    mean_templates,
    person_scores,
    rank_people,
    threshold_of_pair,
)
from lightface.records import FloatArray, Match


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The person that one face was given, if any, and those who come nearest."""

    match: Match | None  # MATCHED or REVIEW; None for an unknown face
    candidates: tuple[Match, ...]  # best first, whether or not they pass, or were given to another face


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """How similar each face is to each of some people."""

    people: Sequence[Person]  # K, by id
    cosines: FloatArray  # (P, K) float32


@dataclass(frozen=True, slots=True, eq=False)
class Templates:
    """The template of each person, the normalised mean of their samples: made once, and compared with many faces."""

    people: tuple[Person, ...]  # by id
    vectors: FloatArray  # (K, D) float32 unit rows; zeros where somebody's samples cancel out

    @classmethod
    def of(cls, matrix: GalleryMatrix) -> Templates:
        """The templates of everybody in a matrix."""
        if not matrix.people:
            return cls((), matrix.vectors)
        first_samples = np.flatnonzero(np.diff(matrix.person_index, prepend=-1))
        return cls(matrix.people, mean_templates(matrix.vectors, first_samples))

    def score(self, probes: FloatArray) -> Scores:
        """The cosine of each unit row of `probes` (P, D) to each template."""
        return Scores(self.people, cosine_scores(probes, self.vectors))


def score_samples(probes: FloatArray, matrix: GalleryMatrix, how: PersonScoring) -> Scores:
    """The similarity of each unit row of `probes` (P, D) to each person, from their samples; see `person_scores`."""
    people = matrix.people
    return Scores(people, person_scores(probes, matrix.vectors, matrix.person_index, len(people), how=how))


def name_faces(
    scores: Scores,
    bands: DecisionBands,
    limit: int,
    *,
    poorness: Sequence[float],
    poorness_of: Callable[[int], float],
) -> list[SearchResult]:
    """A result for each face of one photograph; nobody is named twice.

    `poorness` (0..1) is that of each face, and `poorness_of` tells that of a person by id: see `threshold_of_pair`.
    """
    known = functools.cache(poorness_of)

    def threshold(face: int, column: int) -> float:
        is_named = is_same(float(scores.cosines[face, column]), bands.naming_threshold)
        if not is_named or not poorness[face] or not bands.poor_raise:  # and nobody's samples are read for nothing
            return bands.threshold
        person = known(scores.people[column].id)
        return threshold_of_pair(bands.threshold, poorness[face], person, poor_raise=bands.poor_raise)

    def match(face: int, column: int) -> Match:
        person, similarity, needed = scores.people[column], float(scores.cosines[face, column]), threshold(face, column)
        return Match(person.id, person.name, similarity, decide(similarity, bands, threshold=needed), needed)

    # A person goes to a face that is matched rather than to a poor one that is like them, but not alike enough.
    gains = scores.cosines.astype(np.float64)
    for face, column in np.argwhere(gains >= bands.naming_threshold).tolist():
        raised = threshold(face, column) - bands.threshold
        if raised > 0:
            gains[face, column] = max(gains[face, column] - raised, np.nextafter(bands.naming_threshold, 2))
    return [
        SearchResult(
            match=None if named is None else match(face, named),
            candidates=tuple(match(face, column) for column in rank_people(scores.cosines[face], limit).tolist()),
        )
        for face, named in enumerate(assign_people(gains, bands.naming_threshold))
    ]
