"""Training crops: an index of aligned crops in zip shards, with a list of pairs, as `lightface train` reads them.

`index.csv` has a line a crop with the columns `shard` and `name` (of the member), and `identity` and `split` where
known; `dev-pairs.csv` has `row_a, row_b, same`, the rows of the index.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lightface.errors import EvaluationError
from lightface.evaluation.pair_list import (
    Framing,
    ListedPair,
    PairList,
    Picture,
    ZipArchive,
    ZipMember,
    build_pair_list,
)
from lightface.evaluation.protocols.own_photos import pair_people
from lightface.measurement.pairs import DEFAULT_PAIR_LIMIT
from lightface.tables.text_lists import ListRow, parse_csv, read_lines, refuse_line

_INDEX = "index.csv"
_PAIRS = "dev-pairs.csv"


def is_crop_index(path: Path) -> bool:
    """Whether a folder has an index of crops, or a file is one."""
    return (path / _INDEX).is_file() or path.name in (_INDEX, _PAIRS)


def read_crop_index(
    path: Path, *, framing: Framing = Framing.LIGHTCNN, pair_limit: int = DEFAULT_PAIR_LIMIT
) -> PairList:
    """The listed pairs of a data folder, or of a list of pairs beside its index.

    Without a list, all crops of the split dev whose person is known are paired with each other. EvaluationError for
    an index or a list that cannot be read, with the line.
    """
    folder = path if path.is_dir() else path.parent
    listed = folder / _PAIRS if path.is_dir() or path.name == _INDEX else path
    if listed.is_file():
        rows = list(_read_pairs(listed))
        crops = _read_index(folder / _INDEX, wanted={row for pair in rows for row in pair[1:3]})
        pairs = [_pick(listed, crops, *row) for row in rows]
        people = {picture: person or picture.name for picture, person in crops.values()}
        built = build_pair_list("crops, listed pairs", listed, pairs, people=people, framing=framing)
        return _declare_people(built)
    crops = _read_index(folder / _INDEX, wanted=None)
    known = {picture: person for picture, person in crops.values() if person}
    return pair_people("crops, all pairs", folder / _INDEX, known, framing=framing, pair_limit=pair_limit)


def _declare_people(pairs: PairList) -> PairList:
    """Let people be enrolled where the index and the list agree on who is who."""
    return replace(pairs, knows_people=pairs.is_consistent)


def _read_pairs(path: Path) -> Iterator[tuple[int, int, int, bool]]:
    """Line, row_a, row_b, same."""
    for number, row in _read_csv(path, ("row_a", "row_b", "same")):
        if not (row["row_a"].isdigit() and row["row_b"].isdigit() and row["same"] in ("0", "1")):
            raise refuse_line(
                path, number, f"{','.join(row.values())!r} is no pair", "write row_a,row_b,same as numbers"
            )
        yield number, int(row["row_a"]), int(row["row_b"]), row["same"] == "1"


def _read_index(path: Path, *, wanted: set[int] | None) -> dict[int, tuple[Picture, str]]:
    """Crop and person by row; the rows wanted, or those of the split dev."""
    archives: dict[str, ZipArchive] = {}
    crops: dict[int, tuple[Picture, str]] = {}
    for row, (number, cells) in enumerate(_read_csv(path, ("shard", "name"))):
        if row not in wanted if wanted is not None else cells.get("split") != "dev":
            continue
        shard, member = cells["shard"], cells["name"]
        if Path(shard).name != shard or not member:
            raise refuse_line(
                path, number, f"{shard!r} {member!r} is no crop", "name a zip beside the index and a member"
            )
        if shard not in archives:
            archives[shard] = ZipArchive(path.parent / shard)
        crops[row] = (ZipMember(f"{shard}/{member}", archives[shard], member), cells.get("identity") or "")
    return crops


def _pick(
    path: Path, crops: dict[int, tuple[Picture, str]], number: int, row_a: int, row_b: int, same: bool
) -> ListedPair:
    for row in (row_a, row_b):
        if row not in crops:
            raise refuse_line(path, number, f"the index has no row {row}", "the list belongs to another index")
    return ListedPair(crops[row_a][0], crops[row_b][0], same)


def _read_csv(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line and cells of each row. EvaluationError for missing columns and uneven rows."""
    rows = parse_csv(path, read_lines(path))
    names = next(rows, ListRow(1, ())).cells
    missing = set(columns) - set(names)
    if missing:
        raise EvaluationError(f"{path} has no column {sorted(missing)[0]!r}; expected {', '.join(columns)}")
    for row in rows:
        if len(row.cells) != len(names):
            raise refuse_line(path, row.line, "the number of cells is not that of the header", "mend the line")
        yield row.line, dict(zip(names, row.cells, strict=True))
