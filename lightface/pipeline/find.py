"""On which photographs is somebody of whom there are some photographs? Nobody is enrolled for it.

    person = describe_person(pipeline, [Path("ada1.jpg"), Path("ada2.jpg")])
    search = find_person(person, rows)

The person is the mean of the embeddings that were given, and the faces searched are compared with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from lightface.clustering import threshold_at_rate
from lightface.errors import (
    ConfigError,
    FaceNotFoundError,
    ModelMismatchError,
    PhotoError,
    ThresholdError,
    check_count,
    check_number,
)
from lightface.images import PhotoSource
from lightface.locations import RemotePath
from lightface.matching import (
    POOR_RAISE,
    cosine_scores,
    is_same,
    mean_templates,
    measure_poorness,
    template_factor,
    threshold_of_pair,
)
from lightface.models.registry import WeightsRecord, find_record
from lightface.pipeline.face_pipeline import FacePipeline, PhotoFaces
from lightface.pipeline.thresholds import DEFAULT_FAR, raise_threshold, resolve_threshold
from lightface.records import FaceEmbedding, FaceSelection, FloatArray, Status, to_plain
from lightface.tables import FaceRow, name_photo
from lightface.words import count_of, visible

SCHEMA_VERSION: Final = 1  # of `PersonSearch.to_dict`

# A search makes as many comparisons as there are faces: at this rate divided by their number, one search in ten finds a
# stranger. Of 199 searches among 212 faces, 12 found one from a single photograph, 5 from three; 71 and 86 % of the
# person's other photographs were found (`scripts/measure_people -k find`).
WRONG_PER_SEARCH: Final = 0.1

# Photographs less alike than one in ten pairs of strangers are taken to show different people. Of 199 sets of three
# photographs of one person, 14 are refused so, and 167 of 199 in which one shows somebody else (as measured there).
_CLEARLY_OTHER_RATE: Final = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class QueryFace:
    """A face of the person who is looked for."""

    path: Path
    face: FaceEmbedding
    similarity: float | None  # cosine to the mean of the person's other faces, -1..1; None for the only one


@dataclass(frozen=True, slots=True, eq=False)
class QueryPerson:
    """Somebody as the photographs show them that were given."""

    faces: tuple[QueryFace, ...]
    failed: tuple[PhotoFaces, ...]  # photographs without a usable face
    vector: FloatArray = field(repr=False)  # (256,) float32, the mean of the faces, Euclidean length 1
    unlike: tuple[QueryFace, ...] = ()  # of several faces, those under the threshold to the others

    @property
    def poorness(self) -> float:
        """The mean over the faces, 0..1; see `lightface.matching.threshold_of_pair`."""
        return float(measure_poorness(one.face.quality for one in self.faces).mean())

    @property
    def model_id(self) -> str:
        """Of the weights that embedded the faces."""
        return self.faces[0].face.model_id


@dataclass(frozen=True, slots=True, eq=False)
class FoundFace:
    """The person's face on one of the photographs that were searched."""

    face: FaceRow
    similarity: float  # cosine to the mean of the person's faces, -1..1; not a probability
    threshold: float  # cosine from which it is the person's; the higher, the poorer this face and those given are
    is_query: bool = False  # the photograph is one of those that were given

    def __str__(self) -> str:
        return visible(f"{self.face.image_path}, face {self.face.face_index}: {self.similarity:.3f}")

    def to_dict(self) -> dict[str, Any]:
        """Where the face is and how alike, for `json.dumps`."""
        return {
            "image_path": str(self.face.image_path),
            "face_index": self.face.face_index,
            "bbox": to_plain(self.face.bbox),
            "similarity": self.similarity,
            "threshold": self.threshold,
            "is_query": self.is_query,
        }


