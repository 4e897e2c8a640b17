"""Where results go: never over what they are made of; one picture for one photograph, a folder for several."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from lightface import files
from lightface.errors import ConfigError, OutputError
from lightface.remote import RemotePath

WRITABLE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


def plan_pictures(destination: Path, named: Sequence[Path], photos: Sequence[Path], *, option: str) -> dict[Path, Path]:
    """Where the picture drawn of each photograph goes, of those that were found in what the user `named`.

    A destination with a picture's suffix is one file. Any other is a folder, in which the pictures have the names of
    `name_below`; it is made when the first is written. ConfigError where a picture would replace a photograph, or one
    file is to take several.
    """
    if destination.suffix.lower() in WRITABLE_SUFFIXES and not destination.is_dir():
        if len(photos) > 1:
            raise ConfigError(f"{option} {destination} is one picture for {len(photos)} photographs; name a folder")
        planned = dict.fromkeys(photos, destination)
    else:
        planned = {photo: destination / name for photo, name in _picture_names(name_below(named, photos)).items()}
    refuse_to_replace(photos, planned.values(), option=option)
    return planned


def refuse_to_replace(inputs: Iterable[Path], outputs: Iterable[Path], *, option: str) -> None:
    """ConfigError where a result would be written over what it is made of."""
    originals = {os.path.realpath(path) for path in inputs if not isinstance(path, RemotePath)}
    for path in outputs:
        if os.path.realpath(path) in originals:
            raise ConfigError(f"{option} would replace {path}, which it is made of; name another place")


def name_below(named: Sequence[Path], photos: Sequence[Path]) -> dict[Path, Path]:
    """A name for each photograph: its path below the folder that was `named`, or its own name.

    Of several folders each puts its own name before. Where two photographs would have one name, the next folder above
    is put before all, until none have.
    """
    roots = {os.path.abspath(one) for one in named}
    places = {photo: os.path.abspath(photo) for photo in photos}
    bases = {place: _find_base(place, roots) for place in places.values()}
    names = {place: os.path.relpath(place, base) for place, base in bases.items()}
    while len(set(names.values())) < len(names):
        bases = {place: os.path.dirname(base) for place, base in bases.items()}
        names = {place: os.path.relpath(place, base) for place, base in bases.items()}
    return {photo: Path(names[place]) for photo, place in places.items()}


def _find_base(place: str, roots: Collection[str]) -> str:
    """The folder that a photograph's name begins below."""
    folder = next((folder for folder in map(str, Path(place).parents) if folder in roots), None)
    if folder is None:
        return os.path.dirname(place)
    return folder if len(roots) == 1 else os.path.dirname(folder)


def make_folder(folder: Path) -> None:
    """Make a folder for results, and those above it, for its owner alone. OutputError where that fails."""
    try:
        files.make_folder(folder)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder} ({error.strerror}); choose another place") from error


def crop_names(named: Sequence[Path], photos: Sequence[Path]) -> dict[Path, Path]:
    """What the names of a photograph's crops begin with, as in `name_below`: without its suffix, where that is enough.

    Crops of a.jpg and a.png, in one folder, would have one name.
    """
    names = name_below(named, photos)
    shared = Counter(name.with_suffix("") for name in set(names.values()))
    return {photo: name if shared[name.with_suffix("")] > 1 else name.with_suffix("") for photo, name in names.items()}


def _picture_names(names: Mapping[Path, Path]) -> dict[Path, Path]:
    """Names with a suffix that can be written; a.heic beside a.heic.jpg gets one more."""
    taken = {name for name in names.values() if name.suffix.lower() in WRITABLE_SUFFIXES}
    planned = {}
    for photo, name in names.items():
        picture = name
        while picture.suffix.lower() not in WRITABLE_SUFFIXES or (picture != name and picture in taken):
            picture = picture.with_name(f"{picture.name}.jpg")
        taken.add(picture)
        planned[photo] = picture
    return planned
