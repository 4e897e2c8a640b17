from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from lightface.errors import TrainingError
from lightface.training.config import TrainingConfig
from lightface.training.crop_cache import CropPixels
from lightface.training.preflight import inspect_data
from lightface.training.preparation import TrainingData


def test_what_is_counted(tiny_data: TrainingData, tiny_config: TrainingConfig) -> None:
    found = inspect_data(tiny_data.crops, tiny_data.split, tiny_config)
    assert (found.crops, found.unlabelled, found.classes, found.class_sizes) == (96, 0, 24, (4, 4, 4))
    assert (found.validation_crops, found.validation_people) == (8, 2)
    assert (found.genuine_pairs, found.impostor_pairs) == (12, 16)
    assert (found.unreadable, found.duplicates, found.conflicts, found.leaked) == ((), 0, 0, 0)
    assert found.expected_first_losses == {"softmax": math.log(24)}


def test_duplicates_and_conflicts(tiny_data: TrainingData, tiny_config: TrainingConfig) -> None:
    decoded, rows = tiny_data.crops.decoded, tiny_data.split.rows
    digests = decoded.digests.copy()
    digests[rows[1]] = digests[rows[2]] = digests[rows[0]]  # the same person thrice
    digests[rows[90]] = digests[rows[10]]  # two people
    crops = replace(tiny_data.crops, decoded=CropPixels(decoded.pixels, digests, {}))
    found = inspect_data(crops, tiny_data.split, tiny_config)
    assert (found.duplicates, found.conflicts, found.validation_conflicts) == (3, 1, 0)


def test_a_picture_of_validation_under_two_names(tiny_data: TrainingData, tiny_config: TrainingConfig) -> None:
    decoded, split = tiny_data.crops.decoded, tiny_data.split
    digests = decoded.digests.copy()
    one, other = (split.dev_rows[split.dev_people == person][0] for person in (0, 1))
    digests[one] = digests[other]
    crops = replace(tiny_data.crops, decoded=CropPixels(decoded.pixels, digests, {}))
    assert inspect_data(crops, split, tiny_config).validation_conflicts == 1


def test_unreadable_pictures_are_listed(tiny_data: TrainingData, tiny_config: TrainingConfig) -> None:
    decoded = replace(tiny_data.crops.decoded, unreadable={7: "a.zip/7 is broken"})
    crops = replace(tiny_data.crops, decoded=decoded, refused=["Bob/1.jpg: no face"])
    found = inspect_data(crops, tiny_data.split, tiny_config)
    assert found.unreadable == ("Bob/1.jpg: no face", "a.zip/7 is broken")


def test_everything_that_is_wrong_is_said_at_once(tiny_data: TrainingData, tiny_config: TrainingConfig) -> None:
    nobody = np.zeros(0, np.int64)
    split = replace(
        tiny_data.split,
        rows=tiny_data.split.rows[:1],
        labels=tiny_data.split.labels[:1],
        classes=("one",),
        dev_rows=nobody,
        dev_people=nobody,
    )
    crops = replace(tiny_data.crops, refused=["Bob/1.jpg: no face"])
    with pytest.raises(TrainingError) as caught:
        inspect_data(crops, split, tiny_config)
    message = str(caught.value)
    assert "1 person has 2 crops or more, and two are needed" in message
    assert "1 crop is no batch (add photographs)" in message
    assert "validation needs two people" in message
    assert "1 picture was left out, such as: Bob/1.jpg: no face" in message


def test_validation_of_one_person_measures_nothing(tiny_data: TrainingData, tiny_config: TrainingConfig) -> None:
    split = replace(tiny_data.split, dev_people=np.zeros(8, np.int64))
    with pytest.raises(TrainingError, match="has 1 with 8 crops"):
        inspect_data(tiny_data.crops, split, tiny_config)
