"""`lightface gallery`: look after the people who are enrolled."""

from __future__ import annotations

import difflib
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightface.cli import privacy
from lightface.cli.audit import audit
from lightface.cli.console import complain, confirm, is_terminal, note, progress_bar
from lightface.cli.inputs import STANDARD_STREAM, stdin_as_file
from lightface.cli.loading import gallery_place, open_gallery_of, resolve_bands_within
from lightface.cli.options import GALLERY, Json, command_group, with_settings
from lightface.cli.reembed import reembed
from lightface.cli.results import print_file, print_json, print_line, print_table
from lightface.cli.settings import Settings
from lightface.errors import ConfigError, GalleryError, PersonNotFoundError
from lightface.locations import to_local_path
from lightface.words import count_of, visible

if TYPE_CHECKING:
    from lightface.gallery import Gallery, Person
    from lightface.gallery.audit import MixedPerson

_ID_DIGITS = 18  # of the largest ids that are told from names

PersonArgument = Annotated[str, typer.Argument(metavar="PERSON", help="A name, in any case, or an id.")]

app = command_group("List, correct, move and delete the people who are enrolled.")
app.command("reembed")(reembed)
app.command("audit")(audit)
app.command("encrypt")(privacy.encrypt)
app.command("rotate-key")(privacy.rotate_key)
app.command("decrypt")(privacy.decrypt)
app.command("log")(privacy.log)
app.command("retention")(privacy.retention)
app.command("expire")(privacy.expire)


@app.command("list")
@with_settings(*GALLERY)
def list_people(settings: Settings, *, as_json: Json = False) -> None:
    """List everybody who is enrolled."""
    with open_gallery_of(settings) as gallery:
        counts = gallery.stats().samples_per_person
        people = [person for person in gallery.people() if person.id in counts]  # others may be enrolled meanwhile
    if as_json:
        print_json(
            [
                {"id": person.id, "name": person.name, "samples": counts[person.id], "since": person.created_at}
                for person in people
            ]
        )
    elif people:
        rows = [(person.id, person.name, counts[person.id], _day(person)) for person in people]
        print_table(("id", "name", "samples", "since"), rows)
    else:
        note("nobody is enrolled")


@app.command("show")
@with_settings(*GALLERY)
def show_person(settings: Settings, *, person: PersonArgument, as_json: Json = False) -> None:
    """Show a person and the photographs that they were enrolled with."""
    with open_gallery_of(settings) as gallery:
        found = _find_person(gallery, person)
        samples = gallery.samples(found.id)
    if as_json:
        shown = ("id", "source_path", "image_sha256", "box_px", "det_score", "quality", "model_id", "created_at")
        rows = [{name: getattr(sample, name) for name in shown} for sample in samples]
        print_json({"id": found.id, "name": found.name, "metadata": found.metadata, "samples": rows})
        return
    print_line(f"{found.name} (id {found.id}, since {_day(found)})")
    for key, value in found.metadata.items():
        print_line(f"{key}: {value}")
    print_table(
        ("sample", "quality", "score", "photograph"),
        [(sample.id, _number(sample.quality), _number(sample.det_score), sample.source_path) for sample in samples],
    )


