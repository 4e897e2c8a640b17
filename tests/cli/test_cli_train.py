from __future__ import annotations

import os
import signal
import zipfile
from itertools import count
from pathlib import Path

import pytest
import torch
from command_line import Cli, assert_one_line

from lightface.errors import TrainingError
from lightface.models.registry import find_weights
from lightface.models.weights import read_state
from lightface.training.config import TrainingConfig
from lightface.training.synthetic import write_synthetic_set

RECIPE = """
stages = [{ size_px = 16, batch_size = 8 }]
log_steps = 2
[schedule]
epochs = 2
[data]
folder = "data"
cache = "cache"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe of eight steps, beside its data."""
    write_synthetic_set(tmp_path / "data", people=18, dev_people=10, crops_per_person=4)
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    return path


def test_from_a_recipe_to_weights_that_can_be_used(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "my-run"
    result = cli("train", "--config", recipe, "--output", run, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert f"weights: {run / 'my-run.safetensors'}" in result.stdout
    assert "development pairs, EER: 0." in result.stdout
    assert "training: 32 crops, 0 of them without a class" in result.stderr
    assert "classes: 8 people with 4 crops each\n" in result.stderr
    assert "validation: 40 crops of 10 other people, 60 genuine and 720 impostor pairs" in result.stderr
    assert "expected first loss of softmax: 2.08" in result.stderr
    assert "validation at 128 px: EER " in result.stderr
    imported = cli("models", "import", run / "my-run.safetensors", "--name", "mine")
    assert imported.exit_code == 0, imported.output
    assert "mine" in cli("models", "list").stdout
    again = cli("train", "--config", recipe, "--output", run)
    assert_one_line(again, "holds a run already")


def test_too_few_people_are_not_measured_on(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    write_synthetic_set(tmp_path / "few", people=10, dev_people=2, crops_per_person=4)
    result = cli("train", "--config", recipe, "--data", tmp_path / "few", "--output", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "EER" not in result.stdout and "threshold" not in result.stdout
    assert "the validation people are too few to measure anything on" in result.stderr
    card = (tmp_path / "run" / "run.md").read_text()
    assert "2 validation people are too few for a figure or a threshold, which take 10 or more" in card


def test_training_that_helps_nothing_keeps_what_it_started_from(
    cli: Cli, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightface.training.validation import Figures

    rates = count(1)
    monkeypatch.setattr("lightface.training.loop.measure", lambda *_, **__: Figures(None, None, next(rates) / 100))
    recipe.write_text(f'{RECIPE}[network]\nstart_from = "lightcnn9"\n')
    result = cli("train", "--config", recipe, "--output", tmp_path / "run", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "training made these weights no better on the validation people" in result.stderr
    shipped, kept = (read_state(path) for path in (find_weights("lightcnn9").file, tmp_path / "run/run.safetensors"))
    assert all(torch.equal(shipped[key], kept[key]) for key in shipped)


def _interrupt_after_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    from lightface.training.learner import Learner

    learn = Learner.learn

    def interrupt(self: Learner, *batch: object, step: int, **rate: object) -> object:
        if step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return learn(self, *batch, step=step, **rate)  # type: ignore[arg-type]

    monkeypatch.setattr(Learner, "learn", interrupt)


def test_stopped_and_resumed(cli: Cli, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _interrupt_after_one_step(monkeypatch)
    run = tmp_path / "run"
    start = ["train", "--config", recipe, "--objective", "arcface", "--output", run]
    stopped = cli(*start, "--max-minutes", "9", "--name", "resumed")
    assert stopped.exit_code == 2
    assert (
        f"stopped after 16 crops; go on with: lightface train --resume {run} --max-minutes 9 --name resumed"
        in stopped.stderr
    )
    assert stopped.stdout == ""
    monkeypatch.undo()
    resumed = cli("train", "--resume", run, "--name", "resumed", "--quiet")
    assert resumed.exit_code == 0, resumed.output
    assert f"weights: {run / 'resumed.safetensors'}" in resumed.stdout
    assert resumed.stderr == ""
    assert "[objectives.arcface]" in (run / "resumed.md").read_text()


@pytest.mark.slow
def test_smoke_draws_its_own_faces(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightface.cli.train import _shipped_recipe

    whole = _shipped_recipe("smoke").read_text(encoding="utf-8")
    short = whole.replace("epochs = 6", "epochs = 1").replace("validate_epochs = 3", "validate_epochs = 1")
    assert short != whole
    (tmp_path / "smoke.toml").write_text(short, encoding="utf-8")
    monkeypatch.setattr("lightface.cli.train._shipped_recipe", lambda name: tmp_path / "smoke.toml")
    # Of every person four crops instead of ten: one step at 128 px, and fewer crops to measure on.
    monkeypatch.setattr(
        "lightface.training.synthetic.write_synthetic_set",
        lambda folder, **sizes: write_synthetic_set(folder, **sizes | {"crops_per_person": 4}),
    )
    monkeypatch.setattr("lightface.training.model._SETTLING_CROPS", 16)
    result = cli("train", "--smoke", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "development pairs, EER: 0." in result.stdout
    assert "training works on this machine; these weights are thrown away" in result.stderr
    assert "use them" not in result.stderr


def test_a_smoke_run_that_is_stopped_has_nothing_to_go_on_with(
    cli: Cli, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightface.cli.train._shipped_recipe", lambda name: recipe)
    _interrupt_after_one_step(monkeypatch)
    stopped = cli("train", "--smoke", "--device", "cpu")
    assert stopped.exit_code == 2
    assert "crops; nothing is kept of a smoke run\n" in stopped.stderr
    kept = cli("train", "--smoke", "--device", "cpu", "--output", tmp_path / "run")
    assert f"a smoke run cannot be resumed, delete {tmp_path / 'run'} before the next" in kept.stderr
    assert "--resume" not in stopped.stderr + kept.stderr


@pytest.mark.parametrize("objective", ["softmax", "arcface"])
def test_a_folder_of_people_is_trained_on_by_one_command(cli: Cli, tmp_path: Path, objective: str) -> None:
    write_synthetic_set(tmp_path / "drawn", people=5, dev_people=0, crops_per_person=3)
    with zipfile.ZipFile(tmp_path / "drawn" / "crops.zip") as crops:
        crops.extractall(tmp_path / "people")  # a folder a person
    run = tmp_path / "mine"
    command = ["train", "--data", tmp_path / "people", "--objective", objective, "--output", run]
    result = cli(*command, "--max-minutes", "0.05")
    assert result.exit_code == 0, result.output
    assert "classes: 3 people with 3 crops each" in result.stderr
    assert "validation: 6 crops of 2 other people, 6 genuine and 9 impostor pairs" in result.stderr
    assert f"use them: lightface models import {run / 'mine.safetensors'} --name mine" in result.stderr
    card = (run / "mine.md").read_text()
    assert f"[objectives.{objective}]" in card
    assert "that of lightcnn9, which training began from: research use only" in card


def test_people_are_trained_on_by_the_shipped_recipe(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def refuse(config: TrainingConfig, run: Path, **options: object) -> None:
        taken.append((config, run))
        raise TrainingError("enough seen")

    monkeypatch.setattr("lightface.training.loop.train", refuse)
    result = cli("train", "--data", tmp_path, "--objective", "cosface")
    assert_one_line(result, "enough seen")
    ((config, run),) = taken
    assert config.data.folder == tmp_path
    assert (config.network.start_from, config.objectives.softmax) == ("lightcnn9", None)
    assert config.objectives.cosface is not None
    assert run == Path("runs/people")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to train on; give --data"),
        (["--config", "gone.toml"], "there is no configuration file 'gone.toml'"),
        (["--resume", "gone"], "gone is not a run's folder"),
        (["--resume", "gone", "--config", "a.toml"], "leave out --config"),
        (["--resume", "gone", "--output", "elsewhere"], "leave out --output"),
        (["--data", ".", "--output", "my run"], "'my run' is no name for weights; use letters"),
        (["--smoke", "--data", ".", "--resume", "gone"], "leave out --data and --resume"),
        (["--smoke", "--objective", "arcface"], "leave out --objective"),
        (["--data", "gone"], "there is no data folder"),
        (["--data", ".", "--objective", "triplet"], "choose from softmax, cosface, arcface"),
    ],
)
def test_what_is_refused(
    cli: Cli, arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_one_line(cli("train", *arguments), words)
