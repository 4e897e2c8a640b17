"""Labeled Faces in the Wild: the folder as its authors pack it, or as scikit-learn's `fetch_lfw_pairs` leaves it.

`pairs.txt` is View 2: a line `10 <tab> 300`, then ten times 300 lines `name n1 n2` (one person) and 300 lines
`name1 n1 name2 n2`. `pairsDevTest.txt` and `pairsDevTrain.txt` (View 1) have one count and no folds.
(Huang et al., Labeled Faces in the Wild, 2007.)
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

from lightface.errors import EvaluationError
from lightface.evaluation.pair_list import (
    FOLD_COUNT,
    FilePicture,
    Framing,
    ListedPair,
    PairList,
    Picture,
    build_pair_list,
)
from lightface.records import FaceSelection
from lightface.tables.text_lists import read_lines, refuse_line
from lightface.words import count_of

_log = logging.getLogger(__name__)

_LISTS = ("pairs.txt", "lfw_home/pairs.txt")
# Where the archives and scikit-learn put the people's folders, seen from the list.
_IMAGE_FOLDERS = (".", "lfw", "lfw_funneled", "lfw-funneled", "lfw-deepfunneled", "lfw-deepfunneled/lfw-deepfunneled")


def find_lfw_list(folder: Path) -> Path | None:
    """The list of View 2 in an LFW folder or scikit-learn's data home; None where there is none."""
    return next((folder / name for name in _LISTS if (folder / name).is_file()), None)


def download_lfw(folder: Path) -> None:
    """Have scikit-learn fetch LFW (200 MB) into the data home `folder`, unless it is there.

    EvaluationError where that fails.
    """
    from sklearn.datasets import fetch_lfw_pairs

    _log.info("scikit-learn fetches LFW into %s", folder)
    try:
        # Decoded pictures are of no use here; this keeps them small.
        fetch_lfw_pairs(subset="test", data_home=str(folder), resize=0.1)
    except (OSError, URLError) as error:
        raise EvaluationError(
            f"scikit-learn could not fetch LFW ({error}); copy the folder and pairs.txt by other means"
        ) from error


def read_lfw(path: Path, *, images: Path | None = None, framing: Framing = Framing.DETECT) -> PairList:
    """Read LFW from its folder, from scikit-learn's data home, or from one of its lists.

    The people's folders are sought beside the list, or in `images`. EvaluationError for a missing or malformed list,
    whose line it names, and where no folder of a person is found.
    """
    listed = find_lfw_list(path) if path.is_dir() else path
    if listed is None:
        raise EvaluationError(f"{path} has no pairs.txt; put LFW's list beside the pictures")
    rows = _split_rows(listed)
    people = _find_images(listed, rows[0][1][0], images)
    persons: dict[Picture, str] = {}
    pairs = list(_read_pairs(listed, rows, _read_fold_size(listed), people, persons))
    # LFW's pictures show the named person in the middle, and others at times.
    selection = FaceSelection.CENTER
    name = f"LFW, {listed.name}"
    return build_pair_list(name, listed, pairs, people=persons, framing=framing, selection=selection)


