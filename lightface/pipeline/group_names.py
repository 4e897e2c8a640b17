"""People out of groups to which somebody wrote names: what a names file may say, and what is refused.

A row names the faces that it lists, and no others: those that the person who wrote the name could see. Where the groups
have changed since, so that these faces are no longer of one group, the row is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from lightface.errors import DuplicateFaceError, GalleryError, IdentityConflictError, ThresholdError
from lightface.gallery import Gallery, normalize_name
from lightface.matching import is_same
from lightface.models.registry import find_record
from lightface.pipeline.cluster import FaceGroups, GroupedFace, enroll_face, find_group_conflicts, matching_threshold
from lightface.pipeline.enroll import EnrolledPhoto
from lightface.pipeline.group_numbers import face_token
from lightface.pipeline.thresholds import resolve_threshold
from lightface.records import FloatArray, Status
from lightface.tables.group_names import NameRow
from lightface.words import count_of

_MOST_TOKENS: Final = 1000  # of a group, the most typical: a spreadsheet's cell has room for 32,767 characters
_LOOK_AGAIN: Final = "look at the group as it is now, and write the name again"


@dataclass(frozen=True, slots=True)
class RefusedName:
    """A row whose name was given to nobody."""

    row: NameRow
    reason: str
    is_stale: bool = False  # the groups have changed, so that the name may be another group's


@dataclass(frozen=True, slots=True)
class Naming:
    """What became of the names in a file."""

    enrolled: tuple[EnrolledPhoto, ...]  # a result a face
    refused: tuple[RefusedName, ...]
    named: tuple[str, ...]  # the people


def name_groups(
    gallery: Gallery,
    groups: FaceGroups,
    rows: Sequence[NameRow],
    *,
    progress: Callable[[EnrolledPhoto], None] | None = None,
) -> Naming:
    """Enroll the groups that have a name in `rows`; groups of one name become one person.

    A name that is enrolled already gets the faces only where the gallery finds them alike: their mean reaches the
    person's template at the threshold of two photographs. Faces that resemble somebody else are refused as in
    `enroll_groups`. All rows are looked at before the first face is enrolled; each face is enrolled by itself and
    stays so. Raises ModelMismatchError for another model's gallery.
    """
    gallery.check_model(groups.model_id)
    refused: list[RefusedName] = []
    planned: list[tuple[NameRow, list[GroupedFace]]] = []
    photos_of = {
        faces[0].match.person_name: {one.face.image_path for one in faces}
        for faces in groups.known
        if faces[0].match is not None
    }
    named: dict[str, None] = {}
    names_of: dict[int, set[str]] = {}
    for row in rows:
        names_of.setdefault(row.number, set()).update({row.name} - {""})
    for row in dict.fromkeys(row for row in rows if row.name):
        try:
            _check_single(row, names_of[row.number])
            row = replace(row, name=_check_name(gallery, row.name, list(named)))
            faces = _faces_of(row, groups)
            if faces:
                _check_photographs(row, faces, photos_of)
                _check_likeness(gallery, groups, row, faces)
        except _StaleRowError as error:
            refused.append(RefusedName(row, str(error), is_stale=True))
        except GalleryError as error:
            refused.append(RefusedName(row, str(error)))
        else:
            named[row.name] = None
            photos_of.setdefault(row.name, set()).update(one.face.image_path for one in faces)
            planned.append((row, faces))
    enrolled: list[EnrolledPhoto] = []
    with gallery.enrolling_together():
        for row, faces, errors in _plan(gallery, groups, planned):
            results = _enroll(gallery, row.name, faces, errors, progress)
            enrolled += results
            if faces and not any(_is_in(one) for one in results):
                refused.append(RefusedName(row, str(results[0].error)))
    return Naming(tuple(enrolled), tuple(refused), tuple(named))


def rows_to_name(
    groups: FaceGroups, earlier: Sequence[NameRow] = (), refused: Sequence[RefusedName] = ()
) -> list[NameRow]:
    """The rows of a names file for the groups as they are, with what is left of the earlier rows: no name is lost."""
    notes = {row.number: row.note for row in earlier if not row.name}
    failed: dict[int, list[RefusedName]] = {}
    for one in refused:
        failed.setdefault(one.row.number, []).append(one)
    rows = []
    faces_on: dict[Path, list[GroupedFace]] = {}
    for face in groups.faces:
        faces_on.setdefault(face.face.image_path, []).append(face)
    for group in groups.groups:
        row = _describe(group, faces_on)
        if row.number in failed:
            one = failed[row.number].pop(0)
            if one.is_stale:
                row = replace(row, note=f"{one.row.name!r} was refused: {one.reason}")
            else:  # the name stays one for the faces that were there when it was written
                row = replace(row, name=one.row.name, note=one.reason, tokens=one.row.tokens)
            if not failed[row.number]:
                del failed[row.number]
        else:
            row = replace(row, note=notes.get(row.number, ""))
        rows.append(row)
    return rows + [replace(one.row, note=one.reason) for left in failed.values() for one in left]


class _StaleRowError(GalleryError):
    """The groups have changed since the row was written."""


def _check_single(row: NameRow, names: set[str]) -> None:
    if len(names) > 1:
        raise GalleryError(
            f"group {row.number} has {len(names)} names, {' and '.join(map(repr, sorted(names)))}; leave one of them"
        )


def _check_name(gallery: Gallery, name: str, others: Sequence[str]) -> str:
    """The name as it is stored. GalleryError for one that cannot be, or looks like another."""
    name = normalize_name(name)
    gallery.check_names([*others, name])
    return name


def _faces_of(row: NameRow, groups: FaceGroups) -> list[GroupedFace]:
    """The faces of the row's group that the row lists; none where all of them are the person's by now."""
    listed = set(row.tokens)
    if not listed:
        raise _StaleRowError(
            f"line {row.line}: the faces of group {row.number} are not in the column check; {_LOOK_AGAIN}"
        )
    here: list[GroupedFace] = []
    done = elsewhere = 0
    for one in groups.faces:
        if face_token(one) in listed:
            is_theirs = one.match is not None and one.match.person_name == row.name
            done += is_theirs
            elsewhere += not is_theirs and (one.match is not None or one.cluster not in (None, row.number))
            if one.cluster == row.number:
                here.append(one)
    if elsewhere or not (here or done):
        lost = f"{elsewhere} of its {count_of(len(listed), 'face')} are elsewhere now" if elsewhere else "they are gone"
        raise _StaleRowError(f"group {row.number} of {row.name!r} has changed since ({lost}); {_LOOK_AGAIN}")
    return here


def _check_photographs(row: NameRow, faces: Sequence[GroupedFace], photos_of: Mapping[str, set[Path]]) -> None:
    both = sorted({str(one.face.image_path) for one in faces} & {str(path) for path in photos_of.get(row.name, ())})
    if both:
        raise GalleryError(
            f"group {row.number} cannot be {row.name!r}, who is on {both[0]} already, and nobody is there twice; "
            "look who is who, or choose another name"
        )


def _check_likeness(gallery: Gallery, groups: FaceGroups, row: NameRow, faces: Sequence[GroupedFace]) -> None:
    """GalleryError where the name is another person's, whom the faces do not resemble."""
    person = gallery.find_person(row.name)
    samples = [] if person is None else gallery.samples(person.id)
    if not samples:
        return
    try:
        threshold = resolve_threshold(find_record(groups.model_id), gallery=gallery)
    except ThresholdError:
        threshold = groups.threshold
    rows = [one.face.embedding for one in faces if one.face.embedding is not None]
    similarity = float(_template(rows) @ _template([sample.vector for sample in samples]))
    if not is_same(similarity, threshold):
        raise GalleryError(
            f"group {row.number} does not resemble {row.name!r}, who is enrolled already (similarity {similarity:.2f}, "
            f"threshold {threshold:.2f}); write another name, and merge the two if they are one person"
        )


