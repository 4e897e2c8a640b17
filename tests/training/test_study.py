"""The study of regularisation: scripts/study_regularisation.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import study_regularisation as study

from lightface.errors import ConfigError
from lightface.training.config import Stage, TrainingConfig
from lightface.training.objectives.objective import UNKNOWN
from lightface.training.preparation import TrainingData


def test_a_table_has_means_over_seeds_and_the_best_first() -> None:
    results = [
        study.Result("max", 0.0, 0, training_accuracy=0.9, validation_accuracy=0.7),
        study.Result("max", 0.0, 1, training_accuracy=0.9, validation_accuracy=0.74),
        study.Result("avg", 0.5, 0, training_accuracy=0.8, validation_accuracy=0.75),
    ]
    rows = study.make_table(results).splitlines()[2:]
    assert rows == ["| avg | 0.5 | 80.0% | 75.0% | 5.0 |", "| max | 0 | 90.0% | 72.0% | 18.0 |"]


def test_only_crops_of_known_people_are_measured(tiny_data: TrainingData) -> None:
    labels = tiny_data.split.labels.copy()
    labels[::2] = UNKNOWN
    rows, people = study.some_training_crops(replace(tiny_data.split, labels=labels))
    assert sorted(rows) == sorted(tiny_data.split.rows[1::2])
    by_row = dict(zip(tiny_data.split.rows.tolist(), labels.tolist(), strict=True))
    assert [by_row[row] for row in rows.tolist()] == people.tolist()


def test_a_network_is_trained_and_measured_twice(tiny_config: TrainingConfig, tmp_path: Path) -> None:
    short = replace(tiny_config, schedule=replace(tiny_config.schedule, epochs=0.25), stages=(Stage(1, 16, 8),))
    result = study.run(short, tmp_path / "run")
    assert (result.pooling, result.dropout, result.seed) == ("stochastic", 0.2, 0)
    assert 0 < result.training_accuracy <= 1 and 0 < result.validation_accuracy <= 1
    study.write_results([result, replace(result, seed=1)], tmp_path)
    assert study.read_results(tmp_path) == [result, replace(result, seed=1)]
    study.draw([replace(result, dropout=rate) for rate in np.linspace(0, 0.9, 7)], tmp_path / "study.png")
    assert (tmp_path / "study.png").stat().st_size > 10_000


def test_results_of_another_recipe_are_not_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study.write_results([study.Result("max", 0.0, 0, 0.9, 0.7)], tmp_path)
    monkeypatch.setattr("sys.argv", ["study_regularisation", "--output", str(tmp_path)])
    with pytest.raises(ConfigError, match="has results of another recipe; choose another --output"):
        study.main()
