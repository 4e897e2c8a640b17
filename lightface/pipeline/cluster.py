"""Groups of unknown people out of a face table, and people of a gallery out of groups.

The gallery is asked first, where there is one: who is known keeps the name, and only the rest is grouped.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightface.clustering import cluster_vectors, cosines_to_centers, strict_threshold
from lightface.errors import (
    ClusterError,
    FaceNotFoundError,
    IdentityConflictError,
    ImageError,
    PhotoError,
    ThresholdError,
    check_count,
    check_number,
)
from lightface.gallery import Gallery, NewSample, normalize_name
from lightface.gallery.likeness import find_conflicts
from lightface.gallery.records import name_key
from lightface.images import hash_file
from lightface.locations import RemotePath
from lightface.matching import DecisionBands, measure_poorness
from lightface.models.registry import find_record
from lightface.pipeline.enroll import EnrolledPhoto
from lightface.pipeline.thresholds import resolve_bands
from lightface.records import FloatArray, Match, Status, to_plain
from lightface.tables import FaceRow, name_photo
from lightface.words import count_of, visible

DEFAULT_MIN_SIZE = 2

# Embeddings of one picture are equal but for rounding.
_SAME_PICTURE = 1 - 1e-5
_FACES_AT_ONCE = 1024


@dataclass(frozen=True, slots=True, eq=False)
class GroupedFace:
    """A face and its group, or whom the gallery knows it as; neither for a face in no group."""

    face: FaceRow
    cluster: int | None = None  # from 1
    similarity: float | None = None  # cosine to the group's centre or to the person, -1..1
    match: Match | None = None

    def __str__(self) -> str:
        group = "no group" if self.cluster is None else f"group {self.cluster}"
        group = group if self.match is None else self.match.person_name
        return visible(f"{self.face.image_path}, face {self.face.face_index}: {group}")

    def to_dict(self) -> dict[str, Any]:
        """The face and its group, for `json.dumps`; the embedding is left out."""
        return {
            "image_path": str(self.face.image_path),
            "face_index": self.face.face_index,
            "bbox": to_plain(self.face.bbox),
            "cluster": self.cluster,
            "similarity": self.similarity,
            "person_name": None if self.match is None else self.match.person_name,
        }


@dataclass(frozen=True, slots=True, eq=False)
class FaceGroups:
    """All faces of a table: of known people, then group by group, the most typical of each first, then the rest."""

    model_id: str
    threshold: float  # cosine
    groups: tuple[tuple[GroupedFace, ...], ...]  # the largest first
    alone: tuple[GroupedFace, ...]
    known: tuple[tuple[GroupedFace, ...], ...] = ()  # of each person whom the gallery knows, by name

    @property
    def faces(self) -> list[GroupedFace]:
        """Everything in one row."""
        return [*itertools.chain(*self.known, *self.groups), *self.alone]

    def __str__(self) -> str:
        grouped, known = (sum(map(len, faces)) for faces in (self.groups, self.known))
        of_known = f"{count_of(known, 'face')} of {count_of(len(self.known), 'known person', 'known people')}, "
        return (
            f"{of_known if known else ''}{count_of(grouped, 'face')} in {count_of(len(self.groups), 'group')}, "
            f"{len(self.alone):,} in none; threshold {self.threshold:.3f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The faces, each with its group, for `json.dumps`; the embeddings are left out."""
        return {"model_id": self.model_id, "threshold": self.threshold, "faces": [one.to_dict() for one in self.faces]}


def cluster_faces(
    rows: Sequence[FaceRow],
    *,
    threshold: float | None = None,
    min_size: int = DEFAULT_MIN_SIZE,
    gallery: Gallery | None = None,
    bands: DecisionBands | None = None,
) -> FaceGroups:
    """Group the faces of a table by likeness, nobody twice on one photograph; rows without a face are passed over.

    `threshold` is the cosine that two groups must reach on average to be one. By default it is derived from the
    thresholds measured for the weights and the number of faces: the more there are, the stricter it is
    (`lightface.clustering.strict_threshold`), and two poor faces must be more alike. Groups of fewer than `min_size`
    faces are none.

    People whom `gallery` knows are named, and only the other faces are grouped. It decides as `identify_photos` does,
    by `bands` (default: `resolve_bands`), but for review, which names nobody here. A face that is enrolled itself is
    its person's.

    Raises FaceNotFoundError where there is no face, ClusterError for faces of several models or too many alike,
    ThresholdError where no threshold is known, and ModelMismatchError for another model's gallery.
    """
    check_count("min_size", min_size)
    if threshold is not None:
        check_number("a threshold", threshold, error=ThresholdError)
    faces = [row for row in rows if row.embedding is not None]
    models = sorted({row.model_id for row in faces if row.model_id is not None})
    if not faces:
        raise FaceNotFoundError("there is no face in what is to be grouped; embed photographs that show some")
    if len(models) != 1:
        raise ClusterError(
            f"the faces were embedded by {len(models)} models ({', '.join(models)}) and cannot be compared; "
            "embed the photographs again with one"
        )
    poorness = np.zeros(len(faces), np.float32)
    if threshold is None:  # of all faces, so that nobody's group changes because somebody else gets known
        threshold = _default_threshold(models[0], len(faces))
        poorness = measure_poorness(row.quality for row in faces)
    vectors = np.stack([row.embedding for row in faces if row.embedding is not None])
    matches: list[Match | None] = [None] * len(faces)
    if gallery is not None:
        gallery.check_model(models[0])
        matches = _find_known(gallery, faces, vectors, bands or _bands_of(gallery, models[0], threshold))
    unknown = [place for place, match in enumerate(matches) if match is None]
    rest = [faces[place] for place in unknown]
    groups, alone = _group(rest, vectors[unknown], poorness[unknown], threshold=threshold, min_size=min_size)
    return FaceGroups(models[0], threshold, groups, alone, _by_person(faces, matches))


