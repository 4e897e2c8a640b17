"""CFP: celebrities from the front and in profile.

`Protocol/Pair_list_F.txt` and `Pair_list_P.txt` number the pictures: `1 ../Data/Images/001/frontal/01.jpg`.
`Protocol/Split/FP/01` to `10` hold `same.txt` and `diff.txt` with lines `frontal,profile`, numbers in those lists.
(Sengupta et al., Frontal to Profile Face Verification in the Wild, 2016.)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lightface.errors import EvaluationError
from lightface.evaluation.pair_list import FilePicture, Framing, ListedPair, PairList, Picture, build_pair_list
from lightface.tables.text_lists import read_lines, refuse_line

Numbered = dict[int, Picture]


def is_cfp(folder: Path) -> bool:
    """Whether a folder holds CFP's protocol."""
    return (folder / "Protocol" / "Split" / "FP").is_dir()


def read_cfp(path: Path, *, images: Path | None = None, framing: Framing = Framing.DETECT) -> PairList:
    """Read CFP-FP, frontal against profile, from the folder that holds `Protocol` and `Data`.

    With `images`, that folder stands for `Data/Images`. EvaluationError for a missing or malformed list, whose line
    it names.
    """
    if not is_cfp(path):
        raise EvaluationError(f"{path} has no folder Protocol/Split/FP; name the folder that CFP unpacks to")
    protocol = path / "Protocol"
    frontal, profile = (_read_pictures(protocol / f"Pair_list_{kind}.txt", images) for kind in "FP")
    pairs = list(_read_folds(protocol / "Split" / "FP", frontal, profile))
    people = {picture: Path(picture.name).parts[0] for one in pairs for picture in (one.a, one.b)}
    return build_pair_list("CFP-FP", path, pairs, people=people, framing=framing)


def _read_pictures(path: Path, images: Path | None) -> Numbered:
    pictures: Numbered = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        index, _, file = line.strip().partition(" ")
        parts = Path(file.strip()).parts
        if not index.isdigit() or len(parts) < 3 or ".." in parts[-3:]:
            raise refuse_line(
                path, number, f"{line.strip()!r} is no numbered picture", "write '1 ../Data/Images/001/frontal/01.jpg'"
            )
        name = Path(*parts[-3:])  # 001/frontal/01.jpg
        folder = path.parents[1] / "Data" / "Images" if images is None else images
        pictures[int(index)] = FilePicture(str(name), folder / name)
    return pictures


def _read_folds(splits: Path, frontal: Numbered, profile: Numbered) -> Iterator[ListedPair]:
    for fold in range(10):
        for file, same in (("same.txt", True), ("diff.txt", False)):
            path = splits / f"{fold + 1:02d}" / file
            for number, line in enumerate(read_lines(path), start=1):
                if not line.strip():
                    continue
                cells = [cell.strip() for cell in line.split(",")]
                if len(cells) != 2 or not all(cell.isdigit() for cell in cells):
                    raise refuse_line(
                        path, number, f"{line.strip()!r} is no pair", "write two numbers and a comma between them"
                    )
                index_a, index_b = int(cells[0]), int(cells[1])
                if index_a not in frontal or index_b not in profile:
                    names = f"{line.strip()!r} names a picture that no list has"
                    raise refuse_line(path, number, names, "copy CFP again")
                yield ListedPair(frontal[index_a], profile[index_b], same, fold)
