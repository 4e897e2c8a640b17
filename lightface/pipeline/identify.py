"""Who is in a photograph?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lightface.errors import GalleryError, PhotoError, check_count
from lightface.gallery import Gallery, GalleryMatrix
from lightface.images import PhotoSource
from lightface.matching import (
    DEFAULT_PERSON_SCORING,
    DecisionBands,
    PersonScoring,
    assign_people,
    decide,
    person_scores,
    rank_people,
)
from lightface.pipeline.face_pipeline import FacePipeline, PhotoFaces, RefusedFace, stack_vectors
from lightface.records import FaceEmbedding, FaceSelection, FloatArray, Match


@dataclass(frozen=True, slots=True, eq=False)
class IdentifiedFace:
    """One face with the person it was given, if any, and those who come nearest."""

    face: FaceEmbedding
    match: Match | None  # MATCHED or REVIEW; None for an unknown face
    candidates: tuple[Match, ...]  # best first, whether or not they pass, or were given to another face


@dataclass(frozen=True, slots=True, eq=False)
class IdentifiedPhoto:
    """The people in one photograph, or the reason why nobody could be looked for."""

    path: Path
    faces: tuple[IdentifiedFace, ...] = ()  # largest first
    refused: tuple[RefusedFace, ...] = ()  # found, and not compared with anybody
    error: PhotoError | None = None
    not_selected: int = 0  # faces that passed the gates, and which the selection left out


def identify_photos(
    pipeline: FacePipeline,
    gallery: Gallery,
    paths: Iterable[PhotoSource],
    *,
    bands: DecisionBands,
    selection: FaceSelection = FaceSelection.ALL,
    limit: int = 5,
    scoring: PersonScoring = DEFAULT_PERSON_SCORING,
    progress: Callable[[IdentifiedPhoto], None] | None = None,
) -> list[IdentifiedPhoto]:
    """Name the faces of photographs; nobody is named twice in one photograph.

    `limit` candidates are listed for each face. Raises GalleryError where nobody is enrolled, ConfigError for a limit
    that is no whole number of 0 or more.
    """
    check_count("limit", limit, low=0)
    if gallery.is_empty:
        raise GalleryError(f"nobody is enrolled in {gallery.location}; begin with 'lightface enroll NAME PHOTO'")
    results = []
    for photo in pipeline.embed_paths(paths, selection=selection):
        result = _identify(photo, gallery, bands, limit, scoring)
        gallery.log_matches(face.match for face in result.faces if face.match is not None)
        results.append(result)
        if progress is not None:
            progress(result)
    return results


def _identify(
    photo: PhotoFaces, gallery: Gallery, bands: DecisionBands, limit: int, scoring: PersonScoring
) -> IdentifiedPhoto:
    if photo.error is not None:
        return IdentifiedPhoto(photo.path, refused=photo.refused, error=photo.error)
    vectors = stack_vectors(photo.faces)
    # As many as there are faces are enough to name them: whoever is worse than that for a face, the best assignment
    # can do without, for the other faces take one person each.
    matrix = gallery.matrix_near(vectors, max(limit, len(vectors))) if scoring == "mean" else gallery.matrix()
    scores = person_scores(vectors, matrix.vectors, matrix.person_index, len(matrix.people), how=scoring)
    people = assign_people(scores, bands.naming_threshold)
    return IdentifiedPhoto(
        photo.path,
        tuple(
            IdentifiedFace(
                face,
                match=None if person is None else _to_match(matrix, row, person, bands),
                candidates=tuple(_to_match(matrix, row, index, bands) for index in rank_people(row, limit).tolist()),
            )
            for face, row, person in zip(photo.faces, scores, people, strict=True)
        ),
        refused=photo.refused,
        not_selected=photo.not_selected,
    )


def _to_match(matrix: GalleryMatrix, scores: FloatArray, index: int, bands: DecisionBands) -> Match:
    person, similarity = matrix.people[index], float(scores[index])
    return Match(person.id, person.name, similarity, decide(similarity, bands))