def enroll_groups(
    gallery: Gallery,
    groups: FaceGroups,
    prefix: str,
    *,
    progress: Callable[[EnrolledPhoto], None] | None = None,
) -> list[EnrolledPhoto]:
    """Make a person of each group, "PREFIX 1" and so on; numbers that are taken already are passed over.

    A face that resembles somebody who was enrolled before is refused, as in `enroll_photos`, and so is a whole group of
    which that holds on average: it would be that person a second time. Each face is enrolled by itself and stays so,
    and one that cannot be is refused with its reason, such as a photograph that is gone. One result a grouped face, in
    their order; `progress` hears of each.
    Raises GalleryError for an impossible name and ModelMismatchError for another model's gallery.
    """
    normalize_name(prefix)
    gallery.check_model(groups.model_id)
    limit, number = matching_threshold(gallery, groups), _free_number(gallery, prefix)
    # All groups are compared with the gallery before the first is enrolled, since groups may resemble each other.
    conflicts = [find_group_conflicts(gallery, group, f"{prefix} {number}", limit) for group in groups.groups]
    results = []
    with gallery.enrolling_together():
        for group, found in zip(groups.groups, conflicts, strict=True):
            number = _free_number(gallery, prefix, number)
            for grouped, conflict in zip(group, found, strict=True):
                result = enroll_face(gallery, f"{prefix} {number}", grouped.face, conflict)
                results.append(result)
                if progress is not None:
                    progress(result)
    return results


def matching_threshold(gallery: Gallery, groups: FaceGroups) -> float:
    """The cosine from which the gallery takes a face for a person; that of the groups where none is known."""
    return _bands_of(gallery, groups.model_id, groups.threshold).threshold


def find_group_conflicts(
    gallery: Gallery, group: Sequence[GroupedFace], name: str, threshold: float
) -> list[IdentityConflictError | None]:
    """For each face of a group the error that keeps it out, or None. Faces that resemble one person share an error."""
    vectors = np.stack([one.face.embedding for one in group if one.face.embedding is not None])
    (found,) = find_conflicts(gallery, {name: vectors}, threshold=threshold).values()
    alike: dict[str, list[float]] = {}
    for conflict in found:
        if conflict is not None:
            alike.setdefault(conflict.person_name, []).append(conflict.similarity)
    errors = {
        other: IdentityConflictError(
            f"group {group[0].cluster} resembles {other!r}, who is enrolled already "
            f"(similarity {np.mean(similarities):.2f}); enroll its photographs there, or leave them out"
        )
        for other, similarities in alike.items()
    }
    return [None if conflict is None else errors[conflict.person_name] for conflict in found]


def enroll_face(gallery: Gallery, name: str, row: FaceRow, known: IdentityConflictError | None) -> EnrolledPhoto:
    """Enroll a face of a table, unless an error is `known`; its photograph is read for the SHA-256."""
    if known is not None:
        return EnrolledPhoto(row.image_path, name, Status.REJECTED, error=known)
    assert row.embedding is not None and row.model_id is not None  # or it would be in no group
    try:
        sample = NewSample(
            vector=row.embedding,
            model_id=row.model_id,
            source_path=str(name_photo(row.image_path)),
            image_sha256=_hash_photo(row.image_path),  # a face table has none
            box_px=row.bbox,
            det_score=row.det_score,
            quality=row.quality,
        )
        gallery.enroll(name, [sample])
    except PhotoError as error:
        return EnrolledPhoto(row.image_path, name, Status.REJECTED, error=error.as_result())
    return EnrolledPhoto(row.image_path, name, Status.ENROLLED)