@dataclass(frozen=True, slots=True, eq=False)
class PersonSearch:
    """The photographs that show a person, one face of each, the most similar first."""

    person: QueryPerson
    threshold: float  # cosine from which a clear face is the person's
    faces_searched: int
    photos_searched: int  # photographs with a face
    found: tuple[FoundFace, ...]
    left_out: int = 0  # photographs that were found, and are beyond the limit
    nearest: FoundFace | None = None  # where no other photograph than those given was found, what came nearest
    is_found: bool = False  # the person is on a photograph besides those that were given

    def __str__(self) -> str:
        shown = count_of(len(self.found) + self.left_out, "photograph")
        return (
            f"{shown} of {self.photos_searched:,} found; searched {count_of(self.faces_searched, 'face')} "
            f"at threshold {self.threshold:.3f}"
        )

    def rows(self) -> list[FaceRow]:
        """The found faces as rows of a face table."""
        return [
            replace(one.face, similarity=one.similarity, threshold=one.threshold, status=Status.MATCHED)
            for one in self.found
        ]

    def to_dict(self) -> dict[str, Any]:
        """The search for `json.dumps`; the embeddings are left out. `schema_version` counts changes of its shape."""
        return {
            "schema_version": SCHEMA_VERSION,
            "model_id": self.person.model_id,
            "threshold": self.threshold,
            "faces_searched": self.faces_searched,
            "photographs_searched": self.photos_searched,
            "query": [
                {
                    "image_path": str(one.path),
                    "bbox": None if one.face.detection is None else to_plain(one.face.detection.box_px),
                    "similarity_to_others": one.similarity,
                }
                for one in self.person.faces
            ],
            "found": [one.to_dict() for one in self.found],
            "left_out_by_limit": self.left_out,
            "nearest": None if self.nearest is None else self.nearest.to_dict(),
        }


def describe_person(
    pipeline: FacePipeline,
    photos: Iterable[PhotoSource],
    *,
    selection: FaceSelection = FaceSelection.LARGEST,
    even_if_unlike: bool = False,
    progress: Callable[[PhotoFaces], None] | None = None,
) -> QueryPerson:
    """Embed photographs that show one person, a face of each by the `selection`.

    Faces under the weights' threshold to the mean of the others are `unlike`. Raises ConfigError where one clearly
    shows somebody else, unless `even_if_unlike`, and for the selection ALL; PhotoError where no photograph has a usable
    face, which is the only photograph's own.
    """
    if selection is FaceSelection.ALL:
        raise ConfigError("one person is looked for; choose a `selection` that takes one face of a photograph")
    results = []
    for photo in pipeline.selecting(selection).embed_paths(photos):
        results.append(photo)
        if progress is not None:
            progress(photo)
    return describe_embedded(results, pipeline.record, even_if_unlike=even_if_unlike)


def describe_embedded(
    photos: Sequence[PhotoFaces], record: WeightsRecord, *, even_if_unlike: bool = False
) -> QueryPerson:
    """The same of photographs that are embedded, by the weights of the `record`: the first face of each is taken."""
    failed = tuple(photo for photo in photos if photo.error is not None)
    usable = [photo for photo in photos if photo.error is None]
    if not usable:
        raise _nobody(failed)
    vectors = np.stack([photo.faces[0].vector for photo in usable])
    faces = tuple(
        QueryFace(photo.path, photo.faces[0], similarity)
        for photo, similarity in zip(usable, _similarities_to_others(vectors), strict=True)
    )
    unlike = _find_unlike(faces, record, even_if_unlike=even_if_unlike)
    (mean,) = mean_templates(vectors, np.zeros(1, np.int64))
    return QueryPerson(faces, failed, mean, unlike)


def find_person(
    person: QueryPerson, rows: Sequence[FaceRow], *, threshold: float | None = None, limit: int | None = None
) -> PersonSearch:
    """The photographs among the rows of face tables that show a person; rows without a face are passed over.

    A photograph is found once, by its most similar face, and `limit` of them are listed. `threshold` is a cosine; None:
    the one of `search_threshold`, and more for a poor face where those given are poor too.

    Raises FaceNotFoundError where there is no face, ModelMismatchError for faces that other weights embedded,
    ThresholdError where no threshold is known.
    """
    if limit is not None:
        check_count("limit", limit)
    if threshold is not None:
        check_number("a threshold", threshold, error=ThresholdError)
    faces = [row for row in rows if row.embedding is not None]
    _check_faces(person, faces)
    poor_raise = 0.0
    if threshold is None:
        threshold = search_threshold(find_record(person.model_id), len(faces), query_count=len(person.faces))
        poor_raise = POOR_RAISE
    poorness = measure_poorness(row.quality for row in faces).tolist()
    vectors = np.stack([row.embedding for row in faces if row.embedding is not None])
    scores = cosine_scores(person.vector[np.newaxis], vectors)[0]
    best: dict[str, FoundFace] = {}
    given = set(_names_of(one.path for one in person.faces))
    for place in np.argsort(-scores, kind="stable").tolist():
        row = faces[place]
        if str(row.image_path) not in best:
            is_query = not given.isdisjoint(_names_of([row.image_path]))
            needed = threshold_of_pair(threshold, person.poorness, poorness[place], poor_raise=poor_raise)
            best[str(row.image_path)] = FoundFace(row, float(scores[place]), needed, is_query)
    ranked = list(best.values())
    found = [one for one in ranked if is_same(one.similarity, one.threshold)]
    others = [one for one in ranked if not one.is_query]
    is_found = any(not one.is_query for one in found)
    return PersonSearch(
        person,
        threshold,
        faces_searched=len(faces),
        photos_searched=len(ranked),
        found=tuple(found[:limit]),
        left_out=len(found) - len(found[:limit]),
        nearest=None if is_found or not others else others[0],
        is_found=is_found,
    )


