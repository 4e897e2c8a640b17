from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lightface.errors import TrainingError
from lightface.training.config import DataSettings, TrainingConfig
from lightface.training.distributed import Processes
from lightface.training.preflight import describe_folders
from lightface.training.preparation import TrainingData, prepare_data
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
