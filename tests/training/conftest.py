"""Drawn faces and a recipe small enough for a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lightface.training.augmentation import Augmentation
from lightface.training.config import (
    DataSettings,
    NetworkSettings,
    OptimiserSettings,
    ScheduleSettings,
    Stage,
    TrainingConfig,
)
from lightface.training.distributed import Processes
from lightface.training.loop import train
from lightface.training.objectives.classification import SoftmaxSettings
from lightface.training.objectives.combination import ObjectiveSettings
from lightface.training.objectives.distillation import CosineSettings, RelationalSettings
from lightface.training.preparation import TrainingData, prepare_data
from lightface.training.synthetic import write_synthetic_set


@contextmanager
def _settled_on_few() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lightface.training.model._SETTLING_CROPS", 8)
        yield


@pytest.fixture(scope="module", autouse=True)
def settled_on_few() -> Iterator[None]:
    """Normalisation is settled on 8 of the 96 crops: on all, at 128 px, it takes four times as long as the training."""
    with _settled_on_few():
        yield


@pytest.fixture(scope="session")
def drawn_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """26 people of 4 crops each, two of them for validation, with a teacher."""
    folder = tmp_path_factory.mktemp("drawn")
    write_synthetic_set(folder, people=26, dev_people=2, crops_per_person=4)
    return folder


@pytest.fixture(scope="session")
def tiny_config(drawn_folder: Path) -> TrainingConfig:
    """Everything at once, at 16 px: 12 steps an epoch, two epochs."""
    return TrainingConfig(
        network=NetworkSettings(dropout=0.2, inner_dropout=0.1, norm=True, pooling="stochastic"),
        data=DataSettings(folder=drawn_folder, teachers=(Path("teacher.npy"),), cache=drawn_folder / "cache"),
        augmentation=Augmentation(
            rotation_degrees=7,
            scale=0.08,
            contrast=0.35,
            brightness=0.15,
            gamma=0.25,
            blur=0.25,
            low_resolution=0.25,
            noise=0.15,
            erasing=0.1,
        ),
        objectives=ObjectiveSettings(
            softmax=SoftmaxSettings(label_smoothing=0.1), cosine=CosineSettings(), relational=RelationalSettings(4.0)
        ),
        optimiser=OptimiserSettings(kind="muon", learning_rate=1e-3, clip_norm=2.0),
        schedule=ScheduleSettings(epochs=2, kind="cosine", warmup_steps=4),
        stages=(Stage(size_px=16, batch_size=8),),
        accumulate=2,
        ema_decay=0.9,
        log_steps=5,
    )


@pytest.fixture(scope="session")
def simple_config(tiny_config: TrainingConfig) -> TrainingConfig:
    """Plain softmax by SGD, as LightCNN's authors train, at 16 px."""
    return replace(
        tiny_config,
        network=NetworkSettings(),
        augmentation=Augmentation(),
        objectives=ObjectiveSettings(),
        optimiser=OptimiserSettings(),
        stages=(Stage(size_px=16, batch_size=8),),
        accumulate=1,
        ema_decay=None,
    )


@pytest.fixture(scope="session")
def tiny_data(tiny_config: TrainingConfig) -> TrainingData:
    return prepare_data(tiny_config, Processes())


@pytest.fixture(scope="session")
def one_epoch_run(tiny_config: TrainingConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a network with normalisation and dropout inside."""
    folder = tmp_path_factory.mktemp("one-epoch") / "run"
    with _settled_on_few():
        train(replace(tiny_config, schedule=replace(tiny_config.schedule, epochs=1)), folder, device="cpu")
    return folder


@pytest.fixture
def cpu() -> torch.device:
    return torch.device("cpu")
