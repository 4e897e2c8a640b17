"""`lightface gallery audit`: what may be wrong in a gallery, and its correction, question by question."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightface.cli.console import note
from lightface.cli.loading import open_gallery_of, resolve_bands_within
from lightface.cli.options import GALLERY, Json, with_settings
from lightface.cli.results import print_json, print_line, print_table
from lightface.cli.settings import Settings
from lightface.errors import ConfigError
from lightface.words import count_of, visible

if TYPE_CHECKING:
    from lightface.gallery import Gallery, GalleryAudit
    from lightface.gallery.audit import AuditedPerson, AuditedSample, ClosePeople, MislabelledSample, RepeatedPicture

_SHOWN = 20  # of each kind at the terminal


@with_settings("threshold", *GALLERY)
def audit(
    settings: Settings,
    *,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with the faces side by side.")
    ] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Ask of each finding what to do: move, remove, merge or keep.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Look for photographs under the wrong name, people enrolled twice, repeated, poor and missing pictures.

    Exit code 0 where it is clear who is who, 1 where it is in doubt: a sample nearer to another person, two people who
    are close, or one picture under two names. What else is found is told all the same.
    """
    from lightface.gallery import audit_gallery

    if html is not None:
        from lightface.evaluation.output import check_report_outputs

        check_report_outputs([html], [".html"])
    if fix and as_json:
        raise ConfigError("--fix asks questions and --json is for programs; give one of the two")
    if fix and not _is_terminal():
        raise ConfigError("nobody can be asked, since stdin is no terminal; leave out --fix, or run it in one")
    with open_gallery_of(settings) as gallery:
        threshold = resolve_bands_within(settings, gallery).threshold
        found = audit_gallery(gallery, threshold=threshold)
        if html is not None:
            _write_page(found, html)
        if as_json:
            print_json({"doubts": found.doubts, **{known.name: getattr(found, known.name) for known in fields(found)}})
        else:
            _report(found)
        if fix and _fix(gallery, found):
            found = audit_gallery(gallery, threshold=threshold)
            note(f"{count_of(found.doubts, 'doubt is', 'doubts are')} left")
    raise typer.Exit(1 if found.doubts else 0)


def _write_page(found: GalleryAudit, path: Path) -> None:
    from lightface.evaluation.output import write_page
    from lightface.evaluation.page import render_audit

    write_page(path, render_audit(found))
    note(f"wrote {path}")


def _report(found: GalleryAudit) -> None:
    _print_kind(
        "likely mislabelled",
        ("sample", "person", "similarity", "nearer to", "similarity", "photograph"),
        [
            (
                *(one.sample.id, one.sample.person_name, f"{one.own_similarity:.3f}"),
                *(one.nearest_other.person_name, f"{one.other_similarity:.3f}", one.sample.source_path),
            )
            for one in found.mislabelled
        ],
    )
    _print_kind(
        "perhaps one person enrolled twice",
        ("person", "samples", "person", "samples", "similarity"),
        [
            (one.a.name, one.a.sample_count, one.b.name, one.b.sample_count, f"{one.similarity:.3f}")
            for one in found.close_people
        ],
        total=found.close_people_total,
    )
    _print_kind(
        "one picture again",
        ("sample", "person", "sample", "person", "similarity", "photographs"),
        [
            (
                *(one.a.id, one.a.person_name, one.b.id, one.b.person_name, f"{one.similarity:.3f}"),
                one.a.source_path if one.same_file else f"{one.a.source_path} {one.b.source_path}",
            )
            for one in found.repeated
        ],
        total=found.repeated_total,
    )
    poor = [(one.id, one.person_name, f"{one.quality:.2f}", one.source_path) for one in found.low_quality]
    _print_kind("low quality", ("sample", "person", "quality", "photograph"), poor)
    gone = [(one.id, one.person_name, one.source_path) for one in found.gone]
    _print_kind("photographs that are gone", ("sample", "person", "photograph"), gone)
    _print_people("people with one photograph", found.single_sample)
    _print_people("people without a photograph", found.without_samples)
    _print_people("people with many more photographs than others", found.crowded)
    note(
        f"{count_of(found.person_count, 'person')} with {count_of(found.sample_count, 'sample')} "
        f"at threshold {found.threshold:.3f}: {count_of(found.doubts, 'doubt')} as to who is who"
    )


