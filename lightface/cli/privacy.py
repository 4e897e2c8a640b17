"""`lightface gallery encrypt` and its like: who may read a gallery, and what becomes of what it holds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightface.cli.console import confirm, note
from lightface.cli.face_tables import kept_tables_folder
from lightface.cli.loading import gallery_place, new_key, open_gallery_of
from lightface.cli.options import GALLERY, Json, with_settings
from lightface.cli.results import print_json, print_table
from lightface.cli.settings import Settings
from lightface.errors import ConfigError, GalleryError
from lightface.words import count_of

if TYPE_CHECKING:
    from lightface.gallery import Expired, GalleryKey, LogEntry
    from lightface.gallery.keys import KeyKind

_OUT_OF_REACH = (
    "what was written of it in clear before is still there: exports, face tables, backups, snapshots, freed blocks of "
    "the disk"
)


@with_settings(*GALLERY)
def encrypt(settings: Settings) -> None:
    """Encrypt names, metadata, embeddings and paths, with a passphrase or with the key file that --key-file names.

    A missing key file is made, and so is a missing gallery. The passphrase is asked for, or is in LIGHTFACE_PASSPHRASE.
    """
    from lightface.gallery import describe_place, open_gallery
    from lightface.gallery.places import is_url

    place = gallery_place(settings)

    def refuse(kind: KeyKind) -> GalleryKey:
        raise GalleryError(f"{place} is encrypted already; 'lightface gallery rotate-key' gives it another key")

    with open_gallery(place, create=not is_url(place), key=refuse) as gallery:
        key_file = None if settings.key_file is None else Path(settings.key_file)
        key = new_key(describe_place(place), key_file, is_first=True)
        gallery.encrypt(key)
        stats = gallery.stats()
    note(f"encrypted {stats.location}, {count_of(stats.person_count, 'person')}; without its {key.kind} it is lost")
    if stats.sample_count:
        note(_OUT_OF_REACH)


@with_settings(*GALLERY)
def rotate_key(
    settings: Settings,
    *,
    new_key_file: Annotated[
        Path | None,
        typer.Option("--new-key-file", metavar="FILE", help="The next key (default: a passphrase); made if missing."),
    ] = None,
) -> None:
    """Encrypt the gallery anew with another passphrase or key file, all of it; the old one opens nothing any more.

    The new passphrase is asked for, or is in LIGHTFACE_NEW_PASSPHRASE.
    """
    with open_gallery_of(settings) as gallery:
        if gallery.encryption is None:
            raise GalleryError(f"{gallery.location} is not encrypted; 'lightface gallery encrypt' does that")
        key = new_key(gallery.location, new_key_file, is_first=False)
        gallery.encrypt(key)
        location = gallery.location
    note(f"{location} is encrypted with another {key.kind} now; copies made before still open with the old one")


@with_settings(*GALLERY)
def decrypt(
    settings: Settings,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Keep the gallery in clear again."""
    with open_gallery_of(settings) as gallery:
        if gallery.encryption is None:
            raise GalleryError(f"{gallery.location} is not encrypted")
        confirm(f"Keep {gallery.location} in clear, for whoever can read the file?", yes=yes)
        gallery.decrypt()
        location = gallery.location
    note(f"{location} is in clear now")