def _template(rows: Sequence[FloatArray]) -> FloatArray:
    total = np.sum(rows, axis=0, dtype=np.float64)
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-9), np.float32)


_Errors = list[IdentityConflictError | None]


def _plan(
    gallery: Gallery, groups: FaceGroups, planned: Sequence[tuple[NameRow, list[GroupedFace]]]
) -> list[tuple[NameRow, list[GroupedFace], _Errors]]:
    """All groups are compared with the gallery before the first is enrolled, since groups may resemble each other."""
    limit = matching_threshold(gallery, groups)
    return [
        (row, faces, find_group_conflicts(gallery, faces, row.name, limit) if faces else []) for row, faces in planned
    ]


def _enroll(
    gallery: Gallery,
    name: str,
    faces: Sequence[GroupedFace],
    errors: _Errors,
    progress: Callable[[EnrolledPhoto], None] | None,
) -> list[EnrolledPhoto]:
    results = []
    for one, error in zip(faces, errors, strict=True):
        result = enroll_face(gallery, name, one.face, error)
        results.append(result)
        if progress is not None:
            progress(result)
    return results


def _is_in(result: EnrolledPhoto) -> bool:
    return result.status is Status.ENROLLED or isinstance(result.error, DuplicateFaceError)


def _describe(group: Sequence[GroupedFace], faces_on: Mapping[Path, Sequence[GroupedFace]]) -> NameRow:
    """A group without a name; its example shows nobody else, if there is such a photograph."""
    example = next((one for one in group if len(faces_on[one.face.image_path]) == 1), group[0])
    others = faces_on[example.face.image_path]
    place = "the only one"
    if len(others) > 1 and all(one.face.bbox is not None for one in others):
        ordered = sorted(others, key=lambda one: one.face.bbox[0] if one.face.bbox is not None else 0.0)
        place = f"{ordered.index(example) + 1} of {len(others)} from the left"
    photographs = {one.face.image_path for one in group}
    return NameRow(
        number=group[0].cluster or 0,
        faces=len(group),
        photographs=len(photographs),
        example=str(example.face.image_path),
        face=place,
        tokens=tuple(face_token(one) for one in group[:_MOST_TOKENS]),
    )
