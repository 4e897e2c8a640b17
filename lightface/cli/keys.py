"""Where the key of an encrypted gallery comes from: a key file, a variable, or whoever sits at the terminal.

A passphrase is never an option or an argument, which others could read in the list of processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lightface.cli import questions
from lightface.cli.console import note
from lightface.cli.settings import NEW_PASSPHRASE_VARIABLE, PASSPHRASE_VARIABLE, Settings
from lightface.errors import ConfigError, LockedGalleryError
from lightface.words import visible

if TYPE_CHECKING:
    from lightface.gallery import GalleryKey
    from lightface.gallery.keys import KeyKind


def key_of(settings: Settings, location: str) -> Callable[[KeyKind], GalleryKey]:
    """What `open_gallery` asks for the key of the gallery at `location`, if that is encrypted."""

    def find_key(kind: KeyKind) -> GalleryKey:
        from lightface.gallery import KeyFile, Passphrase

        if kind == "passphrase":
            return Passphrase(_passphrase(location, PASSPHRASE_VARIABLE))
        if settings.key_file is None:
            raise LockedGalleryError(f"{location} is encrypted; name its key file with --key-file")
        return KeyFile(Path(settings.key_file))

    return find_key


def new_key(location: str, key_file: Path | None, *, is_first: bool) -> GalleryKey:
    """The key that the gallery shall have from now on; a key file is made if missing."""
    from lightface.gallery import KeyFile, Passphrase, make_key_file

    if key_file is None:
        variable = PASSPHRASE_VARIABLE if is_first else NEW_PASSPHRASE_VARIABLE
        return Passphrase(_passphrase(location, variable, is_new=True))
    if key_file.exists():
        return KeyFile(key_file)
    key = make_key_file(key_file)
    note(f"made the key file {key_file}; keep a copy of it elsewhere, and none beside the gallery")
    return key


def _passphrase(location: str, variable: str, *, is_new: bool = False) -> str:
    given = os.environ.get(variable)
    if given is not None:
        return given
    what = f"{'new ' if is_new else ''}passphrase"
    if not questions.is_terminal():
        reason = "is to be encrypted" if is_new else "is encrypted"
        error = f"{location} {reason}, and stdin is no terminal to ask for the {what}; set {variable}"
        raise (ConfigError if is_new else LockedGalleryError)(error)
    text: str = typer.prompt(f"{what} of {visible(location)}", hide_input=True, confirmation_prompt=is_new, err=True)
    return text
