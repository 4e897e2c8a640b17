"""Find photographs and read them from the disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lightface.errors import ImageError, MissingFileError
from lightface.faces import ByteArray
from lightface.images.decoding import DEFAULT_MAX_PIXELS, decode_photo
from lightface.images.failures import describe_reason, quote, too_large
from lightface.images.jpeg import choose_reduction

# No compressed photograph within the pixel limit comes near this; a disk image or film given by mistake does.
_MAX_FILE_BYTES = 1 << 30

PHOTO_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp"),
        *(".bmp", ".dib", ".tif", ".tiff", ".gif", ".heic", ".heif"),
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A decoded photograph."""

    path: Path
    sha256: str  # of the file's bytes, 64 hexadecimal digits
    image_rgb: ByteArray  # (H, W, 3) uint8, upright
    reduction: int = 1  # each pixel is the mean of a square of so many pixels of the file: 1, 2, 4 or 8
    encoded: bytes | None = None  # the file, of a reduced photograph

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the whole photograph, less what does not fill a pixel of a reduced one."""
        height, width = self.image_rgb.shape[:2]
        return height * self.reduction, width * self.reduction

    def whole(self, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Photo:
        """The photograph with all its pixels."""
        if self.encoded is None:
            return self
        image_rgb = decode_photo(self.encoded, name=str(self.path), max_pixels=max_pixels)
        return Photo(self.path, self.sha256, image_rgb)


def find_photos(paths: Iterable[Path | str], *, recursive: bool = True) -> list[Path]:
    """List the photographs named by `paths`: files as they are given, folders searched for photo suffixes.

    A file named outright is taken whatever its suffix. What a folder yields is sorted; hidden files and
    folders in it are skipped, symbolic links to folders are not followed. Each path is listed once.

    Raises ImageError for a path that does not exist or a folder that cannot be read.
    """
    found: dict[Path, None] = {}
    for path in map(_to_path, paths):
        _check_exists(path)
        if os.path.isdir(path):
            found.update(dict.fromkeys(sorted(_search_folder(path, recursive=recursive))))
        else:
            found[path] = None
    return list(found)


def find_folders(folder: Path | str) -> list[Path]:
    """The folders in a folder, such as those of people, by name; links to folders count, hidden ones do not.

    Raises ImageError where there is no such folder or it cannot be read.
    """
    folder = _to_path(folder)
    _check_exists(folder)
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise _unreadable(folder, error) from error


def load_photo(path: Path | str, *, max_pixels: int = DEFAULT_MAX_PIXELS, enough_px: int | None = None) -> Photo:
    """Read and decode one photograph.

    Where it is a JPEG of at least twice `enough_px` on its longer side, it is decoded at a half, a quarter or an eighth
    of its size, which takes a fraction of the time; the longer side stays at least `enough_px`.

    Raises ImageError when the file is missing, unreadable or not a whole picture, and ImageTooLargeError,
    before anything is decoded, when it has more than `max_pixels` pixels.
    """
    path = _to_path(path)
    data = _read_file(path)
    reduction = 1 if enough_px is None else choose_reduction(data, enough_px)
    image_rgb = decode_photo(data, name=str(path), max_pixels=max_pixels, reduction=reduction)
    digest = hashlib.sha256(data).hexdigest()
    return Photo(path, digest, image_rgb, reduction, encoded=data if reduction > 1 else None)


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's bytes as 64 hexadecimal digits; ImageError when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _to_path(path: Path | str) -> Path:
    if path == "":
        raise ImageError("an empty path names nothing, nor the current folder; give a path")
    return Path(path) if isinstance(path, str) else path  # a path may be of another kind, which is to stay so


def _check_exists(path: Path) -> None:
    if not os.path.exists(path):
        raise MissingFileError(f"{quote(path)} does not exist; check the path")


def _search_folder(folder: Path, *, recursive: bool) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise _unreadable(Path(error.filename), error) from error

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES:
                yield Path(parent, name)


def _read_file(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ImageError(f"{quote(path)} is a folder, not a picture; name a file in it")
        # A pipe or device would be waited on for ever.
        if path.exists() and not path.is_file():
            raise ImageError(f"{quote(path)} is not a regular file; save the picture to a file first")
        size = path.stat().st_size
        if size > _MAX_FILE_BYTES:
            raise too_large(str(path), f"{size / 1e9:.1f} GB", f"{_MAX_FILE_BYTES / 1e9:.1f} GB for a file")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError | ValueError) -> ImageError:
    kind = MissingFileError if isinstance(error, FileNotFoundError | NotADirectoryError) else ImageError
    return kind(f"cannot read {quote(path)} ({describe_reason(error)}); check the path and its permissions")
