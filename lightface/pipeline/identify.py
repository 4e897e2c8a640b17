"""Who is in a photograph?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lightface.errors import GalleryError, PhotoError, check_count
from lightface.gallery import Gallery
from lightface.images import PhotoSource
from lightface.matching import DEFAULT_PERSON_SCORING, DecisionBands, PersonScoring
from lightface.pipeline.face_pipeline import FacePipeline, PhotoFaces, RefusedFace, stack_vectors
from lightface.records import FaceEmbedding, FaceSelection, Match


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
        results.append(result)
        if progress is not None:
            progress(result)
    return results


def _identify(
    photo: PhotoFaces, gallery: Gallery, bands: DecisionBands, limit: int, scoring: PersonScoring
) -> IdentifiedPhoto:
    if photo.error is not None:
        return IdentifiedPhoto(photo.path, refused=photo.refused, error=photo.error)
    found = gallery.search(stack_vectors(photo.faces), bands=bands, limit=limit, scoring=scoring)
    return IdentifiedPhoto(
        photo.path,
        tuple(IdentifiedFace(face, one.match, one.candidates) for face, one in zip(photo.faces, found, strict=True)),
        refused=photo.refused,
        not_selected=photo.not_selected,
    )
