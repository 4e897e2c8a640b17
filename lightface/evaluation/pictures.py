"""The pictures of an evaluation: files, members of a zip, or bytes out of a packed list.

Each has a name for reports and can be hashed without being decoded, so that what is cached is not decoded again.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lightface.errors import EvaluationError, ImageError
from lightface.files import check_regular
from lightface.images import DEFAULT_MAX_PIXELS, Photo, decode_photo, hash_file, load_photo

# A crop takes some kilobytes; a member that claims to unpack to much more than a photograph is hostile.
_MAX_MEMBER_BYTES = 64 << 20


class Picture(Protocol):
    """A picture that a list names. Hashable: equal pictures are embedded once."""

    @property
    def name(self) -> str:
        """What the list calls it."""
        ...

    def sha256(self) -> str:
        """Of its bytes, hexadecimal. ImageError where they cannot be read."""
        ...

    def load(self, *, max_pixels: int = DEFAULT_MAX_PIXELS, allow_truncated: bool = False) -> Photo:
        """Decode it. ImageError as `images.load_photo`."""
        ...


@dataclass(frozen=True, slots=True)
class FilePicture:
    """A file of its own."""

    name: str
    path: Path

    def sha256(self) -> str:
        """Of the file."""
        return hash_file(self.path)

    def load(self, *, max_pixels: int = DEFAULT_MAX_PIXELS, allow_truncated: bool = False) -> Photo:
        """Read and decode the file."""
        return load_photo(self.path, max_pixels=max_pixels, allow_truncated=allow_truncated)


@dataclass(frozen=True, slots=True)
class PackedPicture:
    """The bytes of a picture file that came in a larger one."""

    name: str
    data: bytes = field(repr=False)

    def sha256(self) -> str:
        """Of the bytes."""
        return hashlib.sha256(self.data).hexdigest()

    def load(self, *, max_pixels: int = DEFAULT_MAX_PIXELS, allow_truncated: bool = False) -> Photo:
        """Decode the bytes."""
        return _decode(self.name, self.data, max_pixels, allow_truncated)


@dataclass(frozen=True, slots=True)
class ZipMember:
    """A member of a zip file, read when it is needed."""

    name: str
    archive: ZipArchive
    member: str

    def sha256(self) -> str:
        """Of the member's bytes."""
        return hashlib.sha256(self.archive.read(self.member)).hexdigest()

    def load(self, *, max_pixels: int = DEFAULT_MAX_PIXELS, allow_truncated: bool = False) -> Photo:
        """Read and decode the member."""
        return _decode(self.name, self.archive.read(self.member), max_pixels, allow_truncated)


class ZipArchive:
    """A zip file that is opened once. EvaluationError where it is missing or none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            check_regular(path)
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise EvaluationError(f"cannot open {path} ({error}); copy it again from its source") from error

    def read(self, member: str) -> bytes:
        """The bytes of a member. ImageError where it is missing or damaged."""
        try:
            if self._zip.getinfo(member).file_size > _MAX_MEMBER_BYTES:
                raise ImageError(f"{member!r} in {self.path.name} is too large for a crop; look at what it is")
            return self._zip.read(member)
        except KeyError as error:
            raise ImageError(f"{self.path.name} has no member {member!r}; check the index") from error
        except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise ImageError(f"cannot read {member!r} of {self.path.name} ({error}); copy it again") from error


def _decode(name: str, data: bytes, max_pixels: int, allow_truncated: bool) -> Photo:
    image_rgb = decode_photo(data, name=name, max_pixels=max_pixels, allow_truncated=allow_truncated)
    return Photo(path=Path(name), sha256=hashlib.sha256(data).hexdigest(), image_rgb=image_rgb)