@app.command("remove")
@with_settings(*GALLERY)
def remove_person(
    settings: Settings,
    *,
    person: PersonArgument,
    sample: Annotated[
        list[int] | None,
        typer.Option("--sample", metavar="N", help="Remove only this sample of theirs; may be given repeatedly."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a person, and every trace of them from the gallery and the cache of `evaluate`. Says what stays where."""
    from lightface.evaluation.cache import forget_pictures

    with open_gallery_of(settings) as gallery:
        found = _find_person(gallery, person)
        owned = {enrolled.id: enrolled.image_sha256 for enrolled in gallery.samples(found.id)}
        foreign = set(sample or ()) - owned.keys()
        if foreign:
            raise GalleryError(f"{found.name!r} has no sample {min(foreign)}; see 'lightface gallery show'")
        who = f"{found.name} (id {found.id})"
        count = count_of(len(owned), "sample")
        what = f"{len(set(sample)):,} of {count} of {who}" if sample else f"{who} with {count}"
        confirm(f"Remove {what}?", yes=yes)
        if sample:
            gallery.remove_samples(set(sample))
        else:
            gallery.remove_person(found.id)
        residual_copies = gallery.residual_copies
    note(f"removed {what}")
    if sample and not owned.keys() - set(sample):
        note(f"{found.name} stays without a sample; 'lightface gallery remove' without --sample removes the person")
    forget_pictures(sha256 for sample_id, sha256 in owned.items() if not sample or sample_id in sample)
    privacy.tell_what_stays(residual_copies)


@app.command("consent")
@with_settings(*GALLERY)
def note_consent(
    settings: Settings,
    *,
    person: PersonArgument,
    agreed: Annotated[str, typer.Argument(metavar="NOTE", help="What was agreed to, and when; '' takes it away.")],
) -> None:
    """Note what a person has agreed to: the metadata `consent`, which `gallery show` shows and an export holds."""
    from lightface.gallery.records import CONSENT

    with open_gallery_of(settings) as gallery:
        found = gallery.set_metadata(_find_person(gallery, person).id, {CONSENT: agreed})
    note(f"noted for {found.name}")


@app.command("rename")
@with_settings(*GALLERY)
def rename_person(
    settings: Settings,
    *,
    person: PersonArgument,
    new_name: Annotated[str, typer.Argument(metavar="NEW_NAME", help="The new name, which must be free.")],
) -> None:
    """Give a person another name."""
    with open_gallery_of(settings) as gallery:
        old = _find_person(gallery, person)
        renamed = gallery.rename_person(old.id, new_name)
    note(f"{old.name} is {renamed.name} now")


@app.command("merge")
@with_settings(*GALLERY)
def merge_people(
    settings: Settings,
    *,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Who is given up: a name or an id.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Who gets their samples: a name or an id.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Make one person of two: TARGET gets the samples of SOURCE."""
    with open_gallery_of(settings) as gallery:
        given_up, kept = _find_person(gallery, source), _find_person(gallery, target)
        confirm(f"Give all samples of {given_up.name} to {kept.name}, and remove {given_up.name}?", yes=yes)
        gallery.merge_people(given_up.id, kept.id)
        count = len(gallery.samples(kept.id))
    note(f"{given_up.name} is {kept.name} now, with {count_of(count, 'sample')}")


@app.command("move")
@with_settings(*GALLERY)
def move_samples(
    settings: Settings,
    *,
    person: PersonArgument,
    sample: Annotated[
        list[int], typer.Option("--sample", metavar="N", help="The sample to move; may be given repeatedly.")
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="OTHER", help="Whose they are: a name or an id; of a new name, a new person.")
    ],
) -> None:
    """Give samples of one person to another, or to a new one. Nothing is embedded, and nothing is lost."""
    with open_gallery_of(settings) as gallery:
        found, moved = _find_person(gallery, person), set(sample)
        owned = {enrolled.id for enrolled in gallery.samples(found.id)}
        if moved - owned:
            raise GalleryError(f"{found.name!r} has no sample {min(moved - owned)}; see 'lightface gallery show'")
        known = _look_up(gallery, to)
        (known,) = gallery.give_samples(found.id, {to if known is None else known.name: moved})
    note(f"moved {count_of(len(moved), 'sample')} of {found.name} to {known.name} (id {known.id})")
    if not owned - moved:
        note(f"{found.name} stays without a sample; 'lightface gallery remove' removes the person")


@app.command("split")
@with_settings("threshold", *GALLERY)
def split_person(
    settings: Settings,
    *,
    person: PersonArgument,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", metavar="FILE", help="Write a page (.html) with the faces, part by part.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="NAME", help="Who the other part is: a name or an id, known or new.")
    ] = None,
    part: Annotated[int | None, typer.Option("--part", metavar="N", help="Which part goes to them.", min=1)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the parts.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Make two people of one, under whose name there are two: shows the parts, and asks who the others are.

    The parts are those of `gallery audit`. Nothing is embedded and nothing is lost; all parts are given in one change.
    """
    from lightface.gallery.audit import find_parts_of

    if sheet is not None:
        from lightface.pages.reports import check_report_outputs

        check_report_outputs([sheet], [".html"])
    if part is not None and to is None:
        raise ConfigError("--part says which part goes to --to; give that as well")
    if to is None and not dry_run and (yes or not is_terminal()):
        raise ConfigError("nobody says who the other part is; give --to NAME, or run it in a terminal without --yes")
    with open_gallery_of(settings) as gallery:
        found = _find_person(gallery, person)
        threshold = resolve_bands_within(settings, gallery).threshold
        mixed = find_parts_of(gallery, found.id, threshold=threshold)
        if mixed is None:
            raise GalleryError(
                f"the samples of {found.name!r} are alike at threshold {threshold:.3f}, so there is nothing to split; "
                "'lightface gallery move' gives single samples to others"
            )
        _show_parts(mixed)
        if sheet is not None:
            _write_parts(mixed, sheet, gallery, threshold)
        if dry_run:
            return
        chosen = _ask_for_parts(mixed) if to is None else {to: _choose_part(mixed, part)}
        targets: dict[str, list[int]] = {}
        for text, ids in chosen.items():
            known = _look_up(gallery, text)
            targets.setdefault(text if known is None else known.name, []).extend(ids)
        if to is not None:
            ((name, ids),) = targets.items()
            confirm(f"Give {count_of(len(ids), 'sample')} of {found.name} to {name}?", yes=yes)
        others = gallery.give_samples(found.id, targets)
    for other, ids in zip(others, targets.values(), strict=True):
        note(f"moved {count_of(len(ids), 'sample')} of {found.name} to {other.name} (id {other.id})")
    if not targets:
        note(f"{found.name} stays as before")


def _show_parts(mixed: MixedPerson) -> None:
    rows = [
        (
            *(number, " ".join(str(sample.id) for sample in part.samples), f"{part.similarity:.3f}"),
            f"{part.resembles.name} {part.resembles_similarity:.3f}" if part.resembles is not None else None,
            " ".join(sample.source_path for sample in part.samples),
        )
        for number, part in enumerate(mixed.parts, start=1)
    ]
    print_table(("part", "samples", "similarity to the others", "resembles", "photographs"), rows)
    if mixed.is_tie:
        note(f"nothing says which of the parts is {mixed.person.name}: look at the photographs")


def _write_parts(mixed: MixedPerson, path: Path, gallery: Gallery, threshold: float) -> None:
    from lightface.pages.audit_page import render_parts
    from lightface.pages.reports import write_page

    write_page(path, render_parts(mixed, location=gallery.location, threshold=threshold))
    note(f"wrote {path}")


def _ask_for_parts(mixed: MixedPerson) -> dict[str, list[int]]:
    """The samples that go to others, by the name that was typed; nobody where each part stays."""
    chosen: dict[str, list[int]] = {}
    for number, part in enumerate(mixed.parts, start=1):
        like = f", like {part.resembles.name}" if part.resembles is not None else ""
        question = (
            f"Part {number}, {count_of(len(part.samples), 'sample')}{like}: who is that? (Enter: {mixed.person.name})"
        )
        answer = typer.prompt(visible(question), default="", show_default=False, err=True).strip()
        if answer and answer not in (mixed.person.name, str(mixed.person.id)):
            chosen.setdefault(answer, []).extend(sample.id for sample in part.samples)
    return chosen


def _choose_part(mixed: MixedPerson, number: int | None) -> list[int]:
    """The samples of the part that goes to another; ConfigError where it is not clear which."""
    count = len(mixed.parts)
    if number is None and (count > 2 or mixed.is_tie):
        why = f"there are {count} parts" if count > 2 else f"nothing says which part is {mixed.person.name!r}"
        raise ConfigError(f"{why}; say by --part N which one goes to the other, as listed above")
    if number is not None and number > count:
        raise ConfigError(f"there is no part {number}, but {count} of them; choose one with --part")
    return [sample.id for sample in mixed.parts[(number or 2) - 1].samples]


@app.command("relocate")
@with_settings(*GALLERY)
def relocate(
    settings: Settings,
    *,
    old: Annotated[str, typer.Argument(metavar="OLD", help="The folder as the gallery knows it; it may be gone.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The folder where the photographs lie now.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only look, and change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Note where the photographs of a moved folder lie now, each checked by its contents.

    What is not there, or has other contents, is listed and stays as it was. Exit code 0 unless nothing was found.
    """
    from lightface.pipeline.relocate import Relocation, relocate_samples

    folders = [str(to_local_path(one)) for one in (old, new)]
    with open_gallery_of(settings) as gallery, progress_bar("looking") as advance:
        found = relocate_samples(gallery, *folders, dry_run=dry_run, looked_at=advance)
    left = [one for one in found if one.status is not Relocation.RELOCATED]
    if as_json:
        print_json({"schema_version": 1, "dry_run": dry_run, "samples": found})
    elif left:
        rows = [(one.sample_id, one.person_name, one.status, one.new_path) for one in left]
        print_table(("sample", "person", "status", "photograph"), rows)
    done = "would be relocated" if dry_run else "relocated"
    kept = f"; {count_of(len(left), 'stays', 'stay')} as before" if left else ""
    note(f"{count_of(len(found) - len(left), 'sample')} {done}{kept}")
    if len(left) == len(found):
        raise typer.Exit(2)


@app.command("undo")
@with_settings(*GALLERY)
def undo(
    settings: Settings,
    *,
    forget: Annotated[
        bool, typer.Option("--forget", help="Take nothing back, and delete what is kept to do so.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Take back the last change: enroll, import, move, split, merge or relocate, whole.

    A removal is final, and so is what overwrites a name or metadata. Refused where anything was changed since.
    """
    with open_gallery_of(settings) as gallery:
        if forget:
            gallery.forget_last_change()
            note("what was kept of the last change is deleted")
            return
        change = gallery.last_change()
        if change is None:
            raise GalleryError(
                "there is no change to take back: the last one is final, as a removal or a new name is, or was taken "
                "back already"
            )
        come = _count_changed(change.people_removed, change.samples_removed)
        were = _count_changed(change.people_restored, change.samples_restored)
        effects = [come and f"{come} that came with it go", were and f"{were} become as before"]
        what = f"{change.what!r}: {', '.join(filter(None, effects))}"
        confirm(f"Take back {what}?", yes=yes)
        gallery.undo(change)
    note(f"took back {what}")


def _count_changed(people: int, samples: int) -> str:
    counted = [count_of(people, "person") if people else "", count_of(samples, "sample") if samples else ""]
    return " and ".join(filter(None, counted))


@app.command("export")
@with_settings(*GALLERY)
def export_gallery(
    settings: Settings,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; - is stdout.")],
) -> None:
    """Write everybody into one portable file (JSON Lines). It holds biometric data: keep it safe."""
    with ExitStack() as stack:
        gallery = stack.enter_context(open_gallery_of(settings))
        if gallery.encryption is not None:
            note("the gallery is encrypted, but its export is in clear; encrypt it yourself, or delete it soon")
        if file != STANDARD_STREAM:
            gallery.export_to(file)
            stats = gallery.stats()
            what = f"{count_of(stats.person_count, 'person')} with {count_of(stats.sample_count, 'sample')}"
            note(f"exported {what} to {file}")
            return
        # By way of a file of mode 0600 in a folder of mode 0700, so that a failure writes nothing to stdout.
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "gallery.jsonl"
        gallery.export_to(temporary)
        print_file(temporary)


@app.command("import")
@with_settings(*GALLERY)
def import_gallery(
    settings: Settings,
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `export` wrote; - is stdin.")],
    allow_looser: Annotated[
        bool, typer.Option("--allow-looser", help="Take its thresholds even where the weights are stricter.")
    ] = False,
    allow_alike: Annotated[
        bool, typer.Option("--allow-alike", help="Take people whose names look alike: by case, blanks or Unicode.")
    ] = False,
) -> None:
    """Add the people of an exported gallery; makes the gallery if there is none."""
    from lightface.gallery import gallery_exists, import_gallery

    with ExitStack() as stack:
        if file == STANDARD_STREAM:
            file = stack.enter_context(stdin_as_file(may_be_large=True))
        if gallery_exists(gallery_place(settings)):
            gallery = stack.enter_context(open_gallery_of(settings, create=True))
            summary = gallery.import_from(file, allow_looser=allow_looser, allow_alike=allow_alike)
        else:
            place = gallery_place(settings)
            summary = import_gallery(place, file, allow_looser=allow_looser, allow_alike=allow_alike)
    note(
        f"imported {count_of(summary.people_added, 'person')} and {count_of(summary.samples_added, 'sample')}; "
        f"{count_of(summary.samples_skipped, 'sample was', 'samples were')} there already"
    )
    if summary.thresholds_added:
        brought = count_of(summary.thresholds_added, "threshold, which decides", "thresholds, which decide")
        complain(
            f"the file brought {brought} who is recognised; see 'lightface gallery stats', and 'lightface calibrate "
            "--reset' to do without"
        )


@app.command("copy")
@with_settings("key_file")
def copy_gallery(
    settings: Settings,
    *,
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="A gallery: a file, or postgresql://USER@HOST/DATABASE.")
    ],
    target: Annotated[str, typer.Argument(metavar="DST", help="An empty one, which is made if there is none.")],
    in_clear: Annotated[
        bool, typer.Option("--in-clear", help="Of an encrypted gallery, make a copy that is not.")
    ] = False,
) -> None:
    """Copy a gallery, from a file to a server or back: whole or not at all, read back and compared.

    A copy that is there already, whole, is left alone. SRC stays what it is. The copy of an encrypted gallery has the
    same key.
    """
    from lightface.gallery import describe_place, gallery_exists, new_gallery

    is_there = gallery_exists(target)
    with (
        open_gallery_of(replace(settings, gallery=source)) as original,
        open_gallery_of(replace(settings, gallery=target), create=True) if is_there else new_gallery(target) as copy,
    ):
        summary = original.copy_to(copy, in_clear=in_clear)
    where = describe_place(target)
    what = f"{count_of(summary.person_count, 'person')} with {count_of(summary.sample_count, 'sample')}"
    done = f"{where} is the same already:" if summary.was_there else f"copied to {where}:"
    note(f"{done} {what}, export SHA-256 {summary.sha256}")


@app.command("stats")
@with_settings(*GALLERY)
def show_stats(settings: Settings, *, as_json: Json = False) -> None:
    """Show the size of the gallery, its model and its thresholds."""
    from lightface.gallery.records import latest_thresholds

    with open_gallery_of(settings) as gallery:
        stats, thresholds, encryption = gallery.stats(), gallery.thresholds(), gallery.encryption
    if as_json:
        print_json({"stats": stats, "thresholds": thresholds, "encryption": encryption})
        return
    rows: list[tuple[str, object]] = [
        ("gallery", stats.location),
        ("model", stats.model_id or "none yet"),
        ("people", stats.person_count),
        ("samples", stats.sample_count),
        ("size", f"{stats.size_bytes / 1e6:.2f} MB"),
        ("encryption", encryption or "none"),
        ("created", f"{stats.created_at:%Y-%m-%d %H:%M} UTC"),
    ]
    if stats.last_enrolled_at is not None:
        rows.append(("last enrolled", f"{stats.last_enrolled_at:%Y-%m-%d %H:%M} UTC"))
    deciding = latest_thresholds(thresholds)
    for known in thresholds:
        when = f"{known.created_at:%Y-%m-%d}" + ("" if known in deciding else ", which a later calibration replaced")
        rows.append((f"threshold at FAR {known.far:g}", f"{known.threshold:.3f} ({known.source}; {when})"))
    for label, value in rows:
        print_line(f"{label:<24}{value}")


def _find_person(gallery: Gallery, text: str) -> Person:
    """The person of that name or id; PersonNotFoundError with the closest name where there is none."""
    found = _look_up(gallery, text)
    if found is None:
        names = [] if _is_id(text) else [person.name for person in gallery.people()]
        closest = difflib.get_close_matches(text, names, 1)
        hint = f"did you mean {closest[0]!r}?" if closest else "'lightface gallery list' shows everybody"
        raise PersonNotFoundError(f"there is no person {text if _is_id(text) else repr(text)} in the gallery; {hint}")
    return found


def _look_up(gallery: Gallery, text: str) -> Person | None:
    """The person of that name, or else of that id."""
    found = gallery.find_person(text)
    return gallery.find_person(int(text)) if found is None and _is_id(text) else found


def _is_id(text: str) -> bool:
    return text.isdecimal() and len(text) <= _ID_DIGITS


def _day(person: Person) -> str:
    return f"{person.created_at:%Y-%m-%d}"


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"
