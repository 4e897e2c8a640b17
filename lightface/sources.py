"""What a job is given to read: photographs by path, folder or URL, or such as a program holds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lightface.images import PassedOver, PhotoSource, find_photos, is_photo_name, to_path
from lightface.remote import RemotePath, as_path, list_files


def as_source(source: PhotoSource) -> Path:
    """What a job reads a photograph by, and names it: a path or URL, or what a program holds, as a `GivenPicture`.

    ImageError for what is no photograph.
    """
    return as_path(source) if isinstance(source, str) else to_path(source)


def find_sources(places: Iterable[Path | str], *, recursive: bool = True) -> list[Path]:
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
            found.update(dict.fromkeys(find_photos([path], recursive=recursive, passed_over=passed_over)))
    passed_over.tell()
    return list(found)
