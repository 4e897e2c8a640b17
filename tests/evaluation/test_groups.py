from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faces_of_colour import make_colour_pipeline, paint_person

from lightface.errors import EvaluationError
from lightface.evaluation.embed import EmbeddedPictures
from lightface.evaluation.evaluate import Evaluation, evaluate_pairs
from lightface.evaluation.figures import find_repeats, measure_pairs
from lightface.evaluation.groups import GroupTable, list_figures, measure_groups, read_groups
from lightface.evaluation.pair_list import Framing, PackedPicture, PairList, Picture
from lightface.evaluation.protocols import ProtocolName, read_protocol
from lightface.evaluation.protocols.own_photos import pair_people
from lightface.evaluation.summary import (
    describe_factor,
    describe_grouping,
    describe_repeats,
    summarise,
    to_card_section,
)
from lightface.measurement.intervals import wilson
from lightface.measurement.metrics import SourcedThreshold
from lightface.pages import render_page
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


# Strangers: one picture a person, so false matches alone.

IN_USE = [SourcedThreshold(0.4, "in use")]


def make_strangers(tmp_path: Path, each: int = 30) -> tuple[PairList, EmbeddedPictures, GroupTable]:
    """Old and young people of two teams; only the young reds have much in common."""
    generator = np.random.default_rng(3)
    rows: list[Any] = []
    lines: list[str] = []
    for age in ("old", "young"):
        for team in ("blue", "red"):
            common = generator.normal(size=256) * (0.7 if (age, team) == ("young", "red") else 0)
            for _ in range(each):
                lines.append(f"{len(rows)}.png,{age},{team},{18 + len(rows)}")
                rows.append(common + generator.normal(size=256))
    (tmp_path / "groups.csv").write_text("path,age,team,years\n" + "\n".join(lines) + "\n")
    vectors = np.array(rows, np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pictures = [PackedPicture(f"{n}.png", str(n).encode()) for n in range(len(rows))]
    people: dict[Picture, str] = {picture: picture.name for picture in pictures}
    pairs = pair_people("strangers", tmp_path, people, framing=Framing.LIGHTCNN, pair_limit=50)
    usable, quality = np.ones(len(rows), np.bool_), np.full(len(rows), np.nan)
    return pairs, EmbeddedPictures(vectors, usable, quality, ()), read_groups(tmp_path / "groups.csv")


def far_within(vectors: np.ndarray, rows: slice) -> float:
    some = vectors[rows]
    return float(((some @ some.T)[np.triu_indices(len(some), k=1)] >= 0.4).mean())


def test_strangers_are_measured_by_column_and_by_cell(tmp_path: Path) -> None:
    pairs, embedded, table = make_strangers(tmp_path)
    groupings = measure_groups(pairs, embedded, table, thresholds=IN_USE)
    assert [one.column for one in groupings] == ["age", "team", "years", "age+team"]
    cells = {group.group: group for group in groupings[3].groups}
    assert list(cells) == ["old, blue", "old, red", "young, blue", "young, red"]
    for place, group in enumerate(cells.values()):
        # All pairs of the cell, though the list is a sample of fifty pairs of all.
        assert (group.pictures, group.genuine, group.impostors) == (30, 0, 30 * 29 // 2)
        assert group.figures is not None and group.figures.equal_error_rate is None and group.figures.area is None
        (at,) = group.figures.at_thresholds
        expected = far_within(embedded.vectors, slice(30 * place, 30 * place + 30))
        assert at.far.estimate == pytest.approx(expected) and at.tar is None
        assert at.far.low <= expected <= at.far.high
    (by_cell,) = [one for one in groupings[3].spreads if one.figure == "FAR at 0.400"]
    assert by_cell.highest_group == "young, red" and by_cell.lowest == 0 and by_cell.factor is None
    assert by_cell.factor_at_least is not None and by_cell.factor_at_least > 5  # though nothing divides by nothing
    old, young = groupings[0].groups
    assert young.figures is not None and young.figures.at_thresholds[0].far.estimate == pytest.approx(
        far_within(embedded.vectors, slice(60, 120))
    )
    assert old.impostors == 60 * 59 // 2


def test_the_factor_is_the_highest_error_by_the_lowest(evaluation: Evaluation) -> None:
    (grouping,) = evaluation.groupings
    for spread in grouping.spreads:
        is_error = spread.figure.startswith(("EER", "FAR", "FRR"))
        assert (spread.factor_at_least is None) == (not is_error)
        if is_error and spread.lowest:
            assert spread.factor == spread.highest / spread.lowest
            assert spread.factor_at_least is not None and spread.factor_at_least <= spread.factor
            assert describe_factor(spread).startswith(f"{spread.factor:,.1f} (")


def test_pairs_share_pictures_so_intervals_are_wider_than_of_as_many_trials(tmp_path: Path) -> None:
    pairs, embedded, table = make_strangers(tmp_path)
    embedded.vectors[:4] = embedded.vectors[:4] + 0.6 * embedded.vectors[:30].sum(axis=0)  # four who resemble all
    embedded.vectors[:] = embedded.vectors / np.linalg.norm(embedded.vectors, axis=1, keepdims=True)
    (grouping,) = measure_groups(pairs, embedded, table, by=[("age", "team")], thresholds=[SourcedThreshold(0.2, "x")])
    first = grouping.groups[0]
    assert first.figures is not None
    far = first.figures.at_thresholds[0].far
    plain = wilson(round(far.estimate * first.impostors), first.impostors)
    assert far.method.startswith("bootstrap over people") and far.high - far.low > 1.5 * (plain.high - plain.low)


def test_a_column_of_many_values_is_left_out_unless_it_is_asked_for(tmp_path: Path) -> None:
    pairs, embedded, table = make_strangers(tmp_path)
    years = measure_groups(pairs, embedded, table, thresholds=IN_USE)[2]
    assert (years.column, years.groups, years.too_many) == ("years", (), 120)
    assert describe_grouping(years).startswith("120 groups are so many that")
    (asked,) = measure_groups(pairs, embedded, table, by=[table.find_crossing("years")], thresholds=IN_USE)
    assert [group.group for group in asked.groups] == [str(year) for year in range(18, 138)]  # as numbers
    assert asked.too_many == 0 and asked.groups[0].figures is None and asked.spreads == ()


def test_groupings_are_named_by_columns_that_are_there(tmp_path: Path) -> None:
    *_, table = make_strangers(tmp_path)
    assert table.find_crossing("team+age") == ("team", "age")
    with pytest.raises(
        EvaluationError, match=r"groups.csv has no column 'sex' to group by; choose from age, team, years"
    ):
        table.find_crossing("age+sex")
    both = GroupTable(tmp_path, "path", {"a+b": {}, "a": {}})
    assert both.find_crossing("a+b") == ("a+b",)


def paint_strangers(folder: Path) -> Path:
    """40 pictures, each of another person: 20 of every colour and 20 who are much alike, of which two are one again."""
    for number in range(20):
        paint_person(folder / f"unlike-{number:02d}.png", number + 1, 1)
        paint_person(folder / f"alike-{number:02d}.png", 24 - number % 2, max(1, number // 2))
    lines = "".join(f"{path.name},{path.name.split('-')[0]}\n" for path in sorted(folder.iterdir()))
    (folder / "groups.csv").write_text(f"path,likeness\n{lines}")
    return folder


@pytest.fixture
def strangers(tmp_path: Path) -> Path:
    return paint_strangers(tmp_path / "strangers")


def evaluate_strangers(folder: Path, drop_repeats: float | None = None) -> Evaluation:
    return evaluate_pairs(
        make_colour_pipeline(noise=1.0),
        read_protocol(folder, protocol=ProtocolName.STRANGERS),
        thresholds=IN_USE,
        groups=read_groups(folder / "groups.csv"),
        drop_repeats=drop_repeats,
    )


def test_an_evaluation_of_strangers_says_what_it_can(strangers: Path) -> None:
    evaluation = evaluate_strangers(strangers)
    assert (evaluation.figures.genuine, evaluation.figures.impostors) == (0, 40 * 39 // 2)
    assert evaluation.roc is None and evaluation.identification is None and evaluation.false_non_matches == ()
    names = [row.name for row in summarise(evaluation.figures)]
    assert "FAR at 0.400, in use" in names and "cosine at FAR 1e-1" in names
    assert not [name for name in names if name.startswith(("TAR at 0", "EER", "AUC", "10-fold"))]
    data = evaluation.to_dict()
    assert data["roc"] is None and data["figures"]["equal_error_rate"] is None
    json.dumps(data, allow_nan=False)
    (likeness,) = evaluation.groupings
    (far,) = [one for one in likeness.spreads if one.figure == "FAR at 0.400"]
    assert (far.lowest_group, far.highest_group) == ("unlike", "alike") and far.highest > 0.3
    section = to_card_section(evaluation)
    assert "| likeness | pictures | pairs | FAR at 0.400 | 95 % interval | cosine at FAR 1e-2 |" in section
    assert "| unlike | 20 | 190 | 0.00 % |" in section and "(alike): factor at least" in section
    page = render_page(evaluation, {})
    assert 'data-table="groups likeness"' in page and 'data-chart="histogram"' in page
    assert 'data-chart="roc"' not in page and 'data-card="FAR at 0.400, in use"' in page


def test_repeats_are_counted_and_left_out_on_demand(strangers: Path) -> None:
    kept, dropped = evaluate_strangers(strangers), evaluate_strangers(strangers, drop_repeats=0.9)
    names = [picture.name for picture in kept.pairs.pictures]
    # Their pictures 0 and 2 as well as 1 and 3 are painted alike.
    found = {(names[pair.a], names[pair.b]) for pair in kept.repeats.pairs}
    assert found == {("alike-00.png", "alike-02.png"), ("alike-01.png", "alike-03.png")}
    assert (kept.repeats.similarity, kept.repeats.left_out) == (0.92, False)
    assert kept.figures.impostors == 40 * 39 // 2 and "They count as different people" in describe_repeats(kept.repeats)
    assert [failure.name for failure in dropped.failures] == ["alike-02.png", "alike-03.png"]
    assert {failure.reason for failure in dropped.failures} == {"duplicate"}
    assert dropped.figures.impostors == 38 * 37 // 2 and dropped.groupings[0].groups[0].impostors == 18 * 17 // 2
    assert dropped.to_dict()["suspected_repeats"]["left_out"] is True
    assert {(row["a"], row["b"]) for row in dropped.to_dict()["suspected_repeats"]["pairs"]} == found
    assert 'data-table="repeats"' in render_page(dropped, {})


def test_a_zip_of_strangers_is_read_as_a_folder_is(strangers: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "crops.zip", "w") as file:
        for path in strangers.iterdir():
            file.write(path, path.name)
        file.writestr("__MACOSX/._alike-00.png", b"no picture")
    zipped = read_protocol(tmp_path / "crops.zip", protocol=ProtocolName.STRANGERS, framing=Framing.LIGHTCNN)
    folder = read_protocol(strangers, protocol=ProtocolName.STRANGERS)
    assert [one.name for one in zipped.pictures] == [one.name for one in folder.pictures]
    assert zipped.pictures[0].sha256() == folder.pictures[0].sha256()
    assert not zipped.same.any() and zipped.framing is Framing.LIGHTCNN


@pytest.mark.parametrize(
    ("name", "problem"),
    [("groups.csv", "is no zip file"), ("missing.zip", "does not exist"), (".", "fewer than two pictures")],
)
def test_what_holds_no_strangers_is_refused(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "groups.csv").write_text("path,sex\n")
    with pytest.raises(EvaluationError, match=problem):
        read_protocol(tmp_path / name, protocol=ProtocolName.STRANGERS)


def test_a_network_that_takes_everybody_for_one_is_no_flood_of_repeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, embedded, _ = make_strangers(tmp_path)
    embedded.vectors[:] = embedded.vectors[0]
    a, b = find_repeats(pairs, embedded, 0.92)
    assert a.size == 120 * 119 // 2 and (a < b).all()
    monkeypatch.setattr("lightface.evaluation.figures.MANY_REPEATS", 500)
    monkeypatch.setattr("lightface.evaluation.figures._ROWS_AT_ONCE", 10)
    assert 500 <= find_repeats(pairs, embedded, 0.92)[0].size < 2000


def test_repeats_of_a_list_are_those_of_its_pairs(tmp_path: Path) -> None:
    pairs, embedded, _ = make_strangers(tmp_path)
    embedded.vectors[:4] = embedded.vectors[0]
    listed = replace(
        pairs,
        paired_up=False,
        a=np.array([0, 0, 1]),
        b=np.array([1, 2, 90]),
        same=np.array([False, True, False]),
        folds=np.arange(3),
    )
    assert [side.tolist() for side in find_repeats(listed, embedded, 0.92)] == [[0], [1]]
