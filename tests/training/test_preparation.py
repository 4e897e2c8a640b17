from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lightface.errors import TrainingError
from lightface.training.config import TrainingConfig
from lightface.training.distributed import Processes
from lightface.training.preparation import TrainingData, prepare_data


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


def test_data_that_cannot_train_is_refused(tiny_config: TrainingConfig) -> None:
    config = replace(tiny_config, data=replace(tiny_config.data, min_crops=5))
    with pytest.raises(TrainingError, match="this data cannot train: 0 people have 5 crops or more"):
        prepare_data(config, Processes())
