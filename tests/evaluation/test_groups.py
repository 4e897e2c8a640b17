from __future__ import annotations

from pathlib import Path

import pytest

from lightface.errors import EvaluationError
from lightface.evaluation.evaluate import Evaluation, evaluate_pairs
from lightface.evaluation.figures import measure_pairs
from lightface.evaluation.groups import list_figures, read_groups
from lightface.evaluation.protocols import read_protocol
from lightface.pipeline import FacePipeline


def test_each_group_is_measured_by_its_own_pairs(evaluation: Evaluation) -> None:
    (grouping,) = evaluation.groupings
    assert grouping.column == "team" and grouping.without_group == 0
    even, odd = grouping.groups
    assert (even.group, odd.group) == ("even", "odd")
    # The person with the broken picture comes first by name, and is odd.
    assert (even.pictures, odd.pictures) == (24, 25)
    for group in (even, odd):
        assert (group.genuine, group.impostors) == (6 * 6, 15 * 16)
        assert group.figures is not None
    assert odd.figures is not None and (odd.figures.genuine_lost, odd.figures.impostors_lost) == (4, 20)
    assert even.figures is not None and even.figures.genuine_lost == 0


def test_the_spread_is_the_difference_of_extremes(evaluation: Evaluation) -> None:
    (grouping,) = evaluation.groupings
    named = {spread.figure: spread for spread in grouping.spreads}
    assert {"EER", "AUC", "10-fold accuracy", "TAR at FAR 1e-1", "FAR at 0.250", "FRR at 0.250"} <= named.keys()
    for name, spread in named.items():
        values = {group.group: list_figures(group.figures)[name].estimate for group in grouping.groups if group.figures}
        assert spread.difference == max(values.values()) - min(values.values())
        assert values[spread.lowest_group] == spread.lowest and values[spread.highest_group] == spread.highest


def test_groups_of_pictures(people_folder: Path, tmp_path: Path, pipeline: FacePipeline) -> None:
    table = tmp_path / "groups.csv"
    rows = [
        f"p{person:03d}/{picture}.png,{'near' if person < 4 else 'far'},\n"
        for person in range(1, 9)
        for picture in (1, 2)
    ]
    table.write_text("path,distance,empty\n" + "".join(rows))
    evaluation = evaluate_pairs(pipeline, read_protocol(people_folder), groups=read_groups(table))
    distance, empty = evaluation.groupings
    assert [(group.group, group.pictures, group.genuine) for group in distance.groups] == [
        ("far", 10, 5),
        ("near", 6, 3),
    ]
    assert distance.without_group == 49 - 16
    assert empty.groups == () and empty.without_group == 49
    picked = evaluation.scored.pick(evaluation.scored.same | ~evaluation.scored.same)
    assert measure_pairs(picked).area == evaluation.figures.area


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: the columns are none"),
        ("name,team\na,b\n", "line 1: the columns are name, team"),
        ("person\na\n", "line 1: the columns are person"),
        ("person,team\na,b\nc\n", "line 3: 1 column"),
        ("person,team\na,b\na,c\n", "line 3: 'a' is in two groups of team"),
    ],
)
def test_a_malformed_table_names_its_line(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "groups.csv").write_text(text)
    with pytest.raises(EvaluationError, match=problem):
        read_groups(tmp_path / "groups.csv")


def test_a_table_of_other_people_is_refused(people_folder: Path, tmp_path: Path, pipeline: FacePipeline) -> None:
    (tmp_path / "groups.csv").write_text("person,team\nnobody,red\n")
    with pytest.raises(EvaluationError, match=r"names no person of .*, which begins with '<img "):
        evaluate_pairs(pipeline, read_protocol(people_folder), groups=read_groups(tmp_path / "groups.csv"))
