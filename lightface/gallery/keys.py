"""What opens an encrypted gallery."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from lightface.errors import GalleryError
from lightface.files import check_owned, flush_folder, open_regular, write_private

KeyKind = Literal["passphrase", "key file"]

KEY_BYTES: Final = 32
SHORTEST_PASSPHRASE: Final = 8  # characters


@dataclass(frozen=True, slots=True)
class Passphrase:
    """A key that is remembered. Its text is never shown, not even by `repr`."""

    text: str = field(repr=False)
    kind: KeyKind = field(default="passphrase", init=False)


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A key that is kept: a file of 32 random bytes, best on another disk than the gallery."""

    path: Path
    kind: KeyKind = field(default="key file", init=False)

    def read(self) -> bytes:
        """The 32 bytes. GalleryError for a file that is missing or no key file."""
        try:
            check_owned(self.path)
            with open_regular(self.path) as file:
                data = file.read(KEY_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise GalleryError(f"the key file {self.path} cannot be read ({reason}); name the right one") from error
        if len(data) != KEY_BYTES:
            raise GalleryError(f"{self.path} is not a key file, which has {KEY_BYTES} bytes; name the right one")
        return data


GalleryKey = Passphrase | KeyFile


def make_key_file(path: Path) -> KeyFile:
    """A new key file, for its owner's eyes only. GalleryError where there is a file, or none can be written."""
    if path.exists():
        raise GalleryError(f"there is a file {path} already; name a new one")
    try:
        with write_private(path) as file:
            file.write(os.urandom(KEY_BYTES))
        flush_folder(path.parent)  # or an error: a gallery, perhaps on another disk, is about to be lost without it
    except (OSError, ValueError) as error:
        raise GalleryError(f"the key file {path} cannot be written ({error}); choose another place") from error
    return KeyFile(path)
