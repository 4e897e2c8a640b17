"""Groups of unknown people out of a face table, and people of a gallery out of groups."""

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
from lightface.images import hash_file
from lightface.locations import RemotePath
from lightface.models.registry import find_record
from lightface.pipeline.enroll import EnrolledPhoto
from lightface.pipeline.thresholds import resolve_bands
from lightface.records import Status, to_plain
from lightface.tables import FaceRow, name_photo
from lightface.words import count_of, visible

DEFAULT_MIN_SIZE = 2


@dataclass(frozen=True, slots=True, eq=False)
class GroupedFace:
    """A face and its group; None for a face in no group."""

    face: FaceRow
    cluster: int | None = None  # 1 for the largest
    similarity: float | None = None  # cosine to the group's centre, -1..1

    def __str__(self) -> str:
        group = "no group" if self.cluster is None else f"group {self.cluster}"
        return visible(f"{self.face.image_path}, face {self.face.face_index}: {group}")

    def to_dict(self) -> dict[str, Any]:
        """The face and its group, for `json.dumps`; the embedding is left out."""
        return {
            "image_path": str(self.face.image_path),
            "face_index": self.face.face_index,
            "bbox": to_plain(self.face.bbox),
            "cluster": self.cluster,
            "similarity": self.similarity,
        }


@dataclass(frozen=True, slots=True, eq=False)
class FaceGroups:
    """All faces of a table, group by group, the most typical of each first; those in no group last."""

    model_id: str
    threshold: float  # cosine
    groups: tuple[tuple[GroupedFace, ...], ...]  # the largest first
    alone: tuple[GroupedFace, ...]

    @property
    def faces(self) -> list[GroupedFace]:
        """Everything in one row."""
        return [*(face for group in self.groups for face in group), *self.alone]

    def __str__(self) -> str:
        grouped = sum(map(len, self.groups))
        return (
            f"{count_of(grouped, 'face')} in {count_of(len(self.groups), 'group')}, "
            f"{len(self.alone):,} in none; threshold {self.threshold:.3f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The faces, each with its group, for `json.dumps`; the embeddings are left out."""
        return {"model_id": self.model_id, "threshold": self.threshold, "faces": [one.to_dict() for one in self.faces]}


def cluster_faces(
    rows: Sequence[FaceRow], *, threshold: float | None = None, min_size: int = DEFAULT_MIN_SIZE
) -> FaceGroups:
    """Group the faces of a table by likeness, nobody twice on one photograph; rows without a face are passed over.

    `threshold` is the cosine that two groups must reach on average to be one. By default it is derived from the
    thresholds measured for the weights and the number of faces: the more there are, the stricter it is
    (`lightface.clustering.strict_threshold`). Groups of fewer than `min_size` faces are none.

    Raises FaceNotFoundError where there is no face, ClusterError for faces of several models or too many alike, and
    ThresholdError where no threshold is known.
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
    if threshold is None:
        threshold = _default_threshold(models[0], len(faces))
    vectors = np.stack([row.embedding for row in faces if row.embedding is not None])
    _, photo_of_face = np.unique([str(row.image_path) for row in faces], return_inverse=True)
    labels = cluster_vectors(vectors, threshold=threshold, photo_of_face=photo_of_face.astype(np.int64, copy=False))
    similarities = cosines_to_centers(vectors, labels).tolist()
    groups: list[list[GroupedFace]] = [[] for _ in range(int(labels.max()) + 1)]
    for face, label, similarity in zip(faces, labels.tolist(), similarities, strict=True):
        groups[label].append(GroupedFace(face, label + 1, similarity))
    large = tuple(
        tuple(sorted(group, key=lambda one: -(one.similarity or 0))) for group in groups if len(group) >= min_size
    )
    small = tuple(GroupedFace(one.face) for group in groups if len(group) < min_size for one in group)
    return FaceGroups(models[0], threshold, large, small)


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
    limit, number = _matching_threshold(gallery, groups), _free_number(gallery, prefix)
    # All groups are compared with the gallery before the first is enrolled, since groups may resemble each other.
    conflicts = [_find_conflicts(gallery, group, f"{prefix} {number}", limit) for group in groups.groups]
    results = []
    for group, found in zip(groups.groups, conflicts, strict=True):
        number = _free_number(gallery, prefix, number)
        for grouped, conflict in zip(group, found, strict=True):
            result = _enroll(gallery, f"{prefix} {number}", grouped.face, conflict)
            results.append(result)
            if progress is not None:
                progress(result)
    return results


def _default_threshold(model_id: str, face_count: int) -> float:
    record = find_record(model_id)
    if record is None or not record.thresholds:
        raise ThresholdError(f"no threshold is known for {model_id}; give a `threshold`")
    return strict_threshold({float(far): cosine for far, cosine in record.thresholds.items()}, face_count)


def _matching_threshold(gallery: Gallery, groups: FaceGroups) -> float:
    try:
        return resolve_bands(find_record(groups.model_id), gallery=gallery).threshold
    except ThresholdError:
        return groups.threshold


def _find_conflicts(
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


def _free_number(gallery: Gallery, prefix: str, first: int = 1) -> int:
    return next(number for number in itertools.count(first) if gallery.find_person(f"{prefix} {number}") is None)


def _enroll(gallery: Gallery, name: str, row: FaceRow, known: IdentityConflictError | None) -> EnrolledPhoto:
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


def _hash_photo(path: Path) -> str:
    if not isinstance(path, RemotePath):
        return hash_file(path)
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ImageError(
            f"cannot read {str(path)!r} ({error.strerror}); save the photograph on this machine"
        ) from error