def search_threshold(record: WeightsRecord | None, face_count: int, *, query_count: int = 1) -> float:
    """The cosine from which one of `face_count` faces is the person's, who is the mean of `query_count` faces.

    The rate of strangers is `WRONG_PER_SEARCH` a search, and no more than the weights' own threshold lets in. As in
    `resolve_bands`, a mean raises the threshold. ThresholdError where none is known.
    """
    base = resolve_threshold(record)
    assert record is not None  # or no threshold would be known
    known = {float(far): cosine for far, cosine in record.thresholds.items()}
    strict = threshold_at_rate(known, WRONG_PER_SEARCH / max(face_count, 1))
    return raise_threshold(max(base, strict), template_factor({query_count: 1}))


def _nobody(failed: Sequence[PhotoFaces]) -> PhotoError:
    if len(failed) == 1 and failed[0].error is not None:
        return type(failed[0].error)(f"{visible(str(failed[0].path))}: {failed[0].error}")
    if not failed:
        return FaceNotFoundError("no photograph was given of the person who is looked for; give one")
    return FaceNotFoundError(f"none of {count_of(len(failed), 'photograph')} shows a face that could be looked for")


def _similarities_to_others(vectors: FloatArray) -> list[float | None]:
    """(N,) the cosine of each row (N, D) to the mean of the others; None for the only one."""
    if len(vectors) == 1:
        return [None]
    others = vectors.sum(axis=0, dtype=np.float64) - vectors
    lengths = np.maximum(np.linalg.norm(others, axis=1), 1e-9)
    return [float(one) for one in np.clip(np.einsum("nd,nd->n", vectors, others) / lengths, -1, 1)]


def _find_unlike(faces: Sequence[QueryFace], record: WeightsRecord, *, even_if_unlike: bool) -> tuple[QueryFace, ...]:
    """The faces that are unlike the others. ConfigError where the worst is clearly somebody else."""
    known = {float(far): cosine for far, cosine in record.thresholds.items()}
    if len(faces) == 1 or DEFAULT_FAR not in record.thresholds:
        return ()
    limit = record.thresholds[DEFAULT_FAR]
    unlike = tuple(one for one in faces if one.similarity is not None and not is_same(one.similarity, limit))
    worst = min(faces, key=lambda one: 1.0 if one.similarity is None else one.similarity)
    assert worst.similarity is not None
    if worst.similarity < threshold_at_rate(known, _CLEARLY_OTHER_RATE) and not even_if_unlike:
        shown = f"{faces[0].path} and {faces[1].path} seem to show two people"
        if len(faces) > 2:
            shown = f"{worst.path} seems to show somebody else than the other photographs"
        raise ConfigError(
            visible(shown) + f" (similarity {worst.similarity:.2f}); give photographs of one person, or set "
            "`even_if_unlike`"
        )
    return unlike


def _check_faces(person: QueryPerson, faces: Sequence[FaceRow]) -> None:
    if not faces:
        raise FaceNotFoundError("there is no face in what is to be searched; name photographs that show some")
    others = sorted({str(row.model_id) for row in faces} - {person.model_id})
    if others:
        raise ModelMismatchError(
            f"the faces to be searched were embedded by {', '.join(others)}, and those looked for by "
            f"{person.model_id}; choose the weights by `model`, or embed the photographs again"
        )


def _names_of(paths: Iterable[Path]) -> Iterator[str]:
    """The names by which a photograph is known again: its own, and that of the file which a link leads to."""
    for path in paths:
        yield str(name_photo(path))
        if not isinstance(path, RemotePath):
            yield os.path.realpath(path)
