"""CALFW and CPLFW: LFW's people across age and across pose.

`pairs_CALFW.txt` and `pairs_CPLFW.txt` have two lines a pair, each a picture of the folder `aligned images` and a
number: 0 for different people, else one person (in CALFW the fold, 1 to 10). Pairs of one person come first, 300 a
fold, then the others, again 300 a fold. (Zheng et al., Cross-Age LFW, 2017; Zheng and Deng, Cross-Pose LFW, 2018.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from lightface.errors import EvaluationError
from lightface.evaluation.pair_list import Framing, ListedPair, PairList, build_pair_list, read_lines, refuse_line
from lightface.evaluation.pictures import FilePicture, Picture

_LISTS = ("pairs_CALFW.txt", "pairs_CPLFW.txt")
_IMAGE_FOLDERS = ("aligned images", "images", ".")
_NUMBERED = re.compile(r"(.+)_\d+$")


def find_cross_lfw_list(folder: Path) -> Path | None:
    """The list in a folder of CALFW or CPLFW; None where there is none."""
    return next((folder / name for name in _LISTS if (folder / name).is_file()), None)


def read_cross_lfw(path: Path, *, images: Path | None = None, framing: Framing = Framing.DETECT) -> PairList:
    """Read CALFW or CPLFW from its folder or its list.

    Pictures are sought in `images`, or in `aligned images` beside the list. EvaluationError for a missing list, and
    for a malformed one with the line.
    """
    listed = find_cross_lfw_list(path) if path.is_dir() else path
    if listed is None:
        raise EvaluationError(f"{path} has neither {_LISTS[0]} nor {_LISTS[1]}; put the list beside the pictures")
    if images is None:
        images = next(listed.parent / name for name in _IMAGE_FOLDERS if (listed.parent / name).is_dir())
    persons: dict[Picture, str] = {}
    pairs = list(_read_pairs(listed, images, persons))
    name = "CPLFW" if "CPLFW" in listed.name.upper() else "CALFW"
    return build_pair_list(name, listed, pairs, people=persons, framing=framing)


def _read_pairs(path: Path, images: Path, persons: dict[Picture, str]) -> Iterator[ListedPair]:
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
