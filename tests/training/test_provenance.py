from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lightface.models.registry import find_weights
from lightface.training.checkpoint import CONFIG
from lightface.training.config import TrainingConfig, dump_config
from lightface.training.preparation import TrainingData
from lightface.training.provenance import add_folders, derive_licence, describe_data, find_origin


def test_from_nothing_the_photographs_alone_count(tiny_config: TrainingConfig, tiny_data: TrainingData) -> None:
    assert find_origin(None) is None
    assert derive_licence(None) == "as the photographs that it was trained on permit"
    (folder,) = tiny_config.data.folders
    expected = f"96 crops of 24 people from {folder.name}"
    assert describe_data(tiny_config.data, tiny_data.preflight, None) == expected


def test_several_folders_are_named(tiny_config: TrainingConfig, tiny_data: TrainingData) -> None:
    data = replace(tiny_config.data, folder=(Path("/a/one"), Path("/a/two")), teachers=())
    found = replace(tiny_data.preflight, by_folder={"one": 90, "two": 6})
    parts = "(90 crops from one, 6 crops from two)"
    assert describe_data(data, found, None) == f"96 crops of 24 people from one and two {parts}"
    assert add_folders("My photographs.\n", found) == f"My photographs. {parts}"
    assert add_folders("My photographs.\n", tiny_data.preflight) == "My photographs."


def test_weights_that_a_run_began_from_count_too(tiny_config: TrainingConfig, tiny_data: TrainingData) -> None:
    shipped = find_weights("lightcnn9")
    origin = find_origin("lightcnn9")
    assert origin is not None
    licence = "that of lightcnn9, which training began from: research use only: see LICENSE.md beside lightcnn9"
    assert derive_licence(origin).endswith(licence)
    data = describe_data(tiny_config.data, tiny_data.preflight, origin)
    assert data.endswith(f"; before them, those of lightcnn9: {shipped.training_data}")
    assert find_origin(str(shipped.file)) == origin  # an exported file says it of itself


def test_a_state_is_what_the_recipe_beside_it_says(tiny_config: TrainingConfig, tmp_path: Path) -> None:
    """A chain of runs: people's photographs, trained on from the shipped weights, and trained on again."""

    def write_run(name: str, start_from: str, *, licence: str = "") -> str:
        network = replace(tiny_config.network, start_from=start_from)
        card = replace(tiny_config.card, licence=licence)
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / CONFIG).write_text(dump_config(replace(tiny_config, network=network, card=card)))
        return str(tmp_path / name / "best.pt")

    first = write_run("first", "lightcnn9")
    second = find_origin(write_run("second", first))
    assert second is not None and second.name == "second"
    assert "first, which training began from: as the photographs" in second.licence
    assert second.licence.endswith(
        "lightcnn9, which training began from: research use only: see LICENSE.md beside lightcnn9"
    )
    assert "before them, those of first: crops from" in second.training_data
    assert find_weights("lightcnn9").training_data in second.training_data

    own = find_origin(write_run("third", first, licence="mine: see LICENSE.md in this folder"))
    assert own is not None and own.licence == "mine: see LICENSE.md beside third"

    write_run("first", str(tmp_path / "second" / "best.pt"))  # the folder is used again, for a run from its successor
    again = find_origin(str(tmp_path / "second" / "best.pt"))
    assert again is not None and again.licence.endswith(
        "that of first, which training began from: " + derive_licence(None)
    )


def test_a_state_without_a_recipe_says_nothing_of_what_it_was_made_of(tmp_path: Path) -> None:
    origin = find_origin(str(tmp_path / "gone.pt"))
    assert origin is not None
    assert derive_licence(origin).endswith("that of gone.pt, which training began from: see there")
