"""Find photographs, take them from a program, and read them from the disk."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

from lightface.errors import ImageError, MissingFileError, check_number
from lightface.files import hash_regular, read_regular
from lightface.images.decoding import DEFAULT_MAX_PIXELS, RAW_SUFFIXES, decode_photo, take_picture
from lightface.images.failures import describe_reason, quote, too_large
from lightface.images.given import GivenPicture, PhotoSource, to_path
from lightface.images.jpeg import choose_reduction
from lightface.images.video import VIDEO_SUFFIXES, is_video_name
from lightface.locations import RemotePath, as_path, list_files
from lightface.records import ByteArray

_log = logging.getLogger(__name__)

# No compressed photograph within the pixel limit comes near this; a disk image or film given by mistake does.
_MAX_FILE_BYTES = 1 << 30
_SIDECAR_SUFFIX = ".xmp"  # of what is known of a photograph, and lies beside it

PHOTO_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif"),
        *(".heic", ".heif", ".hif", ".heics", ".heifs", ".avif", ".avifs"),
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A decoded photograph."""

    path: Path
    sha256: str  # of the file's bytes, 64 hexadecimal digits
    image_rgb: ByteArray = field(repr=False)  # (H, W, 3) uint8, upright
    reduction: int = 1  # each pixel is the mean of a square of so many pixels of the file: 1, 2, 4 or 8
    encoded: bytes | None = field(default=None, repr=False)  # the file, of a reduced photograph
    is_truncated_allowed: bool = False  # that is how it was read

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the whole photograph, less what does not fill a pixel of a reduced one."""
        height, width = self.image_rgb.shape[:2]
        return height * self.reduction, width * self.reduction

    def whole(self, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Photo:
        """The photograph with all its pixels."""
        if self.encoded is None:
            return self
        image_rgb = decode_photo(
            self.encoded, name=str(self.path), max_pixels=max_pixels, allow_truncated=self.is_truncated_allowed
        )
        return Photo(self.path, self.sha256, image_rgb)


@dataclass(slots=True)
class PassedOver:
    """Files that a search for photographs left out for their suffixes; `tell` when all folders have been searched."""

    suffixes: Counter[str] = field(default_factory=Counter)

    def tell(self) -> None:
        """Log how many of which suffix there were, in one line."""
        if not self.suffixes:
            return
        most_first = sorted(self.suffixes.items(), key=lambda one: (-one[1], one[0]))
        counts = ", ".join(f"{count:,} {suffix or 'without a suffix'}" for suffix, count in most_first)
        hints = ""
        if RAW_SUFFIXES.intersection(self.suffixes):
            hints += "; install rawpy (lightface's extra 'raw') to read what sensors saw"
        if VIDEO_SUFFIXES.intersection(self.suffixes) and not find_spec("av"):
            hints += "; install av (lightface's extra 'video') to read videos"
        _log.warning("passed over %s%s", counts, hints)


def is_photo_name(name: str) -> bool:
    """Whether a folder's file of that name is taken for a photograph: by its suffix, RAW where it can be read."""
    return os.path.splitext(name)[1].lower() in _found_suffixes()


def find_photos(
    paths: Iterable[Path | str],
    *,
    recursive: bool = True,
    passed_over: PassedOver | None = None,
    videos: bool = False,
) -> list[Path]:
    """List the photographs named by `paths`: files as they are given, folders searched for photo suffixes.

    A file named outright is taken whatever its suffix. What a folder yields is sorted; hidden files and
    folders in it are skipped, symbolic links to folders are not followed. Each path is listed once. Files that are
    passed over for their suffix are counted and logged, or counted in `passed_over` for who searches more folders.
    Videos in folders are taken where the caller can read `videos` and PyAV is there.

    Raises ImageError for a path that does not exist or a folder that cannot be read.
    """
    counted = PassedOver() if passed_over is None else passed_over
    takes = _is_photo_or_video if videos and find_spec("av") else is_photo_name
    search = partial(_search_folder, recursive=recursive, passed_over=counted, takes=takes)
    found: dict[Path, None] = {}
    for path in map(to_path, paths):
        if isinstance(path, GivenPicture):
            found[path] = None
            continue
        _check_exists(path)
        if os.path.isdir(path):
            found.update(dict.fromkeys(sorted(search(path))))
        else:
            found[path] = None
    if passed_over is None:
        counted.tell()
    return list(found)


