"""The audit of a gallery as a page, with the faces side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from lightface import __version__
from lightface.gallery.audit import AuditedPerson, AuditedSample, GalleryAudit
from lightface.pages.document import PRIVACY, PlacedFace, card, data_block, document, facts, picture, show_faces, table
from lightface.words import count_of

_SHOWN = 100  # of each kind; the JSON within the page has all
_OF_A_PART = 6  # samples of a person's part


def render_audit(audit: GalleryAudit, *, mend: Mapping[str, Sequence[str]] | None = None) -> str:
    """The page. Photographs are read again, to cut the faces out.

    `mend` holds what a reader may type to mend doubts, by the name of the kind: `mislabelled`, `mixed`, `close_people`,
    `repeated`.
    """
    mend = mend or {}
    shown = show_faces(_place(sample) for sample in _pictured(audit))
    sections = [
        _head(audit),
        _mislabelled(audit, shown) + _commands(mend.get("mislabelled", ())),
        _mixed(audit, shown) + _commands(mend.get("mixed", ())),
        _close_people(audit, shown) + _commands(mend.get("close_people", ())),
        _repeated(audit, shown) + _commands(mend.get("repeated", ())),
        _low_quality(audit, shown),
        _gone(audit),
        _people("single", "People with one photograph", "Three to five do better than one.", audit.single_sample),
        _people("without", "People without a photograph", "Nobody is recognised as them.", audit.without_samples),
        _people("crowded", "People with many more photographs than others", "", audit.crowded),
        f"<footer>{PRIVACY}</footer>",
    ]
    data = data_block("audit", dataclasses.asdict(audit))
    return document(f"Audit of {audit.location}", sections, data=data)


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


def _head(audit: GalleryAudit) -> str:
    known = [
        ("Gallery", audit.location),
        ("Model", audit.model_id or "none yet"),
        ("Enrolled", f"{count_of(audit.person_count, 'person')} with {count_of(audit.sample_count, 'sample')}"),
        ("Threshold", f"{audit.threshold:.3f}: from this cosine up two faces are taken for one person"),
        ("Made by", f"lightface {__version__}"),
    ]
    figures = [
        ("Likely mislabelled", len(audit.mislabelled), "samples"),
        ("Several under one name", len(audit.mixed), "people"),
        ("Close people", audit.close_people_total, "pairs"),
        ("Repeated pictures", audit.repeated_total, "pairs"),
        ("Low quality", len(audit.low_quality), "samples"),
        ("Photographs gone", len(audit.gone), "samples"),
    ]
    cards = "".join(card(name, f"{count:,}", unit) for name, count, unit in figures)
    return f'<h1>Audit of a gallery</h1>{facts(known)}<div class="cards">{cards}</div>'


def _mislabelled(audit: GalleryAudit, shown: dict[PlacedFace, str]) -> str:
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
    return _sheet("mislabelled", "Likely mislabelled", text, cells, len(audit.mislabelled))


def _mixed(audit: GalleryAudit, shown: dict[PlacedFace, str]) -> str:
    cells = []
    for one in audit.mixed[:_SHOWN]:
        for number, part in enumerate(one.parts, start=1):
            samples = ", ".join(str(sample.id) for sample in part.samples)
            alike = f" · like {part.resembles.name} {part.resembles_similarity:.3f}" if part.resembles else ""
            caption = (
                f"{one.person.name}, part {number} of {len(one.parts)} · "
                f"{part.similarity:.3f} to the others{alike} · sample{'s' * (len(part.samples) > 1)} {samples}"
            )
            cells.append(_cell(part.samples[:_OF_A_PART], shown, caption, columns=3))
    text = (
        "Samples of one person that fall into parts which do not resemble each other: two people under one name, a "
        "stranger, or a photograph that shows too little of the face. The figures are mean cosines."
    )
    return _sheet("mixed", "Several people under one name", text, cells, len(audit.mixed))


def _close_people(audit: GalleryAudit, shown: dict[PlacedFace, str]) -> str:
    cells = [
        _cell((one.sample_a, one.sample_b), shown, f"{one.similarity:.3f} {_count(one.a)} · {_count(one.b)}")
        for one in audit.close_people[:_SHOWN]
    ]
    text = "Perhaps one person enrolled twice, by their most similar photographs."
    return _sheet("close", "People who are close", text, cells, audit.close_people_total)


def _repeated(audit: GalleryAudit, shown: dict[PlacedFace, str]) -> str:
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
    return _sheet("repeated", "Repeated pictures", text, cells, audit.repeated_total)


def _low_quality(audit: GalleryAudit, shown: dict[PlacedFace, str]) -> str:
    cells = [
        _cell((one,), shown, f"{one.quality:.2f} {one.person_name}, sample {one.id}, {one.source_path}")
        for one in audit.low_quality[:_SHOWN]
    ]
    return _sheet("low-quality", "Low quality", "Worst first.", cells, len(audit.low_quality), kind="sheet small")


def _gone(audit: GalleryAudit) -> str:
    if not audit.gone:
        return ""
    rows = [(one.person_name, str(one.id), one.source_path) for one in audit.gone[:_SHOWN]]
    text = "They are recognised all the same, but cannot be embedded again by other weights."
    return (
        f'<h2>Photographs that are gone</h2><p class="note">{escape(text)}</p>'
        + table(("person", "sample", "photograph"), rows, name="gone")
        + _more(len(audit.gone))
    )


def _people(name: str, title: str, text: str, people: Sequence[AuditedPerson]) -> str:
    if not people:
        return ""
    rows = [(one.name, str(one.id), str(one.sample_count)) for one in people[:_SHOWN]]
    return (
        f'<h2>{escape(title)}</h2><p class="note">{escape(text)}</p>'
        + table(("person", "id", "samples"), rows, name=name)
        + _more(len(people))
    )


def _sheet(name: str, title: str, text: str, cells: Sequence[str], total: int, *, kind: str = "sheet") -> str:
    if not cells:
        return ""
    return (
        f'<h2>{escape(title)}</h2><p class="note">{escape(text)}</p>'
        f'<div class="{kind}" data-sheet="{name}">{"".join(cells)}</div>{_more(total)}'
    )


def _cell(
    samples: Iterable[AuditedSample], shown: dict[PlacedFace, str], caption: str, *, columns: int | None = None
) -> str:
    faces = [picture(_place(sample), shown, sample.person_name) for sample in samples]
    return (
        f'<figure class="pair"><div class="faces of-{columns or len(faces)}">{"".join(faces)}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _place(sample: AuditedSample) -> PlacedFace:
    return PlacedFace(Path(sample.source_path), sample.box_px, sample.image_sha256)


def _count(person: AuditedPerson) -> str:
    return f"{person.name} ({person.sample_count})"


def _commands(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    shown = escape("\n".join(lines[:_SHOWN]))
    return f'<p class="note">What mends it, if you agree:</p><pre class="commands">{shown}</pre>'


def _more(total: int) -> str:
    return f'<p class="note">And {total - _SHOWN:,} more.</p>' if total > _SHOWN else ""
