"""The audit of a gallery as a page, with the faces side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightface import __version__
from lightface.gallery.audit import AuditedPerson, AuditedSample, GalleryAudit, MixedPerson
from lightface.pages.document import FacePicture, PlacedFace, data_block, picture, render, show_faces
from lightface.words import count_of

_SHOWN = 100  # of each kind; the JSON within the page has all
_OF_A_PART = 6  # samples of a person's part


@dataclass(frozen=True, slots=True)
class _Cell:
    """Faces side by side over a caption."""

    pictures: list[FacePicture]
    caption: str
    columns: int | None = None  # None: as many as there are faces


@dataclass(frozen=True, slots=True)
class _Sheet:
    """The findings of one kind, with their faces, and what a reader may type to mend them."""

    name: str
    title: str
    text: str
    cells: list[_Cell]
    total: int
    commands: Sequence[str] = ()
    kind: str = "sheet"

    @property
    def left_out(self) -> int:
        return self.total - _SHOWN


@dataclass(frozen=True, slots=True)
class _List:
    """The findings of one kind in a table."""

    name: str
    title: str
    text: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    left_out: int


def render_audit(audit: GalleryAudit, *, mend: Mapping[str, Sequence[str]] | None = None) -> str:
    """The page. Photographs are read again, to cut the faces out.

    `mend` holds what a reader may type to mend doubts, by the name of the kind: `mislabelled`, `mixed`, `close_people`,
    `repeated`.
    """
    commands = {kind: lines[:_SHOWN] for kind, lines in (mend or {}).items()}
    shown = show_faces(_place(sample) for sample in _pictured(audit))
    sheets = [
        _mislabelled(audit, shown, commands.get("mislabelled", ())),
        _mixed(audit.mixed, shown, commands.get("mixed", ())),
        _close_people(audit, shown, commands.get("close_people", ())),
        _repeated(audit, shown, commands.get("repeated", ())),
        _low_quality(audit, shown),
    ]
    lists = [
        _gone(audit),
        _people("single", "People with one photograph", "Three to five do better than one.", audit.single_sample),
        _people("without", "People without a photograph", "Nobody is recognised as them.", audit.without_samples),
        _people("crowded", "People with many more photographs than others", "", audit.crowded),
    ]
    return render(
        "audit.html",
        title=f"Audit of {audit.location}",
        data=data_block("audit", dataclasses.asdict(audit)),
        known=[
            ("Gallery", audit.location),
            ("Model", audit.model_id or "none yet"),
            ("Enrolled", f"{count_of(audit.person_count, 'person')} with {count_of(audit.sample_count, 'sample')}"),
            ("Threshold", f"{audit.threshold:.3f}: from this cosine up two faces are taken for one person"),
            ("Made by", f"lightface {__version__}"),
        ],
        counts=[
            ("Likely mislabelled", len(audit.mislabelled), "samples"),
            ("Several under one name", len(audit.mixed), "people"),
            ("Close people", audit.close_people_total, "pairs"),
            ("Repeated pictures", audit.repeated_total, "pairs"),
            ("Low quality", len(audit.low_quality), "samples"),
            ("Photographs gone", len(audit.gone), "samples"),
        ],
        sheets=sheets,
        lists=lists,
    )


def render_parts(mixed: MixedPerson, *, location: str, threshold: float) -> str:
    """The page of one person whose samples fall into parts: their faces, part by part."""
    shown = show_faces(_place(sample) for part in mixed.parts for sample in part.samples[:_SHOWN])
    return render(
        "audit.html",
        title=f"Parts of {mixed.person.name}",
        data=data_block("audit", dataclasses.asdict(mixed)),
        known=[
            ("Gallery", location),
            ("Enrolled", f"{mixed.person.name} with {count_of(mixed.person.sample_count, 'sample')}"),
            ("Threshold", f"{threshold:.3f}: from this cosine up two faces are taken for one person"),
            ("Made by", f"lightface {__version__}"),
        ],
        counts=[(f"Part {number}", len(part.samples), "samples") for number, part in enumerate(mixed.parts, start=1)],
        sheets=[_mixed([mixed], shown, (), of_a_part=_SHOWN)],
        lists=[],
    )


def _pictured(audit: GalleryAudit) -> Iterator[AuditedSample]:
    for stray in audit.mislabelled[:_SHOWN]:
        yield from (stray.sample, stray.nearest_own, stray.nearest_other)
    for mixed in audit.mixed[:_SHOWN]:
        for part in mixed.parts:
            yield from part.samples[:_OF_A_PART]
    for close in audit.close_people[:_SHOWN]:
        yield from (close.sample_a, close.sample_b)
    for repeated in audit.repeated[:_SHOWN]:
        yield from (repeated.a, repeated.b)
    yield from audit.low_quality[:_SHOWN]


def _mislabelled(audit: GalleryAudit, shown: Mapping[PlacedFace, str], commands: Sequence[str]) -> _Sheet:
    cells = [
        _cell(
            (one.sample, one.nearest_own, one.nearest_other),
            shown,
            f"{one.sample.person_name}? {one.own_similarity:.3f} · {one.nearest_other.person_name}? "
            f"{one.other_similarity:.3f} · sample {one.sample.id}, {one.sample.source_path}",
        )
        for one in audit.mislabelled[:_SHOWN]
    ]
    text = (
        "From the left: the photograph, the most similar one of the person that it is enrolled for, the most similar "
        "one of the person that it is nearer to. The figures are its cosines to all other photographs of either."
    )
    return _Sheet("mislabelled", "Likely mislabelled", text, cells, len(audit.mislabelled), commands)


def _mixed(
    mixed: Sequence[MixedPerson],
    shown: Mapping[PlacedFace, str],
    commands: Sequence[str],
    *,
    of_a_part: int = _OF_A_PART,
) -> _Sheet:
    cells = []
    for one in mixed[:_SHOWN]:
        for number, part in enumerate(one.parts, start=1):
            samples = ", ".join(str(sample.id) for sample in part.samples)
            alike = f" · like {part.resembles.name} {part.resembles_similarity:.3f}" if part.resembles else ""
            caption = (
                f"{one.person.name}, part {number} of {len(one.parts)} · "
                f"{part.similarity:.3f} to the others{alike} · sample{'s' * (len(part.samples) > 1)} {samples}"
            )
            cells.append(_cell(part.samples[:of_a_part], shown, caption, columns=3))
    text = (
        "Samples of one person that fall into parts which do not resemble each other: two people under one name, a "
        "stranger, or a photograph that shows too little of the face. The figures are mean cosines."
    )
    return _Sheet("mixed", "Several people under one name", text, cells, len(mixed), commands)


def _close_people(audit: GalleryAudit, shown: Mapping[PlacedFace, str], commands: Sequence[str]) -> _Sheet:
    cells = [
        _cell((one.sample_a, one.sample_b), shown, f"{one.similarity:.3f} {_count(one.a)} · {_count(one.b)}")
        for one in audit.close_people[:_SHOWN]
    ]
    text = "Perhaps one person enrolled twice, by their most similar photographs."
    return _Sheet("close", "People who are close", text, cells, audit.close_people_total, commands)


def _repeated(audit: GalleryAudit, shown: Mapping[PlacedFace, str], commands: Sequence[str]) -> _Sheet:
    cells = [
        _cell(
            (one.a, one.b),
            shown,
            f"{one.similarity:.3f}{' one file' if one.same_file else ''} "
            f"{one.a.person_name}, sample {one.a.id} · {one.b.person_name}, sample {one.b.id}",
        )
        for one in audit.repeated[:_SHOWN]
    ]
    text = "One picture again, or two faces of one file that are not clearly two people."
    return _Sheet("repeated", "Repeated pictures", text, cells, audit.repeated_total, commands)


def _low_quality(audit: GalleryAudit, shown: Mapping[PlacedFace, str]) -> _Sheet:
    cells = [
        _cell((one,), shown, f"{one.quality:.2f} {one.person_name}, sample {one.id}, {one.source_path}")
        for one in audit.low_quality[:_SHOWN]
    ]
    return _Sheet("low-quality", "Low quality", "Worst first.", cells, len(audit.low_quality), kind="sheet small")


def _gone(audit: GalleryAudit) -> _List:
    return _List(
        "gone",
        "Photographs that are gone",
        "They are recognised all the same, but cannot be embedded again by other weights.",
        ("person", "sample", "photograph"),
        [(one.person_name, str(one.id), one.source_path) for one in audit.gone[:_SHOWN]],
        len(audit.gone) - _SHOWN,
    )


def _people(name: str, title: str, text: str, people: Sequence[AuditedPerson]) -> _List:
    rows = [(one.name, str(one.id), str(one.sample_count)) for one in people[:_SHOWN]]
    return _List(name, title, text, ("person", "id", "samples"), [*rows], len(people) - _SHOWN)


def _cell(
    samples: Sequence[AuditedSample], shown: Mapping[PlacedFace, str], caption: str, *, columns: int | None = None
) -> _Cell:
    return _Cell([picture(_place(sample), shown, sample.person_name) for sample in samples], caption, columns)


def _place(sample: AuditedSample) -> PlacedFace:
    return PlacedFace(Path(sample.source_path), sample.box_px, sample.image_sha256)


def _count(person: AuditedPerson) -> str:
    return f"{person.name} ({person.sample_count})"
