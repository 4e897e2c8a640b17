"""Photographs that are no files: bytes, files that are open already, arrays and Pillow pictures."""

from __future__ import annotations

import itertools
import os
import sys
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from lightface.errors import ImageError
from lightface.files import MOST_BYTES

# A photograph by path; the bytes of a picture file, or such a file, open for reading bytes; an array of grey (H, W),
# RGB (H, W, 3) or RGB and opacity (H, W, 4) of uint8, or of grey of uint16; or a Pillow picture.
PhotoSource: TypeAlias = (
    Path | str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | npt.NDArray[Any] | Image.Image
)

_BYTES_AT_ONCE: Final = 1 << 20

_numbers: Final = itertools.count(1)

if TYPE_CHECKING:
    _LocalPath = Path
else:
    _LocalPath = type(Path())  # Path itself can be inherited from since Python 3.12


class GivenPicture(_LocalPath):
    """A photograph that a program holds, for whoever takes a path, names it, and reads it whole.

    Its name is that of the file where there is one. Each is equal to itself alone. ImageError for what is none.
    """

    image: Image.Image | None  # of an array or a Pillow picture
    _data: bytes | None
    _file: IO[bytes] | None

    def __new__(cls, source: object, *, name: str | None = None, keep: bool = False) -> GivenPicture:
        return super().__new__(cls, name or _name_of(source))

    def __init__(self, source: object, *, name: str | None = None, keep: bool = False) -> None:
        if sys.version_info >= (3, 12):
            super().__init__(name or _name_of(source))
        self.image = self._data = self._file = None
        self._keep = keep  # it is read more than once
        if isinstance(source, bytes | bytearray | memoryview):
            self._data = bytes(source)
        elif isinstance(source, Image.Image):
            self.image = source
        elif isinstance(source, np.ndarray):
            self.image = _to_image(source)
        elif callable(getattr(source, "read", None)):
            self._file = source  # type: ignore[assignment]
        else:
            kinds = "a path, the bytes of a picture file or such a file, an array or a Pillow picture"
            raise ImageError(f"a photograph is {kinds}, and not of the type {type(source).__name__}; give one of those")

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Path, str(self)), ()  # a result that travels leaves the picture behind

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def with_segments(self, *segments: Any) -> Path:
        return Path(*segments)

    def absolute(self) -> Path:  # type: ignore[override]
        return self

    def is_dir(self, **_: Any) -> bool:
        return False

    def is_file(self, **_: Any) -> bool:
        return True

    def exists(self, **_: Any) -> bool:
        return True

    def stat(self, **_: Any) -> os.stat_result:
        return os.stat_result((0,) * 10)

    def read_bytes(self) -> bytes:
        """What the picture is known by: the file's bytes, or of an array or Pillow picture, kind, size and pixels."""
        if self.image is not None:
            return f"{self.image.mode} {self.image.size}\n".encode() + self.image.tobytes()
        if self._file is not None:
            self._data, self._file = _read_all(self._file), None
        if self._data is None:
            raise ValueError("it was given once and has been read")
        return self._data

    def release(self) -> None:
        """Let go of the picture once it is decoded, or the results of a film would keep all of its pictures."""
        if not self._keep:
            self.image = self._data = self._file = None


def to_path(source: PhotoSource) -> Path:
    """What names a photograph, and is read by `load_photo`. ImageError for what is no photograph."""
    if isinstance(source, Path):  # which may be of another kind, and is to stay so
        return source
    if isinstance(source, str | os.PathLike):
        if not os.fspath(source):
            raise ImageError("an empty path names nothing, nor the current folder; give a path")
        return Path(source)
    return GivenPicture(source)


def _read_all(file: IO[bytes]) -> bytes:
    """ValueError for a file that is open for text, or has no end to speak of: a device, or a stream of a network."""
    if not isinstance(file.read(0), bytes):  # told before anything is taken from it, for it is asked for again
        raise ValueError("it is open for text; open it for reading bytes")
    parts: list[bytes] = []
    while part := file.read(_BYTES_AT_ONCE):
        parts.append(part)
        if len(parts) * _BYTES_AT_ONCE > MOST_BYTES and sum(map(len, parts)) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES / 1e9:.1f} GB")
    return b"".join(parts)


def _name_of(source: object) -> str:
    named = getattr(source, "name", None) or getattr(source, "filename", None)
    return named if isinstance(named, str) and "\0" not in named else f"picture {next(_numbers)}"


def _to_image(array: npt.NDArray[Any]) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    try:
        if 0 in array.shape or array.ndim not in (2, 3):
            raise ValueError("it has no rows and columns of pixels")
        return Image.fromarray(np.ascontiguousarray(array))
    except (TypeError, ValueError, KeyError) as error:
        shape = " x ".join(map(str, array.shape))
        raise ImageError(
            f"an array of {shape} {array.dtype} is no picture; give (H, W) or (H, W, 3) uint8, RGB"
        ) from error