@with_settings(*GALLERY)
def log(
    settings: Settings,
    *,
    on: Annotated[
        bool | None, typer.Option("--on/--off", help="Switch the log on or off. It is off unless switched on.")
    ] = None,
    keep_days: Annotated[
        int | None,
        typer.Option("--keep-days", metavar="N", help="With --on: how long to keep an entry (365); 0: for ever."),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--since",
            metavar="DATE",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            help="From then on, in UTC, such as 2026-11-01 or 2026-11-01T18:30:00.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show who was enrolled, matched, moved and removed, by ids alone; or switch that log on or off."""
    from lightface.gallery.event_log import DEFAULT_LOG_DAYS

    if keep_days is not None and not on:
        raise ConfigError("--keep-days belongs to --on")
    with open_gallery_of(settings) as gallery:
        if on is not None:
            as_before = DEFAULT_LOG_DAYS if gallery.log.days is None else gallery.log.days
            gallery.log.set_days(None if not on else as_before if keep_days is None else keep_days)
            note(_describe_log(gallery.log.days))
            return
        entries = gallery.log.entries(None if since is None else since.replace(tzinfo=UTC))
        days = gallery.log.days
    if as_json:
        print_json(entries)
        return
    if entries:
        rows = [
            (f"{one.at:%Y-%m-%d %H:%M:%S}", one.event.value, one.person_id, one.target_id, one.sample_id, _cosine(one))
            for one in entries
        ]
        print_table(("UTC", "event", "person", "target", "sample", "similarity"), rows)
    note(f"{count_of(len(entries), 'entry')}; {_describe_log(days)}")


@with_settings(*GALLERY)
def retention(
    settings: Settings,
    *,
    days: Annotated[int | None, typer.Option("--days", metavar="N", help="Keep samples for so many days.")] = None,
    off: Annotated[bool, typer.Option("--off", help="Keep samples for ever, as at first.")] = False,
) -> None:
    """Say how long samples may be kept. Nothing is removed by that: `gallery expire` does, when you run it."""
    if off and days is not None:
        raise ConfigError("--off and --days contradict each other; give one of the two")
    with open_gallery_of(settings) as gallery:
        if off or days is not None:
            gallery.retention.set_days(days)
        limit, expired = gallery.retention.days, gallery.retention.expired()
    if limit is None:
        note("samples are kept for ever")
    else:
        what = "nothing is older" if expired is None else f"{_count(expired)} are older, see 'lightface gallery expire'"
        note(f"samples are kept for {count_of(limit, 'day')}; {what}")


@with_settings(*GALLERY)
def expire(
    settings: Settings,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Remove nothing, only show what would be removed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Show, and then remove, what is older than `gallery retention` allows: samples, and people with no younger one."""
    from lightface.evaluation.cache import forget_pictures

    with open_gallery_of(settings) as gallery:
        if gallery.retention.days is None:
            raise ConfigError("no limit is set; 'lightface gallery retention --days N' sets one")
        expired = gallery.retention.expired()
        if as_json:
            print_json({"people": expired.people if expired else [], "samples": expired.samples if expired else {}})
        if expired is None:
            note("nothing is older than it may be")
            return
        if not as_json:
            names = {person.id: person.name for person in gallery.people()}
            samples = [(one, names[owner]) for one, owner in expired.samples.items() if owner in names]
            if expired.people:
                print_table(("person", "name"), [(person.id, person.name) for person in expired.people])
            if samples:
                print_table(("sample", "of"), samples)
        if dry_run:
            note(f"{_count(expired)} would be removed")
            return
        confirm(f"Remove {_count(expired)}?", yes=yes)
        hashes = {sample.image_sha256 for sample in gallery.samples() if sample.id in expired.samples}
        gallery.retention.remove(expired)
        residual_copies = gallery.residual_copies
    note(f"removed {_count(expired)}")
    forget_pictures(hashes)
    tell_what_stays(residual_copies)


def tell_what_stays(residual_copies: str | None) -> None:
    """Say after a removal what it could not reach."""
    made_before = "tables, journals, reports, exports, copies and backups made before"
    note(f"not reached: the photographs, names in their metadata, and the {made_before}")
    if kept_tables_folder().exists():
        note(f"nor the face tables of folders in {kept_tables_folder()}, which can be deleted at any time")
    if residual_copies is not None:
        note(residual_copies)


def _describe_log(days: int | None) -> str:
    if days is None:
        return "the log is off"
    return f"the log is on, entries are kept for {count_of(days, 'day') if days else 'ever'}"


def _count(expired: Expired) -> str:
    return f"{count_of(len(expired.people), 'person')} and {count_of(len(expired.samples), 'sample')}"


def _cosine(entry: LogEntry) -> str | None:
    return None if entry.similarity is None else f"{entry.similarity:.3f}"
