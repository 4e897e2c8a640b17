"""Note in a gallery where the photographs of a moved folder lie now, after a look at each."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from lightface.errors import GalleryError, ImageError
from lightface.gallery import Gallery, StoredSample
from lightface.images import hash_file
from lightface.records import fields_of


class Relocation(StrEnum):
    """What is at a sample's new path."""

    RELOCATED = "relocated"  # its photograph: the sample names it from now on
    MISSING = "missing"  # nothing: the sample stays as it is
    DIFFERENT = "different"  # a file of other contents: the sample stays as it is
    UNREADABLE = "unreadable"  # a file that cannot be read: the sample stays as it is


@dataclass(frozen=True, slots=True)
class RelocatedSample:
    """A sample whose photograph lay in the folder of before."""

    sample_id: int
    person_name: str
    old_path: str
    new_path: str
    status: Relocation

    def to_dict(self) -> dict[str, Any]:
        """The fields, for `json.dumps`."""
        return fields_of(self)


def relocate_samples(
    gallery: Gallery,
    old: Path | str,
    new: Path | str,
    *,
    dry_run: bool = False,
    looked_at: Callable[[int, int], None] | None = None,
) -> list[RelocatedSample]:
    """Have the samples of the photographs in a folder, or of one, name them where they lie now.

    A path below `old` becomes the same path below `new`, if the contents of what lies there are those that were
    enrolled (SHA-256); else the sample stays as it is. Paths count from the working folder; `old` need not exist. All
    of that is one change of the gallery, or with `dry_run` none. `looked_at` hears how many of how many are looked at.

    Raises GalleryError where no sample's photograph lay in `old`.
    """
    names = {person.id: person.name for person in gallery.people()}
    chosen = [
        (sample, os.path.normpath(os.path.join(os.path.abspath(new), part)))
        for sample in gallery.samples()
        if sample.person_id in names and (part := _below(old, sample.source_path)) is not None
    ]
    if not chosen:
        raise GalleryError(
            f"no sample of {gallery.location} was enrolled from a photograph in {os.path.abspath(old)}; "
            "see what paths its people have"
        )
    statuses: dict[tuple[str, str], Relocation] = {}  # of a photograph with several faces, once
    found: list[RelocatedSample] = []
    for sample, target in chosen:
        key = (target, sample.image_sha256)
        if key not in statuses:
            statuses[key] = _look_at(Path(target), sample)
        found.append(RelocatedSample(sample.id, names[sample.person_id], sample.source_path, target, statuses[key]))
        if looked_at is not None:
            looked_at(len(found), len(chosen))
    paths = {one.sample_id: (one.old_path, one.new_path) for one in found if one.status is Relocation.RELOCATED}
    if paths and not dry_run:
        gallery.relocate_samples(paths)
    return found


def _below(folder: Path | str, path: str) -> str | None:
    """The part of a path below a folder; "" for the folder itself, None for a path elsewhere, such as a URL."""
    if not os.path.isabs(path):
        return None
    start, path = os.path.abspath(folder), os.path.normpath(path)
    if path == start:
        return ""
    prefix = start if start.endswith(os.sep) else start + os.sep
    return path.removeprefix(prefix) if path.startswith(prefix) else None


def _look_at(path: Path, sample: StoredSample) -> Relocation:
    if not os.path.lexists(path):
        return Relocation.MISSING
    try:
        return Relocation.RELOCATED if hash_file(path) == sample.image_sha256 else Relocation.DIFFERENT
    except ImageError:
        return Relocation.UNREADABLE
