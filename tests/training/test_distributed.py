from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lightface.errors import DeviceError
from lightface.training.augmentation import Augmentation
from lightface.training.config import TrainingConfig, dump_config
from lightface.training.distributed import Processes, join_processes
from lightface.training.loop import train
from lightface.training.run_folder import LAST, read_history
from lightface.training.synthetic import write_synthetic_set

pytestmark = pytest.mark.slow

SCRIPT = """
import sys
from pathlib import Path
from lightface.training.config import load_config
from lightface.training.loop import train
report = train(load_config(Path(sys.argv[1])), Path(sys.argv[2]), device="cpu")
threads = [name.read_text() for name in Path("/proc/self/task").glob("*/comm")]
print(report.leads, report.at.step, report.finished, sum("gloo" in name for name in threads))
"""


@pytest.fixture(scope="module")
def still_config(simple_config: TrainingConfig) -> TrainingConfig:
    """Nothing random but the order, so that two processes must learn what one does."""
    network = replace(simple_config.network, dropout=0.0)
    schedule = replace(simple_config.schedule, epochs=1)
    return replace(simple_config, network=network, schedule=schedule, augmentation=Augmentation.none())


def test_two_processes_learn_what_one_does(still_config: TrainingConfig, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(dump_config(still_config))
    (tmp_path / "script.py").write_text(SCRIPT)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    command = [sys.executable, str(tmp_path / "script.py"), str(recipe), str(tmp_path / "two")]
    started = [
        subprocess.Popen(command, env=common | {"RANK": rank, "LOCAL_RANK": rank}, stdout=subprocess.PIPE, text=True)
        for rank in ("0", "1")
    ]
    alone = train(still_config, tmp_path / "one", device="cpu")
    outputs = [process.communicate(timeout=600)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert [output.strip() for output in outputs] == ["True 12 True 0", "False 12 True 0"]

    assert alone.at.step == 12
    one, two = (torch.load(tmp_path / name / LAST, weights_only=True)["model"] for name in ("one", "two"))
    for key in one:
        torch.testing.assert_close(two[key], one[key], atol=1e-4, rtol=1e-3)
    losses = [[row["step"] for row in read_history(tmp_path / name)] for name in ("one", "two")]
    assert losses[0] == losses[1]


def test_torchrun_trains_exports_and_resumes(tiny_config: TrainingConfig, tmp_path: Path) -> None:
    """Everything at once, from the command line: normalisation, teacher, accumulation, an average."""
    recipe, run = tmp_path / "recipe.toml", tmp_path / "run"
    # 16 crops: two steps an epoch, and few to settle on.
    write_synthetic_set(tmp_path / "drawn", people=6, dev_people=2, crops_per_person=4)
    data = replace(tiny_config.data, folder=tmp_path / "drawn", cache=tmp_path / "cache")
    schedule = replace(tiny_config.schedule, epochs=6)
    recipe.write_text(dump_config(replace(tiny_config, data=data, schedule=schedule, validate_epochs=6)))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    train_command = [*torchrun, "-m", "lightface.cli.main", "train", "--device", "cpu"]
    begun = subprocess.run([*train_command, "--config", recipe, "--output", run], capture_output=True, text=True)
    assert begun.returncode == 0, begun.stderr
    assert begun.stdout.count("weights: ") == 1  # one process reports
    assert (run / "run.safetensors").is_file()
    resumed = subprocess.run([*train_command, "--resume", run], capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert [row["step"] for row in read_history(run) if row["kind"] == "train"] == [2, 4, 5, 6, 8, 10, 12]


def test_alone_everything_is_its_own() -> None:
    with join_processes("cpu") as (processes, device):
        assert processes == Processes(rank=0, local_rank=0, count=1)
        assert device.type == "cpu" and processes.leads
        assert processes.any(True) and not processes.any(False)
        assert processes.from_leader(2.5) == 2.5
        processes.wait()


def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError), join_processes("cuda"):
        pass


def test_several_processes_cannot_share_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "0"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    with pytest.raises(DeviceError, match="choose another `device`"), join_processes("mps"):
        pass
