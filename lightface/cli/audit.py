"""`lightface gallery audit`: what may be wrong in a gallery, and its correction, question by question."""

from __future__ import annotations

import itertools
import os
import shlex
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
    from lightface.gallery.audit import (
        AuditedPerson,
        AuditedSample,
        ClosePeople,
        MislabelledSample,
        MixedPerson,
        PersonPart,
        RepeatedPicture,
    )

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
    """Look for photographs under the wrong name, people enrolled twice or two as one, poor and missing pictures.

    Exit code 0 where it is clear who is who, 1 where it is in doubt: a sample nearer to another person, samples of one
    person that are not alike, two people who are close, or one picture under two names. What else is found is told all
    the same. The commands that mend a doubt are printed below it.
    """
    from lightface.gallery import audit_gallery

    if html is not None:
        from lightface.pages.reports import check_report_outputs

        check_report_outputs([html], [".html"])
    if fix and as_json:
        raise ConfigError("--fix asks questions and --json is for programs; give one of the two")
    if fix and not _is_terminal():
        raise ConfigError("nobody can be asked, since stdin is no terminal; leave out --fix, or run it in one")
    with open_gallery_of(settings) as gallery:
        threshold = resolve_bands_within(settings, gallery).threshold
        found = audit_gallery(gallery, threshold=threshold)
        commands = _Commands(settings, gallery)
        if html is not None:
            _write_page(found, html, commands)
        if as_json:
            print_json(
                {
                    "doubts": found.doubts,
                    **{known.name: getattr(found, known.name) for known in fields(found)},
                    "mend": [line for lines in commands.for_all(found).values() for line in lines],
                }
            )
        else:
            _report(found, commands)
        if fix and _fix(gallery, found):
            found = audit_gallery(gallery, threshold=threshold)
            note(f"{count_of(found.doubts, 'doubt is', 'doubts are')} left")
    raise typer.Exit(1 if found.doubts else 0)


class _Commands:
    """Writes the command lines that mend what was found, to be pasted into a shell."""

    def __init__(self, settings: Settings, gallery: Gallery) -> None:
        self._gallery: list[str] = []
        if settings.gallery is not None:
            place = gallery.location
            self._gallery += ["--gallery", place if "://" in place else os.path.abspath(place)]
        if settings.key_file is not None:
            self._gallery += ["--key-file", str(settings.key_file)]
        self._taken = {person.name.casefold() for person in gallery.people()}

    def for_all(self, found: GalleryAudit) -> dict[str, list[str]]:
        """The lines for each kind of doubt, by its name in the audit."""
        taken = set(self._taken)
        return {
            "mislabelled": [self.move([one.sample], one.nearest_other.person_name) for one in found.mislabelled],
            "mixed": [self.separate(one.person, part, taken) for one in found.mixed for part in one.parts[1:]],
            "close_people": self.merge_all(found.close_people),
            "repeated": self.remove_misplaced(found),
        }

    def separate(self, person: AuditedPerson, part: PersonPart, taken: set[str]) -> str:
        """Give a part to whom it resembles, or to a new person; a single sample of nobody known is removed."""
        if part.resembles is not None:
            return self.move(part.samples, part.resembles.name)
        if len(part.samples) == 1:
            return self.remove(part.samples)
        name = _free_name(person.name, taken)
        taken.add(name.casefold())
        return self.move(part.samples, name)

    def move(self, samples: Sequence[AuditedSample], name: str) -> str:
        ids = [word for sample in samples for word in ("--sample", str(sample.id))]
        return _command(["gallery", "move", *self._gallery, *ids, f"--to={name}"], samples[0].person_name)

    def remove(self, samples: Sequence[AuditedSample]) -> str:
        ids = [word for sample in samples for word in ("--sample", str(sample.id))]
        return _command(["gallery", "remove", *self._gallery, *ids, "--yes"], samples[0].person_name)

    def remove_misplaced(self, found: GalleryAudit) -> list[str]:
        """Of pictures under two names, the samples that are less like their person; not those mended otherwise."""
        mended = {one.sample.id for one in found.mislabelled}
        mended.update(sample.id for one in found.mixed for part in one.parts[1:] for sample in part.samples)
        merged = {frozenset((one.a.id, one.b.id)) for one in found.close_people}
        misplaced = {
            one.misplaced.id: one.misplaced
            for one in found.repeated
            if one.misplaced is not None
            and not {one.a.id, one.b.id} & mended
            and frozenset((one.a.person_id, one.b.person_id)) not in merged
        }
        return [self.remove([sample]) for sample in misplaced.values()]

    def merge_all(self, close: Iterable[ClosePeople]) -> list[str]:
        """A line for each person who is given up. Of three who are one, two pairs say all."""
        became: dict[str, str] = {}

        def name_now(name: str) -> str:
            return name_now(became[name]) if name in became else name

        lines = []
        for one in close:
            kept, given_up = (name_now(person.name) for person in _by_samples(one))
            if kept != given_up:
                became[given_up] = kept
                lines.append(_command(["gallery", "merge", *self._gallery, "--yes"], given_up, kept))
        return lines


def _command(words: Sequence[str], *names: str) -> str:
    """A line for the shell; names that begin with a dash are told from options."""
    return shlex.join(["lightface", *words, *(["--"] if any(name.startswith("-") for name in names) else []), *names])


def _free_name(name: str, taken: set[str]) -> str:
    """ "Alice 2", or with the next number under which nobody is enrolled."""
    return next(new for number in itertools.count(2) if (new := f"{name} {number}").casefold() not in taken)


