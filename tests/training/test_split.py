from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lightface.crops import CropEntry
from lightface.errors import TrainingError
from lightface.training.config import DataSettings, TrainingConfig
from lightface.training.data import CropPixels, CropSet, TeacherRows
from lightface.training.objectives.classification import SoftmaxSettings
from lightface.training.objectives.combination import ObjectiveSettings
from lightface.training.objectives.distillation import CosineSettings
from lightface.training.split import split_crops

SOFTMAX = TrainingConfig()
DISTILLED = TrainingConfig(objectives=ObjectiveSettings(cosine=CosineSettings()))


def crop_set(
    rows: Sequence[tuple[str, str, str]], digests: Sequence[int] | None = None, unreadable: Sequence[int] = ()
) -> CropSet:
    """Crops of (identity, split, source)."""
    entries = [CropEntry(Path("a.zip"), str(i), *row) for i, row in enumerate(rows)]
    pixels = np.zeros((len(rows), 1, 1, 1), np.uint8)
    decoded = CropPixels(
        pixels, np.array(digests or range(len(rows)), np.uint64), {row: f"{row} is broken" for row in unreadable}
    )
    return CropSet(entries, decoded, None, [])


INDEXED = [
    ("a", "train", "web"),
    ("a", "train", "film"),
    ("b", "train", "web"),
    ("b", "train", "web"),
    ("c", "train", "web"),  # alone: no class
    ("", "train", "web"),
    ("x", "dev", "web"),
    ("y", "dev", "web"),
    ("x", "dev", "web"),
    ("", "dev", "web"),  # nobody: measures nothing
]


def test_the_split_of_the_index_is_followed() -> None:
    split = split_crops(crop_set(INDEXED), SOFTMAX)
    assert split.rows.tolist() == [0, 1, 2, 3]
    assert split.labels.tolist() == [0, 0, 1, 1]
    assert split.classes == ("a", "b")
    assert split.dev_rows.tolist() == [6, 7, 8]
    assert split.dev_people.tolist() == [0, 1, 0]


def test_distillation_takes_everybody() -> None:
    split = split_crops(crop_set(INDEXED), DISTILLED)
    assert split.rows.tolist() == [0, 1, 2, 3, 4, 5]
    assert split.labels.tolist() == [-1] * 6
    both = replace(DISTILLED, objectives=replace(DISTILLED.objectives, softmax=SoftmaxSettings()))
    assert split_crops(crop_set(INDEXED), both).labels.tolist() == [0, 0, 1, 1, -1, -1]


def test_sources_and_unreadable_crops_are_left_out() -> None:
    config = replace(DISTILLED, data=DataSettings(leave_out=("film",)))
    assert split_crops(crop_set(INDEXED, unreadable=[0, 6]), config).rows.tolist() == [2, 3, 4, 5]
    assert split_crops(crop_set(INDEXED, unreadable=[0, 6]), config).dev_rows.tolist() == [7, 8]


def test_a_training_crop_that_validation_has_too_is_left_out() -> None:
    digests = list(range(len(INDEXED)))
    digests[3] = digests[8]
    split = split_crops(crop_set(INDEXED, digests), DISTILLED)
    assert split.rows.tolist() == [0, 1, 2, 4, 5]
    assert split.leaked == 1


def test_people_are_drawn_where_the_index_has_no_split() -> None:
    rows = [(person, "", "") for person in "abcdefghij" for _ in range(3)] + [("k", "", ""), ("", "", "")]
    split = split_crops(crop_set(rows), SOFTMAX)
    kept = {rows[row][0] for row in split.dev_rows}
    assert len(kept) == 2 and len(split.dev_rows) == 6
    assert set(split.classes) == set("abcdefghij") - kept
    assert len(split.rows) == 24
    assert np.array_equal(split.dev_rows, split_crops(crop_set(rows), SOFTMAX).dev_rows)
    half = replace(SOFTMAX, data=DataSettings(validation_share=0.5))
    assert len(split_crops(crop_set(rows), half).classes) == 5
    others = [split_crops(crop_set(rows), replace(SOFTMAX, seed=seed)).classes for seed in range(5)]
    assert len(set(others)) > 1


def test_nobody_is_in_both_parts() -> None:
    rows = [*INDEXED, ("a", "dev", "web")]
    with pytest.raises(TrainingError, match=r"1 person is both .* such as 'a'"):
        split_crops(crop_set(rows), SOFTMAX)


def test_people_who_are_added_leave_validation_nearly_as_it_was() -> None:
    """Or people whom the weights know already would be measured on when these are trained on."""
    people = [(f"person {number}", "", "") for number in range(400) for _ in range(2)]
    before, after = (
        {people[row][0] for row in split_crops(crop_set(rows), SOFTMAX).dev_rows} for rows in (people[:600], people)
    )
    assert (len(before), len(after)) == (30, 40)
    assert len(after & before) >= 20  # a fresh draw would have 3 in common
    again = {people[row][0] for row in split_crops(crop_set(people[:602]), SOFTMAX).dev_rows}
    assert len(again & before) >= 29


def test_each_folder_has_its_own_split_and_people() -> None:
    """The first folder says who validates, in the second people are drawn; ann of one is not ann of the other."""
    more = [("ann", "", ""), ("bob", "", ""), ("cat", "", ""), ("dan", "", "")] * 2
    entries = [replace(entry, folder="one") for entry in crop_set([*INDEXED[:3], ("c", "dev", "")] * 2).entries]
    entries += [replace(entry, folder="two") for entry in crop_set(more).entries]
    crops = replace(crop_set([("", "", "")] * 16), entries=entries)
    split = split_crops(crops, SOFTMAX)
    alone = split_crops(crop_set(more), SOFTMAX)
    assert [row for row in split.dev_rows if row < 8] == [3, 7]
    assert [row - 8 for row in split.dev_rows if row >= 8] == alone.dev_rows.tolist()  # drawn as from it alone
    assert set(split.classes) == {"one/a", "one/b", *(f"two/{name}" for name in alone.classes)}
    assert len(np.unique(split.dev_people)) == 3


def test_what_no_teacher_knows_is_not_distilled() -> None:
    crops = crop_set([("", "train", ""), ("", "train", ""), ("a", "dev", "")])
    known = np.array([[True, False], [False, False], [True, True]])
    rows = np.ones((3, 4), np.float32)
    teacher = TeacherRows(
        rows, known, np.array([0, 0, 1, 1]), np.full(2, 0.5, np.float32), np.ones(2, bool), ("a", "b")
    )
    assert split_crops(replace(crops, teacher=teacher), DISTILLED).rows.tolist() == [0]
