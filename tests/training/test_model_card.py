from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np

from lightface.measurement.intervals import Figure
from lightface.models.recognisability import Recognisability
from lightface.models.registry import WeightsRecord, find_weights
from lightface.training.config import (
    CardSettings,
    DataSettings,
    GroupColumn,
    GroupSettings,
    TrainingConfig,
    build_record,
    dump_config,
)
from lightface.training.model_card import (
    Measured,
    add_folders,
    derive_licence,
    describe_data,
    describe_run,
    find_origin,
)
from lightface.training.preparation import TrainingData
from lightface.training.run_folder import CONFIG

RECORD = WeightsRecord(
    name="mine",
    architecture="lightcnn9",
    pooling="max",
    padding="same",
    file=Path("mine.safetensors"),
    sha256="0" * 64,
    licence="MIT",
    training_data="My photographs.",
)


def measured(data: TrainingData, teacher: dict[str, Figure] | None) -> Measured:
    return Measured(
        pairs=33_000,
        figures={"EER": Figure(0.05, 0.04, 0.0625, "a test")},
        teacher=teacher,
        thresholds={"1e-3": Figure(0.45, 0.4, 0.5, "a test")},
        impostors=data.preflight.impostor_pairs,
        data=data.preflight,
        at={"samples": 3_000_000, "step": 20_000, "elapsed_s": 5400.0},
        max_minutes=90.0,
        device="NVIDIA H100",
    )


def test_what_a_card_says(tiny_data: TrainingData, tiny_config: TrainingConfig) -> None:
    card = describe_run(RECORD, tiny_config, measured(tiny_data, {"EER": Figure(0.01, 0.005, 0.02, "a test")}))
    assert card.startswith("# mine\n")
    assert "| figure | these weights | teacher |" in card
    assert "| EER | 5.0 % (4.0 to 6.2) | 1.0 % (0.5 to 2.0) |" in card
    assert "| 1e-3 | 0.450 (0.400 to 0.500) |" in card
    assert "On 33,000 pairs" in card
    assert "3,000,000 crops seen in 20,000 steps, 1.5 hours on NVIDIA H100:\n" in card
    assert "`lightface train --config recipe.toml --max-minutes 90`" in card
    assert f"Thresholds, from all {tiny_data.preflight.impostor_pairs} impostor pairs of the validation crops." in card
    assert "**Licence:** MIT" in card and "My photographs." in card
    assert "Which faces are too poor to tell is not known of these weights" in card
    known = replace(RECORD, recognisability=Recognisability.pack(np.ones((1, 256), np.float32), np.ones(1, np.float32)))
    card = describe_run(known, tiny_config, measured(tiny_data, None))
    assert "are known by their embedding, and refused" in card


def test_a_card_says_where_pairs_were_drawn_and_what_was_trained_on_from(
    tiny_data: TrainingData, tiny_config: TrainingConfig
) -> None:
    some = replace(measured(tiny_data, None), impostors=7, max_minutes=None)
    config = replace(tiny_config, network=replace(tiny_config.network, start_from="/runs/before/last.pt"))
    card = describe_run(RECORD, config, some)
    there = tiny_data.preflight.impostor_pairs
    assert f"Thresholds, from 7 of the {there} impostor pairs, at random, of the validation crops." in card
    assert "on NVIDIA H100, on from last.pt:\n`lightface train --config recipe.toml` with this" in card


def test_a_card_names_several_folders_and_what_teachers_do_not_know(
    tiny_data: TrainingData, tiny_config: TrainingConfig
) -> None:
    folders, table = (Path("/a/one"), Path("/b/two")), (Path("/c/labels.csv"), Path())
    groups = GroupSettings(table=table, columns=(GroupColumn("age", (3, 13)),))
    teachers = (Path("/d/t.npy"), (Path("/d/u.npy"), Path()))
    config = replace(tiny_config, data=DataSettings(folder=folders, teachers=teachers, groups=groups))
    preflight = replace(tiny_data.preflight, by_folder={"one": 90, "two": 6}, gaps={"t.npy": 6})
    card = describe_run(RECORD, config, replace(measured(tiny_data, None), data=preflight))
    assert "They are 90 crops from one, 6 crops from two. t.npy has no rows for 6 of them. Validation:" in card
    recipe = build_record(tomllib.loads(card.split("```toml\n")[1].split("```")[0]), TrainingConfig, where="card")
    assert recipe.data.folder == (Path("one"), Path("two"))
    assert recipe.data.teachers == (Path("t.npy"), (Path("u.npy"), Path()))
    assert recipe.data.groups == replace(groups, table=(Path("labels.csv"), Path()))


def test_without_a_teacher_there_is_no_column(tiny_data: TrainingData, tiny_config: TrainingConfig) -> None:
    card = describe_run(RECORD, tiny_config, measured(tiny_data, None))
    assert "| figure | these weights |\n|---|---|\n| EER | 5.0 % (4.0 to 6.2) |\n" in card


def test_the_recipe_in_a_card_reads_back_and_names_no_place(
    tiny_data: TrainingData, tiny_config: TrainingConfig
) -> None:
    (folder,) = tiny_config.data.folders
    placed = replace(
        tiny_config,
        network=replace(tiny_config.network, start_from=str(folder / "before.safetensors")),
        data=replace(tiny_config.data, pairs=folder / "pairs.csv", teachers=(folder / "teacher.npy",)),
    )
    placed = replace(placed, card=CardSettings(limits="It knows no children."))
    card = describe_run(RECORD, placed, measured(tiny_data, None))
    assert card.count("It knows no children.") == 1  # an evaluation may correct it
    recipe = build_record(tomllib.loads(card.split("```toml\n")[1].split("```")[0]), TrainingConfig, where="card")
    assert str(folder) not in card
    assert recipe == replace(
        placed,
        card=CardSettings(),
        network=replace(placed.network, start_from="before.safetensors"),
        data=replace(
            placed.data, folder=Path(folder.name), pairs=Path("pairs.csv"), teachers=(Path("teacher.npy"),), cache=None
        ),
    )


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
