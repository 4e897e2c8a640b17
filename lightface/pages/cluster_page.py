"""Groups of unknown people as a page: a row of faces for each."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from lightface import __version__
from lightface.pages.document import PRIVACY, PlacedFace, document, facts, picture, show_faces
from lightface.pipeline.cluster import FaceGroups, GroupedFace
from lightface.words import count_of

_FACES_SHOWN = 16  # of a group, the most typical
_GROUPS_SHOWN = 500
_ALONE_SHOWN = 100


def render_groups(groups: FaceGroups, names: Sequence[str | None] | None = None) -> str:
    """The page; `names` are the people that were made of the groups. Photographs are read again."""
    names = names or [None] * len(groups.groups)
    pictured = [one for group in groups.groups[:_GROUPS_SHOWN] for one in group[:_FACES_SHOWN]]
    shown = show_faces(_place(one) for one in [*pictured, *groups.alone[:_ALONE_SHOWN]])
    sheets = [
        _sheet(f"cluster-{number}", name or f"Group {number}", group, shown, limit=_FACES_SHOWN)
        for number, (group, name) in enumerate(zip(groups.groups, names, strict=True), start=1)
        if number <= _GROUPS_SHOWN
    ]
    if groups.alone:
        sheets.append(_sheet("alone", "In no group", groups.alone, shown, limit=_ALONE_SHOWN))
    faces, grouped = len(groups.faces), sum(map(len, groups.groups))
    known = [
        ("Faces", f"{faces:,}, of which {grouped:,} in {count_of(len(groups.groups), 'group')}"),
        ("Model", groups.model_id),
        ("Threshold", f"{groups.threshold:.3f}: the mean cosine from which two groups are one"),
        ("Made by", f"lightface {__version__}"),
    ]
    text = "The most typical faces of each group, with their cosine to its centre."
    head = f'<h1>People who look alike</h1>{facts(known)}<p class="note">{escape(text)}</p>'
    return document("People who look alike", [head, *sheets, f"<footer>{PRIVACY}</footer>"])


def _sheet(name: str, title: str, faces: Sequence[GroupedFace], shown: dict[PlacedFace, str], *, limit: int) -> str:
    cells = "".join(_cell(one, shown) for one in faces[:limit])
    more = f'<p class="note">And {len(faces) - limit:,} more.</p>' if len(faces) > limit else ""
    return (
        f'<h2>{escape(title)} <span class="faint">{count_of(len(faces), "face")}</span></h2>'
        f'<div class="sheet small" data-sheet="{escape(name)}">{cells}</div>{more}'
    )


def _cell(one: GroupedFace, shown: dict[PlacedFace, str]) -> str:
    name = one.face.image_path.name
    figure = "" if one.similarity is None else f"<b>{one.similarity:.3f}</b> "
    return (
        f'<figure class="pair"><div class="faces of-1">{picture(_place(one), shown, name)}</div>'
        f"<figcaption>{figure}{escape(name)}</figcaption></figure>"
    )


def _place(one: GroupedFace) -> PlacedFace:
    return PlacedFace(one.face.image_path, one.face.bbox)
