"""Photographs of one's own: a folder a person, strangers, or a CSV of pairs."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lightface.crops import ShardReader
from lightface.errors import EvaluationError, TrainingError
from lightface.evaluation.pair_list import (
    FilePicture,
    Framing,
    ListedPair,
    PairList,
    Picture,
    ShardPicture,
    build_pair_list,
    check_impostors,
    number_people,
    stratified_folds,
)
from lightface.images import PHOTO_SUFFIXES, find_photos
from lightface.measurement.pairs import DEFAULT_PAIR_LIMIT, pair_up
from lightface.pipeline import find_people
from lightface.tables.text_lists import SAME, is_label, read_list, read_named_pairs, refuse_line


def read_people(folder: Path, *, framing: Framing = Framing.DETECT, pair_limit: int = DEFAULT_PAIR_LIMIT) -> PairList:
    """Pair every picture of a people folder with every other, up to `pair_limit` pairs of each kind.

    Raises as `pipeline.find_people`, and EvaluationError where there is one person alone.
    """
    pictures: dict[Picture, str] = {
        FilePicture(path.relative_to(folder).as_posix(), path): name
        for name, paths in find_people(folder).items()
        for path in paths
    }
    return pair_people("a folder a person", folder, pictures, framing=framing, pair_limit=pair_limit)


def pair_people(
    name: str, source: Path, pictures: dict[Picture, str], *, framing: Framing, pair_limit: int = DEFAULT_PAIR_LIMIT
) -> PairList:
    """All pairs of pictures with their people's names."""
    people, names = number_people(list(pictures.values()))
    a, b, same = pair_up(people, limit=pair_limit)
    check_impostors(source, same)
    return PairList(
        name=name,
        source=source,
        pictures=tuple(pictures),
        a=a,
        b=b,
        same=same,
        folds=stratified_folds(same),
        people=people,
        person_names=names,
        framing=framing,
        knows_people=True,
        paired_up=True,
    )


# Strangers: a folder or a zip of pictures, each of another person. Their pairs measure false matches alone.


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


# A member that claims to unpack to much more than a photograph is hostile.
_LARGEST_PHOTO_BYTES = 64 << 20


def _find_members(path: Path) -> list[ShardPicture]:
    """The pictures in a zip; what macOS adds and other hidden files are none."""
    if not zipfile.is_zipfile(path):
        problem = "is no zip file" if path.exists() else "does not exist"
        raise EvaluationError(f"{path} {problem}; name a folder or a zip of pictures, each of another person")
    archive = ShardReader(largest_bytes=_LARGEST_PHOTO_BYTES)
    try:
        members = archive.list_members(path)
    except TrainingError as error:
        raise EvaluationError(str(error)) from error
    return [
        ShardPicture(name, archive, path, name)
        for name in members
        if PurePosixPath(name).suffix.lower() in PHOTO_SUFFIXES and not PurePosixPath(name).name.startswith(".")
    ]


# Pairs of one's own: a CSV with two paths and a label a line.


def read_pairs_csv(path: Path, *, images: Path | None = None, framing: Framing = Framing.DETECT) -> PairList:
    """Read lines of `path_a,path_b,same`; a first line that has no label is taken for the headings.

    Relative paths are sought in `images`; without it beside the list, and then in the current folder. The label is 1
    or 0, same or different, true or false. See `tables.text_lists` for what a list may look like.
    EvaluationError names the line of anything else.
    """
    folders = [path.parent, Path()] if images is None else [images]
    return build_pair_list("pairs of a CSV file", path, _read_rows(path, folders), framing=framing)


def _read_rows(path: Path, folders: list[Path]) -> Iterator[ListedPair]:
    for pair in read_named_pairs(path, read_list(path), folders, labelled=True):
        if not is_label(pair.label):
            raise refuse_line(path, pair.line, f"{pair.label!r} is no label", "write 1 or same, 0 or different")
        same = pair.label.lower() in SAME
        yield ListedPair(FilePicture(pair.name_a, pair.path_a), FilePicture(pair.name_b, pair.path_b), same)
