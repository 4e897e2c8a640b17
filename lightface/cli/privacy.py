"""`lightface gallery encrypt` and its like: who may read a gallery, and what becomes of what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightface.cli.console import note
from lightface.cli.keys import new_key
from lightface.cli.loading import gallery_place, open_gallery_of
from lightface.cli.options import GALLERY, with_settings
from lightface.cli.questions import confirm
from lightface.cli.settings import Settings
from lightface.errors import GalleryError

if TYPE_CHECKING:
    from lightface.gallery import GalleryKey
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

    place = gallery_place(settings)

    def refuse(kind: KeyKind) -> GalleryKey:
        raise GalleryError(f"{place} is encrypted already; 'lightface gallery rotate-key' gives it another key")

    with open_gallery(place, create=True, key=refuse) as gallery:
        key_file = None if settings.key_file is None else Path(settings.key_file)
        key = new_key(describe_place(place), key_file, is_first=True)
        gallery.encrypt(key)
        stats = gallery.stats()
    note(f"encrypted {stats.location}, {stats.person_count} people; without its {key.kind} it is lost")
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
