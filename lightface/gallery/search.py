"""Who of a gallery is nearest to the faces of one photograph, and which of them they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lightface.gallery.records import GalleryMatrix, Person
from lightface.matching import (
    DecisionBands,
    PersonScoring,
    assign_people,
    cosine_scores,
    decide,
    mean_templates,
    person_scores,
    rank_people,
    threshold_of_pair,
)
from lightface.records import FloatArray, Match, Status


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The person that one face was given, if any, and those who come nearest."""

    match: Match | None  # MATCHED or REVIEW; None for an unknown face
    candidates: tuple[Match, ...]  # best first, whether or not they pass, or were given to another face

    def for_poor(self, poorness: float, poorness_of: Callable[[int], float], bands: DecisionBands) -> SearchResult:
        """The result for a face of such poorness (0..1); `poorness_of` tells that of a person by id."""
        if not poorness or not bands.poor_raise:
            return self

        def judge(match: Match) -> Match:
            if match.status is not Status.MATCHED:
                return match
            pair = threshold_of_pair(
                bands.threshold, poorness, poorness_of(match.person_id), poor_raise=bands.poor_raise
            )
            return replace(match, status=decide(match.similarity, bands, threshold=pair), threshold=pair)

        return SearchResult(None if self.match is None else judge(self.match), tuple(map(judge, self.candidates)))


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


def name_faces(scores: Scores, bands: DecisionBands, limit: int) -> list[SearchResult]:
    """A result for each face of one photograph; nobody is named twice."""

    def match(face: int, column: int) -> Match:
        person, similarity = scores.people[column], float(scores.cosines[face, column])
        return Match(person.id, person.name, similarity, decide(similarity, bands), bands.threshold)

    return [
        SearchResult(
            match=None if named is None else match(face, named),
            candidates=tuple(match(face, column) for column in rank_people(scores.cosines[face], limit).tolist()),
        )
        for face, named in enumerate(assign_people(scores.cosines, bands.naming_threshold))
    ]
