"""Where results go: never over what they are made of; one picture for one photograph, a folder for several."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from lightface import files
from lightface.errors import ConfigError, OutputError
from lightface.remote import RemotePath

WRITABLE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


def plan_pictures(destination: Path, photos: Sequence[Path], *, option: str) -> dict[Path, Path]:
    """Where the picture drawn of each photograph goes.

    A destination with a picture's suffix is one file. Any other is a folder, in which the pictures lie as the
    photographs do among themselves; it is made when the first is written. ConfigError where a picture would replace a
    photograph, or one file is to take several.
    """
    if destination.suffix.lower() in WRITABLE_SUFFIXES and not destination.is_dir():
        if len(photos) > 1:
            raise ConfigError(f"{option} {destination} is one picture for {len(photos)} photographs; name a folder")
        planned = dict.fromkeys(photos, destination)
    else:
        planned = {photo: destination / _picture_name(name) for photo, name in name_below(photos).items()}
    refuse_to_replace(photos, planned.values(), option=option)
    return planned


def refuse_to_replace(inputs: Iterable[Path], outputs: Iterable[Path], *, option: str) -> None:
    """ConfigError where a result would be written over what it is made of."""
    originals = {os.path.realpath(path) for path in inputs if not isinstance(path, RemotePath)}
    for path in outputs:
        if os.path.realpath(path) in originals:
            raise ConfigError(f"{option} would replace {path}, which it is made of; name another place")


def name_below(photos: Sequence[Path]) -> dict[Path, Path]:
    """The path of each photograph below the lowest folder that holds them all."""
    places = {photo: os.path.abspath(photo) for photo in photos}
    common = os.path.commonpath([os.path.dirname(place) for place in places.values()])
    return {photo: Path(os.path.relpath(place, common)) for photo, place in places.items()}


def make_folder(folder: Path) -> None:
    """Make a folder for results, and those above it, for its owner alone. OutputError where that fails."""
    try:
        files.make_folder(folder)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder} ({error.strerror}); choose another place") from error


def _picture_name(path: Path) -> Path:
    return path if path.suffix.lower() in WRITABLE_SUFFIXES else path.with_name(f"{path.name}.jpg")
