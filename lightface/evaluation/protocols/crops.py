"""Training crops: an index of aligned crops in shards, with a list of pairs, as `lightface train` reads them.

See `lightface.crops` for the columns of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lightface.crops import INDEX_NAMES, PAIRS_NAME, CropEntry, ShardReader, find_index, read_index, read_pairs
from lightface.errors import EvaluationError, TrainingError
from lightface.evaluation.pair_list import (
    Framing,
    ListedPair,
    PairList,
    Picture,
    ShardPicture,
    build_pair_list,
)
from lightface.evaluation.protocols.own_photos import pair_people
from lightface.measurement.pairs import DEFAULT_PAIR_LIMIT, Pairs


def is_crop_index(path: Path) -> bool:
    """Whether a folder has an index of crops, or a file is one or its list of pairs."""
    return find_index(path) is not None or path.name in (*INDEX_NAMES, PAIRS_NAME)


def read_crop_index(
    path: Path, *, framing: Framing = Framing.LIGHTCNN, pair_limit: int = DEFAULT_PAIR_LIMIT
) -> PairList:
    """The listed pairs of a data folder, or of a list of pairs beside its index.

    Without a list, all crops of the split dev whose person is known are paired with each other. EvaluationError for
    an index, a list or a shard that cannot be read, with the row.
    """
    folder = path if path.is_dir() else path.parent
    index = find_index(folder) or folder / INDEX_NAMES[0]
    listed = folder / PAIRS_NAME if path.is_dir() or path.name in INDEX_NAMES else path
    try:
        named = read_pairs(listed) if listed.is_file() else None
        entries = read_index(index)
        if named is not None:
            return _list_pairs(listed, entries, named, framing)
        rows = [row for row, entry in enumerate(entries) if entry.split == "dev" and entry.identity]
        known = {picture: entries[row].identity for row, picture in _find_pictures(folder, entries, rows).items()}
    except TrainingError as error:
        raise EvaluationError(str(error)) from error
    return pair_people("crops, all pairs", index, known, framing=framing, pair_limit=pair_limit)


def _list_pairs(listed: Path, entries: Sequence[CropEntry], named: Pairs, framing: Framing) -> PairList:
    rows = sorted({*named.a.tolist(), *named.b.tolist()})
    if rows and rows[-1] >= len(entries):
        raise EvaluationError(
            f"{listed} names row {rows[-1]}, and the index has no such row; the list belongs to another index"
        )
    pictures = _find_pictures(listed.parent, entries, rows)
    pairs = [
        ListedPair(pictures[a], pictures[b], same)
        for a, b, same in zip(named.a.tolist(), named.b.tolist(), named.same.tolist(), strict=True)
    ]
    people = {picture: entries[row].identity or picture.name for row, picture in pictures.items()}
    built = build_pair_list("crops, listed pairs", listed, pairs, people=people, framing=framing)
    # People can be enrolled where the index and the list agree on who is who.
    return replace(built, knows_people=built.is_consistent)


def _find_pictures(folder: Path, entries: Sequence[CropEntry], rows: Sequence[int]) -> dict[int, Picture]:
    """The crop of each row. TrainingError for a shard that cannot be opened."""
    shards = ShardReader()
    for file in dict.fromkeys(entries[row].file for row in rows):
        shards.open(file)
    return {row: _to_picture(folder, entries[row], shards) for row in rows}


def _to_picture(folder: Path, entry: CropEntry, shards: ShardReader) -> Picture:
    name = f"{entry.file.relative_to(folder).as_posix()}/{entry.member}"
    return ShardPicture(name, shards, entry.file, entry.member)