def _split_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Line numbers and cells, without the header."""
    rows = [(number, line.split()) for number, line in enumerate(read_lines(path), start=1) if line.strip()]
    if len(rows) < 2:
        raise EvaluationError(f"{path} lists no pairs; copy it again from its source")
    return rows[1:]


def _read_fold_size(path: Path) -> int | None:
    """Pairs a fold, from the first line; None for a list without folds."""
    header = read_lines(path)[0].split()
    if not all(cell.isdigit() for cell in header) or len(header) not in (1, 2):
        raise refuse_line(path, 1, f"{' '.join(header)!r} is no count of pairs", "LFW's lists begin with '10 300'")
    if len(header) == 1:
        return None
    folds, per_kind = int(header[0]), int(header[1])
    if folds != FOLD_COUNT or per_kind == 0:
        raise refuse_line(path, 1, f"{folds} sets of {per_kind} pairs", "View 2 has ten")
    return 2 * per_kind


def _find_images(listed: Path, person: str, images: Path | None) -> Path:
    folders = [listed.parent / name for name in _IMAGE_FOLDERS] if images is None else [images]
    for folder in folders:
        if (folder / person).is_dir():
            return folder
    raise EvaluationError(
        f"there is no folder {person!r} beside {listed}; name the place of the pictures with `images`"
    )


def _read_pairs(
    path: Path, rows: list[tuple[int, list[str]]], fold_size: int | None, images: Path, persons: dict[Picture, str]
) -> Iterator[ListedPair]:
    if fold_size is not None and len(rows) != FOLD_COUNT * fold_size:
        raise refuse_line(
            path, 1, f"{FOLD_COUNT * fold_size} pairs are announced and {len(rows)} listed", "copy the list again"
        )
    for position, (number, cells) in enumerate(rows):
        match cells:
            case [name_a, index_a, index_b]:
                name_b = name_a
            case [name_a, index_a, name_b, index_b]:
                pass
            case _:
                raise refuse_line(path, number, count_of(len(cells), "column"), "a pair has three or four")
        for name, index in ((name_a, index_a), (name_b, index_b)):
            if not index.isdigit() or Path(name).name != name:
                raise refuse_line(path, number, f"{name!r} {index!r} is no picture", "give a name and a number")
        a, b = _picture(images, name_a, int(index_a)), _picture(images, name_b, int(index_b))
        persons[a], persons[b] = name_a, name_b
        yield ListedPair(a, b, len(cells) == 3, None if fold_size is None else position // fold_size)


def _picture(images: Path, name: str, index: int) -> Picture:
    file = f"{name}/{name}_{index:04d}.jpg"
    return FilePicture(file, images / file)


# CALFW and CPLFW: LFW's people across age and across pose.
#
# `pairs_CALFW.txt` and `pairs_CPLFW.txt` have two lines a pair, each a picture of the folder `aligned images` and a
# number: 0 for different people, else one person (in CALFW the fold, 1 to 10). Pairs of one person come first, 300 a
# fold, then the others, again 300 a fold. (Zheng et al., Cross-Age LFW, 2017; Zheng and Deng, Cross-Pose LFW, 2018.)


_CROSS_LISTS = ("pairs_CALFW.txt", "pairs_CPLFW.txt")
_CROSS_IMAGE_FOLDERS = ("aligned images", "images", ".")
_NUMBERED = re.compile(r"(.+)_\d+$")


def find_cross_lfw_list(folder: Path) -> Path | None:
    """The list in a folder of CALFW or CPLFW; None where there is none."""
    return next((folder / name for name in _CROSS_LISTS if (folder / name).is_file()), None)


def read_cross_lfw(path: Path, *, images: Path | None = None, framing: Framing = Framing.DETECT) -> PairList:
    """Read CALFW or CPLFW from its folder or its list.

    Pictures are sought in `images`, or in `aligned images` beside the list. EvaluationError for a missing list, and
    for a malformed one with the line.
    """
    listed = find_cross_lfw_list(path) if path.is_dir() else path
    if listed is None:
        raise EvaluationError(
            f"{path} has neither {_CROSS_LISTS[0]} nor {_CROSS_LISTS[1]}; put the list beside the pictures"
        )
    if images is None:
        images = next(listed.parent / name for name in _CROSS_IMAGE_FOLDERS if (listed.parent / name).is_dir())
    persons: dict[Picture, str] = {}
    pairs = list(_read_cross_pairs(listed, images, persons))
    name = "CPLFW" if "CPLFW" in listed.name.upper() else "CALFW"
    return build_pair_list(name, listed, pairs, people=persons, framing=framing)


def _read_cross_pairs(path: Path, images: Path, persons: dict[Picture, str]) -> Iterator[ListedPair]:
    rows = [(number, line) for number, line in enumerate(read_lines(path), start=1) if line.strip()]
    if len(rows) % 2:
        raise refuse_line(path, rows[-1][0], "the second picture of the pair is missing", "copy the list again")
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        (file_a, label_a), (file_b, label_b) = (_split(path, *row) for row in (first, second))
        if label_a != label_b:
            raise refuse_line(path, second[0], f"the pair has the labels {label_a} and {label_b}", "they must agree")
        a, b = FilePicture(file_a, images / file_a), FilePicture(file_b, images / file_b)
        persons[a], persons[b] = _person(file_a), _person(file_b)
        # Folds are left to stratified runs, which are the published ones: each kind is listed fold by fold.
        yield ListedPair(a, b, label_a != 0)


def _split(path: Path, number: int, line: str) -> tuple[str, int]:
    file, _, label = line.strip().rpartition(" ")
    if not file or not label.isdigit() or Path(file).name != file:
        raise refuse_line(path, number, f"{line.strip()!r} is no picture and label", "write 'Name_0001.jpg 1'")
    return file, int(label)


def _person(file: str) -> str:
    """`Ann_Veneman_0001.jpg` -> `Ann_Veneman`."""
    stem = Path(file).stem
    numbered = _NUMBERED.match(stem)
    return numbered[1] if numbered else stem