def _default_threshold(model_id: str, face_count: int) -> float:
    record = find_record(model_id)
    if record is None or not record.thresholds:
        raise ThresholdError(f"no threshold is known for {model_id}; give a `threshold`")
    return strict_threshold({float(far): cosine for far, cosine in record.thresholds.items()}, face_count)


def _bands_of(gallery: Gallery, model_id: str, threshold: float) -> DecisionBands:
    try:
        return resolve_bands(find_record(model_id), gallery=gallery)
    except ThresholdError:
        return DecisionBands(threshold)


def _group(
    faces: Sequence[FaceRow], vectors: FloatArray, poorness: FloatArray, *, threshold: float, min_size: int
) -> tuple[tuple[tuple[GroupedFace, ...], ...], tuple[GroupedFace, ...]]:
    """Groups, the largest first, and the faces in none."""
    _, photo_of_face = np.unique([str(row.image_path) for row in faces], return_inverse=True)
    photo_of_face = photo_of_face.astype(np.int64, copy=False)
    labels = cluster_vectors(vectors, threshold=threshold, photo_of_face=photo_of_face, poorness=poorness)
    similarities = cosines_to_centers(vectors, labels).tolist()
    groups: list[list[GroupedFace]] = [[] for _ in range(int(labels.max(initial=-1)) + 1)]
    for face, label, similarity in zip(faces, labels.tolist(), similarities, strict=True):
        groups[label].append(GroupedFace(face, label + 1, similarity))
    large = tuple(
        tuple(sorted(group, key=lambda one: -(one.similarity or 0))) for group in groups if len(group) >= min_size
    )
    small = tuple(GroupedFace(one.face) for group in groups if len(group) < min_size for one in group)
    return large, small


def _find_known(
    gallery: Gallery, faces: Sequence[FaceRow], vectors: FloatArray, bands: DecisionBands
) -> list[Match | None]:
    """Whom the gallery takes each face for; nobody is named twice on one photograph."""
    matches: list[Match | None] = [None] * len(faces)
    if gallery.is_empty:
        return matches
    enrolled = _find_enrolled(gallery, vectors)
    places_of: dict[str, list[int]] = {}
    for place, face in enumerate(faces):
        places_of.setdefault(str(face.image_path), []).append(place)
    for places in places_of.values():
        taken: set[int] = set()
        others = []
        for place in places:
            match = enrolled[place]
            if match is None or match.person_id in taken:
                others.append(place)
            else:
                taken.add(match.person_id)
                matches[place] = match
        qualities = [faces[place].quality for place in others]
        found = gallery.search(vectors[others], bands=bands, qualities=qualities, limit=0)
        for place, result in zip(others, found, strict=True):
            match = result.match
            if match is not None and match.status is Status.MATCHED and match.person_id not in taken:
                matches[place] = match
    return matches


def _find_enrolled(gallery: Gallery, vectors: FloatArray) -> list[Match | None]:
    """Whose sample each face is itself: it stays theirs where their template is unlike it."""
    found: list[Match | None] = []
    for start in range(0, len(vectors), _FACES_AT_ONCE):
        part = vectors[start : start + _FACES_AT_ONCE]
        matrix = gallery.matrix_near(part, 1)
        cosines = part @ matrix.vectors.T
        for face, sample in enumerate(cosines.argmax(axis=1).tolist()):
            person, cosine = matrix.people[int(matrix.person_index[sample])], float(cosines[face, sample])
            match = Match(person.id, person.name, min(cosine, 1.0), Status.MATCHED, _SAME_PICTURE)
            found.append(match if cosine >= _SAME_PICTURE else None)
    return found


def _by_person(faces: Sequence[FaceRow], matches: Sequence[Match | None]) -> tuple[tuple[GroupedFace, ...], ...]:
    known: dict[int, list[GroupedFace]] = {}
    names: dict[int, str] = {}
    for face, match in zip(faces, matches, strict=True):
        if match is not None:
            known.setdefault(match.person_id, []).append(GroupedFace(face, None, match.similarity, match))
            names[match.person_id] = match.person_name
    ordered = sorted(known, key=lambda person_id: name_key(names[person_id]))
    return tuple(tuple(sorted(known[one], key=lambda face: -(face.similarity or 0))) for one in ordered)


def _free_number(gallery: Gallery, prefix: str, first: int = 1) -> int:
    return next(number for number in itertools.count(first) if gallery.find_person(f"{prefix} {number}") is None)


def _hash_photo(path: Path) -> str:
    if not isinstance(path, RemotePath):
        return hash_file(path)
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ImageError(
            f"cannot read {str(path)!r} ({error.strerror}); save the photograph on this machine"
        ) from error
