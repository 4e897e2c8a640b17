"""Pairs of one's own: a CSV with two paths and a label a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lightface.evaluation.lists import SAME, is_label, read_list, read_named_pairs, refuse_line
from lightface.evaluation.pair_list import Framing, ListedPair, PairList, build_pair_list
from lightface.evaluation.pictures import FilePicture


def read_pairs_csv(path: Path, *, images: Path | None = None, framing: Framing = Framing.DETECT) -> PairList:
    """Read lines of `path_a,path_b,same`; a first line that has no label is taken for the headings.

    Relative paths are sought in `images`; without it beside the list, and then in the current folder. The label is 1
    or 0, same or different, true or false. See `lists` for what a list may look like.
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
