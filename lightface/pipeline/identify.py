"""Who is in a photograph?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lightface.drawing import draw_faces
from lightface.errors import ClusterError, GalleryError, PhotoError, ThresholdError, check_count
from lightface.gallery import Gallery
from lightface.gallery.search import SearchResult
from lightface.images import PhotoSource, load_photo
from lightface.matching import DEFAULT_PERSON_SCORING, DecisionBands, PersonScoring
from lightface.pipeline.cluster import cluster_faces
from lightface.pipeline.face_pipeline import FacePipeline, PhotoFaces, RefusedFace, stack_vectors
from lightface.records import (
    ByteArray,
    FaceEmbedding,
    FaceSelection,
    Match,
    Status,
    fields_of,
    to_plain,
)
from lightface.tables import FaceRow, describe_face, describe_failure, describe_refusal
from lightface.words import explain, visible

DEFAULT_LIMIT = 3  # candidates that are listed for each face


@dataclass(frozen=True, slots=True, eq=False)
class IdentifiedFace:
    """One face with the person it was given, if any, and those who come nearest."""

    face: FaceEmbedding
    match: Match | None  # MATCHED or REVIEW; None for an unknown face
    candidates: tuple[Match, ...]  # best first, whether or not they pass, or were given to another face

    def __str__(self) -> str:
        return "unknown" if self.match is None else str(self.match)

    @property
    def status(self) -> Status:
        """MATCHED, REVIEW or UNKNOWN."""
        return Status.UNKNOWN if self.match is None else self.match.status

    def to_dict(self) -> dict[str, Any]:
        """Where it was found, the person and the nearest people, for `json.dumps`; the embedding is left out."""
        place = {name: value for name, value in self.face.to_dict().items() if name != "embedding"}
        nobody = {"person_id": None, "person_name": None, "similarity": None, "status": self.status.value}
        person = nobody if self.match is None else self.match.to_dict()
        return {**place, **person, "candidates": to_plain(self.candidates)}


@dataclass(frozen=True, slots=True, eq=False)
class IdentifiedPhoto:
    """The people in one photograph, or the reason why nobody could be looked for."""

    path: Path
    faces: tuple[IdentifiedFace, ...] = ()  # largest first
    refused: tuple[RefusedFace, ...] = ()  # found, and not compared with anybody
    error: PhotoError | None = None
    not_selected: int = 0  # faces that passed the gates, and which the selection left out
    threshold: float | None = None  # cosine from which a face was given a person

    def __str__(self) -> str:
        if self.error is not None:
            return visible(explain(self.path, self.error))
        return visible(f"{self.path}: {', '.join(map(str, self.faces))}")

    def numbered_refused(self) -> Iterator[tuple[int, RefusedFace]]:
        """The refused faces, numbered after all others: a face has the number that `embed_folder` gives it."""
        return enumerate(self.refused, start=len(self.faces) + self.not_selected)

    def rows(self) -> list[FaceRow]:
        """The rows of the face table: one for each face, and one for a photograph without."""
        if self.error is not None and not self.refused:
            return [describe_failure(self.path, self.error.reason)]
        found = [
            describe_face(self.path, index, one.face, status=one.status, match=one.match, threshold=self.threshold)
            for index, one in enumerate(self.faces)
        ]
        return found + [
            describe_refusal(self.path, index, one.detection, one.error.reason)
            for index, one in self.numbered_refused()
        ]

    def to_dict(self) -> dict[str, Any]:
        """The rows of the face table with the nearest people instead of the embeddings, for `json.dumps`."""
        faces = [{**fields_of(replace(row, embedding=None)), "candidates": []} for row in self.rows()]
        for face, one in zip(faces, self.faces, strict=False):  # the rest are refused ones
            face["candidates"] = to_plain(one.candidates)
        for face in faces:
            del face["embedding"]
        return {"image_path": str(self.path), "faces": faces}

    def draw(self, image_rgb: ByteArray | None = None) -> ByteArray:
        """A copy of the photograph with a box and a name for each face, refused ones in grey: (H, W, 3) uint8 RGB.

        `image_rgb` are the pixels of the upright photograph; None: it is read again from its path. ImageError where it
        is not there, as for a photograph that was given as bytes or pixels.
        """
        if image_rgb is None:
            image_rgb = load_photo(self.path).image_rgb
        drawn = [(index, one) for index, one in enumerate(self.faces) if one.face.detection is not None]
        labels = [
            f"{index}: unknown" if one.match is None else f"{index}: {one.match.person_name} {one.match.similarity:.2f}"
            for index, one in drawn
        ]
        refused = [
            (one.detection, f"{index}: refused, {one.error.reason.replace('_', ' ')}")
            for index, one in self.numbered_refused()
        ]
        boxes = [one.face.detection for _, one in drawn if one.face.detection is not None]
        return draw_faces(image_rgb, boxes, labels, refused=refused)


def identify_photos(
    pipeline: FacePipeline,
    gallery: Gallery,
    paths: Iterable[PhotoSource],
    *,
    bands: DecisionBands,
    selection: FaceSelection | str = FaceSelection.ALL,
    limit: int = DEFAULT_LIMIT,
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
    for photo in pipeline.selecting(selection).embed_paths(paths, videos=True):
        result = _identify(photo, gallery, bands, limit, scoring)
        results.append(result)
        if progress is not None:
            progress(result)
    return results


def number_unknown(photos: Sequence[IdentifiedPhoto]) -> dict[tuple[Path, int], int]:
    """The unknown faces that are of somebody who is on several photographs: (path, face) -> number of the person.

    They are grouped as by `cluster_faces`; 1 is on the most photographs. Empty where no threshold is known for that.
    """
    rows = [row for photo in photos for row in photo.rows() if row.status is Status.UNKNOWN]
    if not rows:
        return {}
    try:
        groups = cluster_faces(rows)
    except (ThresholdError, ClusterError):  # of weights without thresholds; too many that are alike
        return {}
    return {
        (one.face.image_path, one.face.face_index): one.cluster
        for one in groups.faces
        if one.cluster is not None and one.face.face_index is not None
    }


def _identify(
    photo: PhotoFaces, gallery: Gallery, bands: DecisionBands, limit: int, scoring: PersonScoring
) -> IdentifiedPhoto:
    if photo.error is not None:
        return IdentifiedPhoto(photo.path, refused=photo.refused, error=photo.error, threshold=bands.threshold)
    search = partial(gallery.search, bands=bands, limit=limit, scoring=scoring)
    qualities = [face.quality for face in photo.faces]
    if any(face.span is not None for face in photo.faces):
        # Somebody who leaves and comes back has several tracks: all of them are named, but never two at one time.
        alone = [search(face.vector[np.newaxis], qualities=[face.quality])[0] for face in photo.faces]
        found = _at_one_time(alone, photo.faces)
    else:
        found = search(stack_vectors(photo.faces), qualities=qualities)
    return IdentifiedPhoto(
        photo.path,
        tuple(IdentifiedFace(face, one.match, one.candidates) for face, one in zip(photo.faces, found, strict=True)),
        refused=photo.refused,
        not_selected=photo.not_selected,
        threshold=bands.threshold,
    )


def _at_one_time(found: Sequence[SearchResult], faces: Sequence[FaceEmbedding]) -> list[SearchResult]:
    """The same without the match of a track that shares person and time with a track that is more alike."""
    kept: list[int] = []
    for index in sorted(range(len(found)), key=lambda index: -_similarity(found[index])):
        match = found[index].match
        if match is None or not any(
            other.person_id == match.person_id and _overlap(faces[index], faces[rival])
            for rival in kept
            if (other := found[rival].match) is not None
        ):
            kept.append(index)
    return [one if index in kept else replace(one, match=None) for index, one in enumerate(found)]


def _similarity(found: SearchResult) -> float:
    return -1.0 if found.match is None else found.match.similarity


def _overlap(one: FaceEmbedding, other: FaceEmbedding) -> bool:
    if one.span is None or other.span is None:
        return True
    return one.span.start_s <= other.span.end_s and other.span.start_s <= one.span.end_s
