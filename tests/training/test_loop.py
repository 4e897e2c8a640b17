from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightface.errors import ConfigError, DeviceError, OutputError, TrainingError
from lightface.stopping import StopRequest
from lightface.training.config import GroupColumn, GroupSettings, ScheduleSettings, Stage, TrainingConfig, load_config
from lightface.training.distributed import Processes
from lightface.training.learner import Learner
from lightface.training.loop import (
    Progress,
    TrainingReport,
    TrainingRun,
    _seed_step,
    find_stage,
    find_window,
    fit_batches,
    learning_rate_share,
    train,
)
from lightface.training.model import build_network, settle_on
from lightface.training.preparation import Preflight, TrainingData, prepare_data
from lightface.training.run_folder import BEST, CONFIG, LAST, read_history, save_checkpoint
from lightface.training.synthetic import write_synthetic_set
from lightface.training.validation import measure


def run(
    config: TrainingConfig,
    data: TrainingData,
    output: Path,
    *,
    resume: bool = False,
    stop_at: int | None = None,
    max_minutes: float | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> TrainingReport:
    """Train; ask to stop once `stop_at` steps are done."""
    stop = StopRequest()

    def look(progress: Progress) -> None:
        on_progress(progress)
        if progress.at.step == stop_at:
            stop.request()

    training = TrainingRun(
        config,
        data,
        output,
        device=torch.device("cpu"),
        processes=Processes(),
        max_minutes=max_minutes,
        resume=resume,
    )
    training.open()
    return training.work(stop, look)


def load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


def tensors(value: Any) -> list[torch.Tensor]:
    """All tensors of nested tables and lists, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for item in items for tensor in tensors(item)]


@pytest.mark.slow
def test_twice_fifteen_steps_are_thirty(tiny_config: TrainingConfig, tiny_data: TrainingData, tmp_path: Path) -> None:
    # 30 steps of 8 crops, in two stages, with everything that draws at random: augmentation, dropout, pooling.
    stages = (Stage(share=0.8, size_px=16, batch_size=8), Stage(share=0.2, size_px=32, batch_size=8))
    config = replace(tiny_config, stages=stages, schedule=replace(tiny_config.schedule, epochs=30 * 8 / 96))
    whole = run(config, tiny_data, tmp_path / "whole")
    half = run(config, tiny_data, tmp_path / "halves", stop_at=15)
    assert (whole.at.step, whole.finished, half.at.step, half.finished) == (30, True, 15, False)
    rest = run(config, tiny_data, tmp_path / "halves", resume=True)
    assert (rest.at.step, rest.at.samples, rest.at.data) == (whole.at.step, whole.at.samples, whole.at.data)
    assert rest.best == whole.best
    one, other = load(tmp_path / "whole" / LAST), load(tmp_path / "halves" / LAST)
    for part in ("model", "network", "optimisers"):
        mine, theirs = tensors(one[part]), tensors(other[part])
        assert len(mine) == len(theirs) > 20
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True)), part
    histories = [
        [(row["kind"], row["step"], row.get("loss"), row.get("equal_error_rate")) for row in read_history(folder)]
        for folder in (tmp_path / "whole", tmp_path / "halves")
    ]
    assert histories[0] == histories[1]


def test_gaps_and_groups_are_gone_on_with_too(tiny_config: TrainingConfig, drawn_folder: Path, tmp_path: Path) -> None:
    write_synthetic_set(tmp_path / "more", people=6, dev_people=2, crops_per_person=4, seed=1)
    (tmp_path / "labels.csv").write_text("row,sex\n" + "".join(f"{row},{'fm'[row % 3 // 2]}\n" for row in range(9, 60)))
    groups = GroupSettings(
        table=tmp_path / "labels.csv", columns=(GroupColumn("sex"),), labelled_share=0.7, grouped_batches=0.3
    )
    data = replace(tiny_config.data, folder=(drawn_folder, tmp_path / "more"), groups=groups, cache=tmp_path / "cache")
    schedule = replace(tiny_config.schedule, epochs=16 * 8 / 112)
    config = replace(tiny_config, data=data, schedule=schedule, validate_epochs=2)  # once, at the end
    prepared = prepare_data(config, Processes())
    assert prepared.preflight.gaps == {"teacher.npy": 16}
    whole = run(config, prepared, tmp_path / "whole")
    assert whole.finished and not run(config, prepared, tmp_path / "halves", stop_at=10).finished
    run(config, prepared, tmp_path / "halves", resume=True)
    one, other = load(tmp_path / "whole" / LAST), load(tmp_path / "halves" / LAST)
    assert whole.at.step == other["at"]["step"] == 16
    assert all(torch.equal(a, b) for a, b in zip(tensors(one["model"]), tensors(other["model"]), strict=True))
    losses = [row["loss"] for row in read_history(tmp_path / "whole") if row["kind"] == "train"]
    assert np.isfinite(losses).all()

    assert prepared.crops.cells is not None
    cells = replace(prepared.crops.cells, numbers=prepared.crops.cells.numbers[::-1].copy())
    relabelled = replace(prepared, crops=replace(prepared.crops, cells=cells))
    with pytest.raises(TrainingError, match=r"its teachers, pairs or groups are not those that the run"):
        run(config, relabelled, tmp_path / "halves", resume=True)


def test_a_run_that_is_killed_as_it_resumes_keeps_its_recipe(
    simple_config: TrainingConfig, tiny_data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(simple_config, tiny_data, tmp_path, stop_at=5)
    recipe = (tmp_path / CONFIG).read_bytes()

    def die(source: str, target: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        run(simple_config, tiny_data, tmp_path, resume=True)
    assert (tmp_path / CONFIG).read_bytes() == recipe != b""


def test_a_finished_run_that_is_resumed_is_not_measured_again(
    simple_config: TrainingConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    """As where it was killed while its weights were exported."""
    whole = run(simple_config, tiny_data, tmp_path)
    history = list(read_history(tmp_path))
    again = run(simple_config, tiny_data, tmp_path, resume=True)
    assert (again.finished, again.at.step, again.best) == (True, whole.at.step, whole.best)
    assert list(read_history(tmp_path)) == history


def test_what_a_run_leaves_behind(simple_config: TrainingConfig, tiny_data: TrainingData, tmp_path: Path) -> None:
    reports: list[Progress] = []
    report = run(simple_config, tiny_data, tmp_path, on_progress=reports.append)
    assert report.finished and report.at.step == 24 and report.at.samples == 192
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"config.toml", "history.jsonl", "tensorboard", "curves.png", LAST, BEST}
    assert [progress.at.step for progress in reports] == [5, 10, 12, 15, 20, 24]  # every 5, and after each epoch
    assert reports[0].figures == {} and set(reports[-1].figures) == {16, 128}
    assert [progress.share for progress in reports] == pytest.approx([step / 24 for step in (5, 10, 12, 15, 20, 24)])
    assert all(progress.images_per_second > 0 and progress.seconds_left >= 0 for progress in reports)
    validations = [row for row in read_history(tmp_path) if row["kind"] == "validation at 128 px"]
    assert [row["step"] for row in validations] == [12, 24]
    assert report.best is not None
    assert report.best.equal_error_rate == min(row["equal_error_rate"] for row in validations)
    assert "tar_at_1e2" not in validations[0]  # of 16 impostor pairs


def test_validation_after_some_epochs_and_at_the_end(
    simple_config: TrainingConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    config = replace(simple_config, validate_epochs=2, schedule=replace(simple_config.schedule, epochs=3))
    run(config, tiny_data, tmp_path)
    history = list(read_history(tmp_path))
    assert [row["step"] for row in history if row["kind"] == "validation at 128 px"] == [24, 36]


def test_the_first_loss_is_the_expected_one(
    simple_config: TrainingConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    first: list[float] = []
    config = replace(simple_config, log_steps=1)
    run(config, tiny_data, tmp_path, stop_at=1, on_progress=lambda progress: first.append(progress.losses["softmax"]))
    expected = config.objectives.expected_first_losses(24)["softmax"]
    assert first == [pytest.approx(expected, rel=0.02)]


def test_a_loss_without_a_number_stops_the_run_and_leaves_its_batch(
    simple_config: TrainingConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    training = TrainingRun(simple_config, tiny_data, tmp_path, device=torch.device("cpu"), processes=Processes())
    training.open()
    learn, seen = training.learner.learn, []

    def break_the_eighth(images: torch.Tensor, targets: Any, *, step: int, **others: Any) -> torch.Tensor:
        seen.append(images)
        losses = learn(images, targets, step=step, **others)
        return losses * float("nan") if step == 7 else losses

    training.learner.learn = break_the_eighth  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match="the loss of step 7, or its gradient, is not finite; its batch is in"):
        training.work(StopRequest())
    saved = np.load(tmp_path / "bad-batch-7-0.npz")
    assert np.array_equal(saved["images"], seen[7].numpy())
    assert saved["rows"].shape == saved["labels"].shape == (8,)
    assert np.isnan(saved["losses"]).all()
    assert not (tmp_path / LAST).exists()


def test_a_batch_that_cannot_be_written_is_told_of_too(
    simple_config: TrainingConfig, tiny_data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In windows, for it is these that a step sees."""
    stages = (Stage(size_px=128, batch_size=2, windows_px=((32, 48),)),)
    training = TrainingRun(
        replace(simple_config, stages=stages, log_steps=1),
        tiny_data,
        tmp_path / "run",
        device=torch.device("cpu"),
        processes=Processes(),
    )
    images, *_ = training._make_batch(training.at, stages[0])
    assert images.shape == (2, 1, 32, 48)
    training.open()
    monkeypatch.setattr(training.learner, "learn", lambda *args, **others: torch.tensor([float("inf")]))
    monkeypatch.setattr(training, "output", tmp_path / "gone")
    with pytest.raises(
        TrainingError, match=r"its batch could not be written to .*gone.bad-batch-0-0.npz \(No such file"
    ):
        training.work(StopRequest())


def test_minutes_shorten_the_whole_schedule(
    simple_config: TrainingConfig, tiny_data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    def tick() -> float:
        clock[0] += 1
        return clock[0]

    monkeypatch.setattr("time.monotonic", tick)
    config = replace(
        simple_config,
        schedule=ScheduleSettings(epochs=1000, kind="cosine"),
        stages=(Stage(0.5, 16, 8), Stage(0.5, 32, 8)),
        log_steps=1,
    )
    reports: list[Progress] = []
    report = run(config, tiny_data, tmp_path, max_minutes=0.5, on_progress=reports.append)
    assert report.finished and 8 < report.at.step < 30
    assert {progress.size_px for progress in reports} == {16, 32}
    rates = [row["learning_rate"] for row in read_history(tmp_path) if row["kind"] == "train"]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.02 * rates[0]
    assert reports[-1].share == 1


def test_a_run_that_is_resumed_keeps_its_minutes(
    simple_config: TrainingConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    run(replace(simple_config, log_steps=1), tiny_data, tmp_path, stop_at=1, max_minutes=7.5)
    run(simple_config, tiny_data, tmp_path, resume=True, stop_at=1)
    assert load(tmp_path / LAST)["max_minutes"] == 7.5
    run(simple_config, tiny_data, tmp_path, resume=True, max_minutes=30)
    assert load(tmp_path / LAST)["max_minutes"] == 30
    with pytest.raises(ConfigError, match="max_minutes is 0; it must be above 0"):
        run(simple_config, tiny_data, tmp_path / "other", max_minutes=0)


def test_weights_that_a_run_started_from_may_be_gone_when_it_is_resumed(
    simple_config: TrainingConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    run(simple_config, tiny_data, tmp_path / "first")
    start = tmp_path / "start.pt"
    start.write_bytes((tmp_path / "first" / LAST).read_bytes())
    config = replace(simple_config, network=replace(simple_config.network, start_from=str(start)), log_steps=1)
    run(config, tiny_data, tmp_path / "second", stop_at=1)
    start.unlink()
    assert run(config, tiny_data, tmp_path / "second", resume=True).finished
    assert load_config(tmp_path / "second" / CONFIG).network.start_from == str(start)


def test_validation_is_of_what_export_finishes(
    simple_config: TrainingConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    """With batch statistics as they are after a few steps at 16 px, frames of 128 px would be embedded at random."""
    config = replace(simple_config, network=replace(simple_config.network, norm=True))
    report = run(config, tiny_data, tmp_path)
    network = build_network(config.network)
    network.load_state_dict(load(tmp_path / BEST)["network"])
    settle_on(network, tiny_data.crops, tiny_data.split)
    pixels = tiny_data.crops.decoded.pixels[tiny_data.split.dev_rows]
    figures = measure(network, pixels, tiny_data.pairs, device=torch.device("cpu"), precision="fp32")
    assert report.best == figures


def test_windows_of_the_frame_take_turns(
    simple_config: TrainingConfig, tiny_data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    learn = Learner.learn

    def look(self: Learner, images: torch.Tensor, *targets: Any, **options: Any) -> torch.Tensor:
        seen.append((tuple(images.shape[2:]), options["corner_px"]))
        return learn(self, images, *targets, **options)

    monkeypatch.setattr(Learner, "learn", look)
    stage = Stage(size_px=128, batch_size=8, windows_px=((48, 64), (128, 128)))
    config = replace(
        simple_config,
        network=replace(simple_config.network, norm=True),
        stages=(stage,),
        schedule=replace(simple_config.schedule, epochs=4 * 8 / 96),
    )
    assert run(config, tiny_data, tmp_path).finished
    assert [size for size, _ in seen] == [(48, 64), (128, 128)] * 2
    (top, left), _ = (corner for _, corner in seen[:2])
    assert 0 < top <= 128 - 48 and 0 < left <= 128 - 64


def test_a_stop_is_heard_between_two_looks(
    simple_config: TrainingConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    stop = StopRequest()
    stop.request()
    training = TrainingRun(simple_config, tiny_data, tmp_path, device=torch.device("cpu"), processes=Processes())
    training.open()
    report = training.work(stop)
    assert (report.at.step, report.finished) == (1, False)
    assert load(tmp_path / LAST)["at"]["step"] == 1


def test_folders_that_will_not_do(simple_config: TrainingConfig, tiny_data: TrainingData, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="name the folder of a run"):
        run(simple_config, tiny_data, tmp_path, resume=True)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="choose another `output`"):
        run(simple_config, tiny_data, tmp_path / "file" / "run")


def test_a_run_goes_on_with_its_own_data_and_recipe(
    simple_config: TrainingConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    run(replace(simple_config, log_steps=1), tiny_data, tmp_path, stop_at=1)
    other = replace(tiny_data, split=replace(tiny_data.split, labels=tiny_data.split.labels[::-1].copy()))
    with pytest.raises(TrainingError, match=r"the data, its teachers, pairs or groups are not those that the run"):
        run(simple_config, other, tmp_path, resume=True)
    assert tiny_data.crops.teacher is not None
    backwards = tiny_data.crops.teacher.choose(np.arange(len(tiny_data.crops))[::-1])
    taught = replace(tiny_data, crops=replace(tiny_data.crops, teacher=backwards))
    with pytest.raises(TrainingError, match=r"the data, its teachers, pairs or groups are not those that the run"):
        run(simple_config, taught, tmp_path, resume=True)
    (tmp_path / "foreign").mkdir()
    save_checkpoint(tmp_path / "foreign" / LAST, {"network": {}})
    with pytest.raises(TrainingError, match=r"the data, its teachers, pairs or groups are not those that the run"):
        run(simple_config, tiny_data, tmp_path / "foreign", resume=True)
    norm = replace(simple_config, network=replace(simple_config.network, norm=True))
    with pytest.raises(TrainingError, match=r"is of another recipe; put its config.toml back"):
        run(norm, tiny_data, tmp_path, resume=True)


def test_batches_must_divide(simple_config: TrainingConfig, tiny_data: TrainingData, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="batch_size 8 does not divide into 3 parts"):
        run(replace(simple_config, accumulate=3), tiny_data, tmp_path)
    with pytest.raises(ConfigError, match="batch_size 8 does not divide into 8 parts of two or more"):
        run(replace(simple_config, accumulate=8), tiny_data, tmp_path)


def test_what_is_drawn_depends_on_seed_step_and_process() -> None:
    def draw(*, seed: int = 0, step: int = 0, rank: int = 0) -> tuple[float, ...]:
        _seed_step(seed, step, rank)
        return tuple(torch.rand(4).tolist())

    assert len({draw(), draw(seed=1), draw(step=1), draw(rank=1)}) == 4
    assert draw(step=1) == draw(step=1)


def test_a_batch_is_augmented_by_its_steps_own_draws(
    tiny_config: TrainingConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    training = TrainingRun(tiny_config, tiny_data, tmp_path, device=torch.device("cpu"), processes=Processes())
    first, again, second = (
        training._make_batch(replace(training.at, step=step), tiny_config.stages[0])[0] for step in (0, 0, 1)
    )  # of the same crops
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


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
    with pytest.raises(TrainingError, match="holds a run already; resume it, or choose another `output`"):
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


def test_the_authors_steps() -> None:
    settings = ScheduleSettings()  # 80 epochs, every ten
    shares = [learning_rate_share(settings, progress=epoch / 80, step=0) for epoch in (0, 9.9, 10, 19, 20, 79)]
    factor = 0.457305051927326
    assert shares == pytest.approx([1, 1, factor, factor, factor**2, factor**7])


def test_cosine_with_warm_up_and_an_end() -> None:
    settings = ScheduleSettings(kind="cosine", warmup_steps=10, final_rate=0.1)
    assert learning_rate_share(settings, progress=0, step=0) == pytest.approx(0.1)
    assert learning_rate_share(settings, progress=0, step=4) == pytest.approx(0.5)
    assert learning_rate_share(settings, progress=0, step=9) == pytest.approx(1)
    assert learning_rate_share(settings, progress=0.5, step=100) == pytest.approx(0.55)
    assert learning_rate_share(settings, progress=1, step=100) == pytest.approx(0.1)
    assert learning_rate_share(settings, progress=1.2, step=100) == pytest.approx(0.1)


def test_stages_follow_each_other() -> None:
    stages = (Stage(0.4, 64, 8), Stage(0.3, 96, 8), Stage(0.3, 128, 8))
    sizes = [find_stage(stages, progress=progress).size_px for progress in (0, 0.39, 0.4, 0.69, 0.7, 1, 1.5)]
    assert sizes == [64, 64, 96, 96, 128, 128, 128]


def test_windows_take_turns_about_the_middle() -> None:
    stage = Stage(windows_px=((96, 96), (112, 96), (128, 128)))
    images = torch.arange(128 * 128).reshape(1, 1, 128, 128)
    expected = [(16, 16, 96, 96), (0, 16, 112, 96), (0, 0, 128, 128), (16, 16, 96, 96)]
    for step, (top, left, height, width) in enumerate(expected):
        window = find_window(stage, step=step)
        assert window is not None and window.corner_px == (top, left)
        part = window.cut(images)
        assert part.shape == (1, 1, height, width) and part[0, 0, 0, 0] == top * 128 + left
    assert find_window(Stage(), step=3) is None


def test_batches_shrink_to_what_there_is_and_must_divide() -> None:
    config = TrainingConfig(stages=(Stage(0.5, 64, 32), Stage(0.5, 128, 8)), accumulate=2)
    assert fit_batches(config, processes=2, crops=100) == config.stages
    assert [stage.batch_size for stage in fit_batches(config, processes=2, crops=23)] == [20, 8]
    with pytest.raises(
        ConfigError, match=r"batch_size 4 does not divide into 4 parts of two or more crops \(2 processes"
    ):
        fit_batches(config, processes=2, crops=7)
