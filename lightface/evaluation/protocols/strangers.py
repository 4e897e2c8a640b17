"""Strangers: a folder or a zip of pictures, each of another person. Their pairs measure false matches alone."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

from lightface.errors import EvaluationError
from lightface.evaluation.all_pairs import DEFAULT_PAIR_LIMIT
from lightface.evaluation.pair_list import Framing, PairList
from lightface.evaluation.pictures import FilePicture, Picture, ZipArchive, ZipMember
from lightface.evaluation.protocols.people import pair_people
from lightface.images import PHOTO_SUFFIXES, find_photos


def read_strangers(path: Path, *, framing: Framing = Framing.DETECT, pair_limit: int = DEFAULT_PAIR_LIMIT) -> PairList:
    """Pair every picture with every other, up to `pair_limit` pairs; each is named by its place in the folder or zip.

    Raises ImageError for a folder that cannot be read, and EvaluationError for a file that is no zip, and where there
    are not two pictures.
    """
    pictures: list[Picture] = (
        [FilePicture(photo.relative_to(path).as_posix(), photo) for photo in find_photos([path])]
        if path.is_dir()
        else list(_find_members(path))
    )
    if len(pictures) < 2:
        raise EvaluationError(f"{path} has fewer than two pictures, so nothing can be compared; add some")
    people = {picture: picture.name for picture in pictures}
    return pair_people("strangers, each picture another person", path, people, framing=framing, pair_limit=pair_limit)


def _find_members(path: Path) -> list[ZipMember]:
    """The pictures in a zip; what macOS adds and other hidden files are none."""
    if not zipfile.is_zipfile(path):
        problem = "is no zip file" if path.exists() else "does not exist"
        raise EvaluationError(f"{path} {problem}; name a folder or a zip of pictures, each of another person")
    archive = ZipArchive(path)
    return [
        ZipMember(name, archive, name)
        for name in archive.list_members()
        if PurePosixPath(name).suffix.lower() in PHOTO_SUFFIXES and not PurePosixPath(name).name.startswith(".")
    ]