def find_folders(folder: Path | str) -> list[Path]:
    """The folders in a folder, such as those of people, by name; links to folders count, hidden ones do not.

    Raises ImageError where there is no such folder or it cannot be read.
    """
    folder = to_path(folder)
    _check_exists(folder)
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise _unreadable(folder, error) from error


def load_photo(
    source: PhotoSource,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    enough_px: int | None = None,
    allow_truncated: bool = False,
) -> Photo:
    """Read and decode one photograph: a path, or what a program holds, see `PhotoSource`.

    Where it is a JPEG of at least twice `enough_px` on its longer side, it is decoded at a half, a quarter or an eighth
    of its size, which takes a fraction of the time; the longer side stays at least `enough_px`. With `allow_truncated`,
    a JPEG of which a part is missing is read, and that part is grey.

    Raises ImageError when the file is missing, unreadable or not a whole picture, or the source is none of these, and
    ImageTooLargeError, before anything is decoded, when it has more than `max_pixels` pixels. ConfigError where a size
    is no number of 1 or more.
    """
    check_number("max_pixels", max_pixels, low=1)
    if enough_px is not None:
        check_number("enough_px", enough_px, low=1)
    path = to_path(source)
    if isinstance(path, GivenPicture) and path.image is not None:
        image_rgb = take_picture(path.image, name=str(path), max_pixels=max_pixels)
        return Photo(path, hash_file(path), image_rgb)
    data = _read_file(path)
    reduction = 1 if enough_px is None else choose_reduction(data, enough_px)
    image_rgb = decode_photo(
        data, name=str(path), max_pixels=max_pixels, reduction=reduction, allow_truncated=allow_truncated
    )
    digest = hashlib.sha256(data).hexdigest()
    return Photo(path, digest, image_rgb, reduction, data if reduction > 1 else None, allow_truncated)


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's bytes as 64 hexadecimal digits; ImageError when it cannot be read."""
    try:
        return hash_regular(path, may_be_large=is_video_name(path.name))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


@cache
def _found_suffixes() -> frozenset[str]:
    return PHOTO_SUFFIXES | RAW_SUFFIXES if find_spec("rawpy") else PHOTO_SUFFIXES


def _check_exists(path: Path) -> None:
    if not os.path.exists(path):
        raise MissingFileError(f"{quote(path)} does not exist; check the path")


def _is_photo_or_video(name: str) -> bool:
    return is_photo_name(name) or is_video_name(name)


def _search_folder(
    folder: Path, *, recursive: bool, passed_over: PassedOver, takes: Callable[[str], bool]
) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise _unreadable(Path(error.filename), error) from error

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        for name in files:
            if name.startswith("."):
                continue
            suffix = os.path.splitext(name)[1].lower()
            if takes(name):
                yield Path(parent, name)
            elif suffix != _SIDECAR_SUFFIX:
                passed_over.suffixes[suffix] += 1


def _read_file(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > _MAX_FILE_BYTES:
            raise too_large(str(path), f"{size / 1e9:.1f} GB", f"{_MAX_FILE_BYTES / 1e9:.1f} GB for a file")
        return read_regular(path)
    except IsADirectoryError as error:
        raise ImageError(f"{quote(path)} is a folder, not a picture; name a file in it") from error
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError | ValueError) -> ImageError:
    kind = MissingFileError if isinstance(error, FileNotFoundError | NotADirectoryError) else ImageError
    return kind(f"cannot read {quote(path)} ({describe_reason(error)}); check the path and its permissions")


# Photographs that a job is given to read: by path, folder or URL, or held by a program.


def as_source(source: PhotoSource) -> Path:
    """The path by which a job reads and names a photograph: a local one, a URL, or a `GivenPicture`.

    ImageError for what is no photograph.
    """
    return as_path(source) if isinstance(source, str) else to_path(source)


def find_sources(places: Iterable[Path | str], *, recursive: bool = True, videos: bool = False) -> list[Path]:
    """As `find_photos`, by URL too. RemoteError for a place that does not answer."""
    passed_over = PassedOver()
    found: dict[Path, None] = {}
    for place in places:
        path = as_path(place)
        if isinstance(path, RemotePath):
            files = list_files(path, recursive=recursive)
            is_file = files == [path]  # which is taken whatever its suffix
            found.update((file, None) for file in files if is_file or is_photo_name(file.name))
        else:
            here = find_photos([path], recursive=recursive, passed_over=passed_over, videos=videos)
            found.update(dict.fromkeys(here))
    passed_over.tell()
    return list(found)
