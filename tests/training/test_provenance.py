from __future__ import annotations

from pathlib import Path

from lightface.models.registry import find_weights
from lightface.training.config import TrainingConfig
from lightface.training.preparation import TrainingData
from lightface.training.provenance import derive_licence, describe_data, find_origin


def test_from_nothing_the_photographs_alone_count(tiny_config: TrainingConfig, tiny_data: TrainingData) -> None:
    assert find_origin(None) is None
    assert derive_licence(None) == "as the photographs that it was trained on permit"
    assert tiny_config.data.folder is not None
    expected = f"96 crops of 24 people from {tiny_config.data.folder.name}"
    assert describe_data(tiny_config.data, tiny_data.preflight, None) == expected


def test_weights_that_a_run_began_from_count_too(tiny_config: TrainingConfig, tiny_data: TrainingData) -> None:
    shipped = find_weights("lightcnn9")
    origin = find_origin("lightcnn9")
    assert origin is not None
    licence = "that of lightcnn9, which training began from: research use only: see LICENSE.md beside lightcnn9"
    assert derive_licence(origin).endswith(licence)
    data = describe_data(tiny_config.data, tiny_data.preflight, origin)
    assert data.endswith(f"; before them, those of lightcnn9: {shipped.training_data}")
    assert find_origin(str(shipped.file)) == origin  # an exported file says it of itself


def test_a_state_says_nothing_of_what_it_was_made_of(tmp_path: Path) -> None:
    origin = find_origin(str(tmp_path / "gone.pt"))
    assert origin is not None
    assert derive_licence(origin).endswith("that of gone.pt, which training began from: see there")
