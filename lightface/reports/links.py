"""A folder with a folder for each group, in which links lead to the photographs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from lightface.errors import OutputError
from lightface.files import flush_entry
from lightface.remote import RemotePath

_STEM_LENGTH: Final = 40  # of a name that gets a number, or it could be too long for the file system


def check_folder(folder: Path) -> None:
    """Raise OutputError now for a folder that `link_groups` could not make later."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{str(folder)!r} is there already and not an empty folder; name a new one")
    if not folder.parent.is_dir() or not os.access(folder.parent, os.W_OK):
        raise OutputError(f"cannot write into {str(folder.parent)!r}; make the folder, or choose another place")


def link_groups(folder: Path, groups: Mapping[str, Sequence[Path]]) -> int:
    """Make `folder`, whole or not at all, with a link to each photograph of each group; how many photographs are gone.

    Symbolic links, and copies where the file system has none. Only the owner may look into it. OutputError where it
    is not empty or cannot be made. Photographs by URL have no link.
    """
    check_folder(folder)
    gone = 0
    try:
        # mkdtemp gives mode 0700; beside the folder, so that the rename cannot turn into a copy.
        partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".lightface-"))
        try:
            for name, photos in groups.items():
                (partial / name).mkdir()
                for photo in dict.fromkeys(photo for photo in photos if not isinstance(photo, RemotePath)):
                    gone += not _link(photo.absolute(), partial / name)
            os.replace(partial, folder)
            flush_entry(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)  # unless it has been renamed
    except OSError as error:
        raise OutputError(f"cannot make {str(folder)!r} ({error.strerror}); choose another place") from error
    return gone


def _link(photo: Path, folder: Path) -> bool:
    if not photo.is_file():
        return False
    link, number = folder / photo.name, 1
    while os.path.lexists(link):  # photographs of one name from different folders
        number += 1
        link = folder / f"{photo.stem[:_STEM_LENGTH]} ({number}){photo.suffix}"
    try:
        link.symlink_to(photo)
    except OSError:
        shutil.copyfile(photo, link)
    return True
