from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightface.errors import TrainingError
from lightface.training.config import DataSettings, TrainingConfig
from lightface.training.data import CropPixels
from lightface.training.distributed import Processes
from lightface.training.preparation import TrainingData, describe_folders, inspect_data, prepare_data
from lightface.training.synthetic import write_synthetic_set


def test_all_pairs_where_no_file_names_them(tiny_data: TrainingData) -> None:
    assert len(tiny_data.pairs.same) == 28 and int(tiny_data.pairs.same.sum()) == 12


def test_pairs_of_a_file(tiny_config: TrainingConfig, drawn_folder: Path) -> None:
    (drawn_folder / "pairs.csv").write_text("row_a,row_b,same\n0,1,1\n0,5,0\n1,6,0\n")
    config = replace(tiny_config, data=replace(tiny_config.data, pairs=Path("pairs.csv")))
    assert prepare_data(config, Processes()).pairs.same.tolist() == [True, False, False]


def test_the_fingerprint_is_of_what_is_trained_on(tiny_data: TrainingData, tiny_config: TrainingConfig) -> None:
    assert prepare_data(tiny_config, Processes()).fingerprint == tiny_data.fingerprint
    fewer = replace(tiny_data, split=replace(tiny_data.split, rows=tiny_data.split.rows[1:]))
    assert fewer.fingerprint != tiny_data.fingerprint


def test_pairs_and_fingerprint_of_several_folders(tiny_config: TrainingConfig, tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two")):
        write_synthetic_set(tmp_path / name, people=4, dev_people=2, crops_per_person=3, seed=number)
    (tmp_path / "one" / "pairs.csv").write_text("row_a,row_b,same\n0,1,1\n0,5,0\n")
    data = DataSettings(
        folder=(tmp_path / "two", tmp_path / "one"),
        teachers=((Path(), Path("teacher.npy")),),
        cache=tmp_path,
    )
    config = replace(tiny_config, data=data)
    prepared = prepare_data(config, Processes())
    assert len(prepared.split.dev_rows) == 12 and prepared.preflight.by_folder == {"two": 6, "one": 6}
    assert prepared.preflight.gaps == {"teacher.npy": 6}
    assert describe_folders(prepared.preflight) == "6 crops from two, 6 crops from one"

    def fingerprint(**changes: Any) -> str:
        return prepare_data(replace(config, data=replace(data, **changes)), Processes()).fingerprint

    others = [
        fingerprint(folder=(tmp_path / "one", tmp_path / "two"), teachers=((Path("teacher.npy"), Path()),)),
        fingerprint(teachers=((Path("teacher.npy"), Path()),)),
        fingerprint(centre_teachers=(False,)),
    ]
    assert len({prepared.fingerprint, *others}) == 4
    first = {"folder": (tmp_path / "one", tmp_path / "two"), "pairs": Path("pairs.csv")}
    first["teachers"] = ((Path("teacher.npy"), Path()),)
    assert fingerprint(**first) not in others
    (tmp_path / "one" / "pairs.csv").write_text("row_a,row_b,same\n0,1,1\n0,13,0\n")  # row 1 of the other folder
    with pytest.raises(TrainingError, match=r"pairs.csv names row 13, which is no readable validation crop"):
        fingerprint(**first)


def test_data_that_cannot_train_is_refused(tiny_config: TrainingConfig) -> None:
    config = replace(tiny_config, data=replace(tiny_config.data, min_crops=5))
    with pytest.raises(TrainingError, match="this data cannot train: 0 people have 5 crops or more"):
        prepare_data(config, Processes())


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