def _write_page(found: GalleryAudit, path: Path, commands: _Commands) -> None:
    from lightface.pages import render_audit
    from lightface.pages.reports import write_page

    write_page(path, render_audit(found, mend=commands.for_all(found)))
    note(f"wrote {path}")


def _report(found: GalleryAudit, commands: _Commands) -> None:
    mend = commands.for_all(found)
    _report_samples(found, mend)
    _report_people(found, mend)
    _report_repeats(found, mend)
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


def _report_samples(found: GalleryAudit, mend: dict[str, list[str]]) -> None:
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
        mend=mend["mislabelled"],
    )


def _report_people(found: GalleryAudit, mend: dict[str, list[str]]) -> None:
    _print_kind(
        "perhaps several people under one name",
        ("person", "samples", "similarity to the others", "resembles", "photographs"),
        [
            (
                *(one.person.name, " ".join(str(sample.id) for sample in part.samples), f"{part.similarity:.3f}"),
                f"{part.resembles.name} {part.resembles_similarity:.3f}" if part.resembles is not None else None,
                " ".join(sample.source_path for sample in part.samples),
            )
            for one in found.mixed
            for part in one.parts
        ],
        total=len(found.mixed),
        mend=mend["mixed"],
    )
    for one in filter(lambda one: one.is_tie, found.mixed[:_SHOWN]):
        note(f"nothing says which of the samples are {one.person.name}'s: look at the photographs and choose")
    _print_kind(
        "perhaps one person enrolled twice",
        ("person", "samples", "person", "samples", "similarity"),
        [
            (one.a.name, one.a.sample_count, one.b.name, one.b.sample_count, f"{one.similarity:.3f}")
            for one in found.close_people
        ],
        total=found.close_people_total,
        mend=mend["close_people"],
    )


def _report_repeats(found: GalleryAudit, mend: dict[str, list[str]]) -> None:
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
        mend=mend["repeated"],
    )


def _print_people(title: str, people: Iterable[AuditedPerson]) -> None:
    _print_kind(title, ("id", "person", "samples"), [(one.id, one.name, one.sample_count) for one in people])


def _print_kind(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    total: int | None = None,
    mend: Sequence[str] = (),
) -> None:
    if rows:
        count = len(rows) if total is None else total
        print_line(f"{title} ({count:,})")
        print_table(columns, rows[:_SHOWN])
        for command in mend[:_SHOWN]:
            print_line(f"mend: {command}")
        if count > _SHOWN:
            print_line(f"and {count - _SHOWN:,} more, see --json")
        print_line()


def _fix(gallery: Gallery, found: GalleryAudit) -> bool:
    """Ask of each doubt and each repeated picture; each answer is carried out at once. Whether anything was changed."""
    changes = [_fix_mislabelled(gallery, one) for one in found.mislabelled]
    changes += [_fix_mixed(gallery, one, part) for one in found.mixed for part in one.parts[1:]]
    changes += [_fix_close(gallery, close) for close in found.close_people]
    changes += [_fix_repeated(gallery, repeated) for repeated in found.repeated]
    return any(changes)


def _fix_mislabelled(gallery: Gallery, one: MislabelledSample) -> bool:
    sample, other = one.sample, one.nearest_other
    if not _is_as_found(gallery, sample) or gallery.find_person(other.person_id) is None:
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


def _fix_mixed(gallery: Gallery, one: MixedPerson, part: PersonPart) -> bool:
    if not all(_is_as_found(gallery, sample) for sample in part.samples):
        return False
    person, target = one.person, part.resembles
    target = target if target is not None and gallery.find_person(target.id) else None
    new_name = _free_name(person.name, {known.name.casefold() for known in gallery.people()})
    listed = ", ".join(f"{sample.id} ({sample.source_path})" for sample in part.samples)
    question = (
        f"{count_of(len(part.samples), 'sample')} of {person.name}, {listed}, "
        f"{'is' if len(part.samples) == 1 else 'are'} unlike the other {person.sample_count - len(part.samples)} "
        f"({part.similarity:.3f}); splitting makes of them {new_name!r}"
        + (f", moving {target.name!r}, whom they resemble" if target is not None else "")
    )
    answer = _ask(question, *(["move"] if target is not None else []), "split", "remove")
    ids = [sample.id for sample in part.samples]
    if answer == "remove":
        gallery.remove_samples(ids)
        note(f"removed {count_of(len(ids), 'sample')} of {person.name}")
    elif answer != "keep":
        if answer == "split":
            gallery.split_person(person.id, ids, new_name)
        elif target is not None:
            for sample_id in ids:
                gallery.move_sample(sample_id, target.id)
        name = new_name if answer == "split" or target is None else target.name
        note(f"moved {count_of(len(ids), 'sample')} of {person.name} to {name}")
    return answer != "keep"


def _fix_close(gallery: Gallery, one: ClosePeople) -> bool:
    kept, given_up = _by_samples(one)
    if gallery.find_person(kept.id) is None or gallery.find_person(given_up.id) is None:
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


def _by_samples(one: ClosePeople) -> tuple[AuditedPerson, AuditedPerson]:
    """The two people, who has more samples first."""
    return (one.b, one.a) if one.b.sample_count > one.a.sample_count else (one.a, one.b)


def _remove(gallery: Gallery, sample: AuditedSample) -> None:
    gallery.remove_samples([sample.id])
    note(f"removed sample {sample.id} of {sample.person_name}")


def _is_as_found(gallery: Gallery, sample: AuditedSample) -> bool:
    """Whether no earlier answer, and no other process, has moved or removed it."""
    stored = gallery.find_enrolled(sample.image_sha256, sample.box_px)
    return stored is not None and (stored.id, stored.person_id) == (sample.id, sample.person_id)


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
