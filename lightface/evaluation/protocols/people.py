"""A folder a person, `people/Alice/1.jpg`: all pairs, and people to be enrolled and looked for."""

from __future__ import annotations

from pathlib import Path

from lightface.evaluation.all_pairs import DEFAULT_PAIR_LIMIT, pair_up
from lightface.evaluation.pair_list import Framing, PairList, check_impostors, number_people, stratified_folds
from lightface.evaluation.pictures import FilePicture, Picture
from lightface.pipeline import find_people


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
