"""AgeDB-30: pairs of pictures that lie thirty years apart.

Published as `04_FINAL_protocol_30_years.mat` beside the folder `03_Protocol_Images`: `splits` holds ten structures,
each with a 2x600 cell array of (picture, age) and a row of labels, 1 or -1. Widely passed on as a text as well, a
line `a.jpg b.jpg 1` a pair, 600 a fold. (Moschoglou et al., AgeDB, 2017.)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lightface.errors import EvaluationError
from lightface.evaluation.pair_list import FOLD_COUNT, FilePicture, Framing, ListedPair, PairList, build_pair_list
from lightface.files import check_regular
from lightface.tables.text_lists import read_lines, refuse_line

_LISTS = ("04_FINAL_protocol_30_years.mat", "agedb_30_pair.txt", "agedb_30_pairs.txt")
_IMAGE_FOLDERS = ("03_Protocol_Images", "agedb30_align_112", "AgeDB", "agedb_30", ".")


def find_agedb_list(folder: Path) -> Path | None:
    """The list in a folder of AgeDB; None where there is none."""
    return next((folder / name for name in _LISTS if (folder / name).is_file()), None)


def read_agedb(path: Path, *, images: Path | None = None, framing: Framing = Framing.DETECT) -> PairList:
    """Read AgeDB-30 from its folder or its list, MATLAB or text.

    Pictures are sought in `images`, or in the published folder beside the list. EvaluationError for a missing or
    malformed list; for a text it names the line.
    """
    listed = find_agedb_list(path) if path.is_dir() else path
    if listed is None:
        raise EvaluationError(f"{path} has no {_LISTS[0]}; put AgeDB's list beside the pictures")
    if images is None:
        images = next(listed.parent / name for name in _IMAGE_FOLDERS if (listed.parent / name).is_dir())
    read = _read_matlab if listed.suffix == ".mat" else _read_text
    return build_pair_list("AgeDB-30", listed, read(listed, images), framing=framing)


def _read_text(path: Path, images: Path) -> Iterator[ListedPair]:
    rows = [(number, line.split()) for number, line in enumerate(read_lines(path), start=1) if line.strip()]
    for position, (number, cells) in enumerate(rows):
        if len(cells) != 3 or cells[2] not in ("1", "0", "-1"):
            raise refuse_line(path, number, f"{' '.join(cells)!r} is no pair", "write 'a.jpg b.jpg 1', or 0 or -1")
        a, b = (FilePicture(name, images / name) for name in cells[:2])
        yield ListedPair(a, b, cells[2] == "1", position * FOLD_COUNT // len(rows))


def _read_matlab(path: Path, images: Path) -> Iterator[ListedPair]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        check_regular(path)
        splits = loadmat(path)["splits"].ravel()
        folds = [_read_split(split) for split in splits]
    except (OSError, MatReadError, NotImplementedError) as error:
        raise EvaluationError(f"cannot read {path} ({error}); copy it again from its source") from error
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise EvaluationError(f"{path} is not laid out as AgeDB's protocol ({error}); copy it again") from error
    for fold, pairs in enumerate(folds):
        for name_a, name_b, same in pairs:
            a, b = (FilePicture(name, images / f"{name}.jpg") for name in (name_a, name_b))
            yield ListedPair(a, b, same, fold if len(folds) == FOLD_COUNT else None)


def _read_split(split: Any) -> list[tuple[str, str, bool]]:
    """One structure of two fields, the cells of (picture, age) and the labels; their names were never fixed."""
    pairs, labels = split[0, 0]
    labels = np.asarray(labels).ravel()
    if pairs.shape != (2, labels.size) or not np.isin(labels, (-1, 0, 1)).all():
        raise ValueError(f"a split of {pairs.shape} pictures and {labels.size} labels")
    names = [[_read_name(cell) for cell in row] for row in pairs]
    return [(a, b, bool(label == 1)) for a, b, label in zip(*names, labels, strict=True)]


def _read_name(cell: Any) -> str:
    name = str(np.asarray(cell[0, 0][0]).ravel()[0])
    if not name or Path(name).name != name:
        raise ValueError(f"{name!r} is no picture")
    return name
