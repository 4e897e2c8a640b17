from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np

from lightface.metrics import Interval
from lightface.models.recognisability import Recognisability
from lightface.models.registry import WeightsRecord
from lightface.training.config import CardSettings, DataSettings, GroupColumn, GroupSettings, TrainingConfig
from lightface.training.config_file import build_record
from lightface.training.model_card import Measured, write_card
from lightface.training.preparation import TrainingData

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


def measured(data: TrainingData, teacher: dict[str, Interval] | None) -> Measured:
    return Measured(
        pairs=33_000,
        figures={"EER": Interval(0.05, 0.04, 0.0625)},
        teacher=teacher,
        thresholds={"1e-3": Interval(0.45, 0.4, 0.5)},
        impostors=data.preflight.impostor_pairs,
        data=data.preflight,
        at={"samples": 3_000_000, "step": 20_000, "elapsed_s": 5400.0},
        max_minutes=90.0,
        device="NVIDIA H100",
    )


def test_what_a_card_says(tiny_data: TrainingData, tiny_config: TrainingConfig) -> None:
    card = write_card(RECORD, tiny_config, measured(tiny_data, {"EER": Interval(0.01, 0.005, 0.02)}))
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
    card = write_card(known, tiny_config, measured(tiny_data, None))
    assert "are known by their embedding, and refused" in card


def test_a_card_says_where_pairs_were_drawn_and_what_was_trained_on_from(
    tiny_data: TrainingData, tiny_config: TrainingConfig
) -> None:
    some = replace(measured(tiny_data, None), impostors=7, max_minutes=None)
    config = replace(tiny_config, network=replace(tiny_config.network, start_from="/runs/before/last.pt"))
    card = write_card(RECORD, config, some)
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
    card = write_card(RECORD, config, replace(measured(tiny_data, None), data=preflight))
    assert "They are 90 crops from one, 6 crops from two. t.npy has no rows for 6 of them. Validation:" in card
    recipe = build_record(tomllib.loads(card.split("```toml\n")[1].split("```")[0]), TrainingConfig, where="card")
    assert recipe.data.folder == (Path("one"), Path("two"))
    assert recipe.data.teachers == (Path("t.npy"), (Path("u.npy"), Path()))
    assert recipe.data.groups == replace(groups, table=(Path("labels.csv"), Path()))


def test_without_a_teacher_there_is_no_column(tiny_data: TrainingData, tiny_config: TrainingConfig) -> None:
    card = write_card(RECORD, tiny_config, measured(tiny_data, None))
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
    card = write_card(RECORD, placed, measured(tiny_data, None))
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
