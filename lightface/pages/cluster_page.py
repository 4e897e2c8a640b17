"""Groups of unknown people as a page: a row of faces for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lightface import __version__
from lightface.pages.document import FacePicture, PlacedFace, picture, render, show_faces
from lightface.pipeline.cluster import FaceGroups, GroupedFace
from lightface.words import count_of

_FACES_SHOWN = 16  # of a group, the most typical
_GROUPS_SHOWN = 500
_ALONE_SHOWN = 100


@dataclass(frozen=True, slots=True)
class _Cell:
    picture: FacePicture
    name: str
    similarity: float | None


@dataclass(frozen=True, slots=True)
class _Sheet:
    name: str
    title: str
    count: str
    cells: list[_Cell]
    left_out: int


def render_groups(groups: FaceGroups, names: Sequence[str | None] | None = None) -> str:
    """The page; `names` are the people that were made of the groups. Photographs are read again."""
    names = names or [None] * len(groups.groups)
    numbered = list(zip(groups.groups, names, strict=True))[:_GROUPS_SHOWN]
    known = groups.known[:_GROUPS_SHOWN]
    pictured = [one for group in (*known, *(group for group, _ in numbered)) for one in group[:_FACES_SHOWN]]
    shown = show_faces(_place(one) for one in [*pictured, *groups.alone[:_ALONE_SHOWN]])
    sheets = [
        _sheet(f"known-{faces[0].match.person_id}", faces[0].match.person_name, faces, shown, limit=_FACES_SHOWN)
        for faces in known
        if faces[0].match is not None
    ]
    for group, name in numbered:
        number = group[0].cluster
        sheets.append(_sheet(f"cluster-{number}", name or f"Group {number}", group, shown, limit=_FACES_SHOWN))
    if groups.alone:
        sheets.append(_sheet("alone", "In no group", groups.alone, shown, limit=_ALONE_SHOWN))
    faces, grouped = len(groups.faces), sum(map(len, groups.groups))
    of_known = sum(map(len, groups.known))
    people = f"{of_known:,} of {count_of(len(groups.known), 'known person', 'known people')}, " if of_known else ""
    facts = [
        ("Faces", f"{faces:,}, of which {people}{grouped:,} in {count_of(len(groups.groups), 'group')}"),
        ("Model", groups.model_id),
        ("Threshold", f"{groups.threshold:.3f}: the mean cosine from which two groups are one"),
        ("Made by", f"lightface {__version__}"),
    ]
    return render("groups.html", title="People who look alike", known=facts, sheets=sheets)


def _sheet(
    name: str, title: str, faces: Sequence[GroupedFace], shown: Mapping[PlacedFace, str], *, limit: int
) -> _Sheet:
    cells = []
    for one in faces[:limit]:
        file_name = one.face.image_path.name
        cells.append(_Cell(picture(_place(one), shown, file_name), file_name, one.similarity))
    return _Sheet(name, title, count_of(len(faces), "face"), cells, len(faces) - limit)


def _place(one: GroupedFace) -> PlacedFace:
    return PlacedFace(one.face.image_path, one.face.bbox)
