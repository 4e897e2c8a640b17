from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from lightface.errors import ConfigError, DeviceError, TrainingError
from lightface.training.config import TrainingConfig, load_config
from lightface.training.preflight import Preflight
from lightface.training.progress import Progress
from lightface.training.train import train


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_run_and_it_goes_on(
    simple_config: TrainingConfig, tmp_path: Path, number: signal.Signals
) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.at.step == 5:
            os.kill(os.getpid(), number)

    found: list[Preflight] = []
    report = train(simple_config, tmp_path, device="cpu", on_preflight=found.append, on_progress=interrupt)
    assert (report.finished, report.at.step, report.leads) == (False, 5, True)
    assert [preflight.crops for preflight in found] == [96]
    config = load_config(tmp_path / "config.toml")
    assert config == simple_config
    with pytest.raises(TrainingError, match="holds a run already; resume it, or choose another --output"):
        train(simple_config, tmp_path, device="cpu")
    resumed = train(config, tmp_path, device="cpu", resume=True)
    assert (resumed.finished, resumed.at.step) == (True, 24)


def test_what_cannot_train_is_refused_before_anything_is_written(simple_config: TrainingConfig, tmp_path: Path) -> None:
    output = tmp_path / "run"
    with pytest.raises(DeviceError):
        train(simple_config, output, device="abacus")
    with pytest.raises(TrainingError, match="there is no data folder"):
        train(replace(simple_config, data=replace(simple_config.data, folder=tmp_path / "gone")), output)
    with pytest.raises(ConfigError, match="does not divide"):
        train(replace(simple_config, accumulate=5), output)
    assert not output.exists()