def _print_people(title: str, people: Iterable[AuditedPerson]) -> None:
    _print_kind(title, ("id", "person", "samples"), [(one.id, one.name, one.sample_count) for one in people])


def _print_kind(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, total: int | None = None
) -> None:
    if rows:
        count = len(rows) if total is None else total
        print_line(f"{title} ({count:,})")
        print_table(columns, rows[:_SHOWN])
        if count > _SHOWN:
            print_line(f"and {count - _SHOWN:,} more, see --json")
        print_line()


def _fix(gallery: Gallery, found: GalleryAudit) -> bool:
    """Ask of each doubt and each repeated picture; each answer is carried out at once. Whether anything was changed."""
    changes = [_fix_mislabelled(gallery, one) for one in found.mislabelled]
    changes += [_fix_close(gallery, close) for close in found.close_people]
    changes += [_fix_repeated(gallery, repeated) for repeated in found.repeated]
    return any(changes)


def _fix_mislabelled(gallery: Gallery, one: MislabelledSample) -> bool:
    sample, other = one.sample, one.nearest_other
    if not _is_as_found(gallery, sample) or not _has_person(gallery, other.person_id):
        return False
    question = (
        f"sample {sample.id} of {sample.person_name}, {sample.source_path}, is nearer to {other.person_name} "
        f"({one.other_similarity:.3f} against {one.own_similarity:.3f})"
    )
    answer = _ask(question, "move", "remove")
    if answer == "move":
        gallery.move_sample(sample.id, other.person_id)
        note(f"moved sample {sample.id} to {other.person_name}")
    elif answer == "remove":
        _remove(gallery, sample)
    return answer != "keep"


def _fix_close(gallery: Gallery, one: ClosePeople) -> bool:
    kept, given_up = sorted((one.a, one.b), key=lambda person: -person.sample_count)
    if not _has_person(gallery, kept.id) or not _has_person(gallery, given_up.id):
        return False
    question = (
        f"{kept.name} with {kept.sample_count} samples and {given_up.name} with {given_up.sample_count} are close "
        f"({one.similarity:.3f}); merging makes both {kept.name}"
    )
    if _ask(question, "merge") == "keep":
        return False
    gallery.merge_people(given_up.id, kept.id)
    note(f"{given_up.name} is {kept.name} now")
    return True


def _fix_repeated(gallery: Gallery, one: RepeatedPicture) -> bool:
    if not _is_as_found(gallery, one.a) or not _is_as_found(gallery, one.b):
        return False
    question = (
        f"sample {one.a.id} of {one.a.person_name}, {one.a.source_path}, and sample {one.b.id} of {one.b.person_name}, "
        f"{one.b.source_path}, look like one picture ({one.similarity:.3f}); remove the first or the second?"
    )
    answer = _ask(question, "first", "second")
    if answer != "keep":
        _remove(gallery, one.a if answer == "first" else one.b)
    return answer != "keep"


def _remove(gallery: Gallery, sample: AuditedSample) -> None:
    gallery.remove_samples([sample.id])
    note(f"removed sample {sample.id} of {sample.person_name}")


def _is_as_found(gallery: Gallery, sample: AuditedSample) -> bool:
    """Whether no earlier answer, and no other process, has moved or removed it."""
    stored = gallery.find_enrolled(sample.image_sha256, sample.box_px)
    return stored is not None and (stored.id, stored.person_id) == (sample.id, sample.person_id)


def _has_person(gallery: Gallery, person_id: int) -> bool:
    from lightface.errors import PersonNotFoundError

    try:
        gallery.find_person(person_id)
    except PersonNotFoundError:
        return False
    return True


def _ask(question: str, *changes: str) -> str:
    """One of the changes, by its first letter or in full, or "keep", which is Enter."""
    words = (*changes, "keep")
    choices = ", ".join(f"[{word[0]}]{word[1:]}" for word in words)
    while True:
        try:
            reply = typer.prompt(f"{visible(question)}\n{choices}", default="keep", show_default=False, err=True)
        except typer.Abort as error:
            raise KeyboardInterrupt from error  # what was answered before is done and stays
        for word in words:
            if reply.strip().lower() in (word, word[0]):
                return word


def _is_terminal() -> bool:
    return sys.stdin.isatty()
