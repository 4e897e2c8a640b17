"""Training: from a recipe and a folder to a finished run; the loop itself, and how it says how far it has come."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from lightface.errors import ConfigError, OutputError, TrainingError
from lightface.files import write_private
from lightface.frame import FRAME_PX
from lightface.machine import keep_freed_memory, return_unused_memory
from lightface.records import IntArray
from lightface.stopping import StopRequest, stop_on_signals
from lightface.training.augmentation import augment, cut_frame
from lightface.training.batches import Batch, BatchSource, DataPosition
from lightface.training.config import ScheduleSettings, Stage, TrainingConfig, dump_config
from lightface.training.distributed import Processes, join_processes
from lightface.training.learner import Learner
from lightface.training.model import settle_on
from lightface.training.preparation import Preflight, TrainingData, prepare_data
from lightface.training.run_folder import BEST, CONFIG, LAST, Logbook, draw_curves, load_checkpoint, save_checkpoint
from lightface.training.validation import Figures, measure

_START_IMAGES = 1024  # at most, that weights which are trained on begin with


class TrainingRun:
    """One process of a run.

    Each step draws its randomness (augmentation, dropout, pooling) from a stream of its own, seeded by the run's seed,
    the step and the process. So a checkpoint needs no state of random generators to be gone on from exactly, and the
    batch of a step can be made again.
    """

    def __init__(
        self,
        config: TrainingConfig,
        data: TrainingData,
        output: Path,
        *,
        device: torch.device,
        processes: Processes,
        max_minutes: float | None = None,
        resume: bool = False,
    ) -> None:
        """`resume`: go on from the last checkpoint of `output`, with its `max_minutes` where none are given."""
        if max_minutes is not None and not max_minutes > 0:
            raise ConfigError(f"max_minutes is {max_minutes:g}; it must be above 0")
        saved = load_checkpoint(output / LAST, device=device) if resume else None
        if saved is not None and max_minutes is None:
            max_minutes = saved.get("max_minutes")  # what is no state at all is refused below
        self.stages = fit_batches(config, processes=processes.count, crops=len(data.split.rows))
        self.config, self.data, self.output = config, data, output
        self.processes, self.max_minutes = processes, max_minutes
        self.device = device
        self.source = BatchSource(
            data.crops,
            data.split,
            device=device,
            seed=config.seed,
            processes=processes,
            person_share=config.data.person_share,
            groups=config.data.groups,
        )
        self.learner = self._build_learner(resume=resume)
        self.at = self._looked_at = RunPosition()
        self.best: Figures | None = None
        self._validated: int | None = None  # the last step after which that was done
        self._figures: dict[int, Figures] = {}  # of the last validation, by image size
        self._unread: list[tuple[RunPosition, Stage, Tensor]] = []  # steps whose losses are still on the device
        self._logbook: Logbook | None = None  # the leader's
        self._clock, self._spent_s = time.monotonic(), 0.0
        if saved is not None:
            self._restore(saved)

    def _build_learner(self, *, resume: bool) -> Learner:
        some, teacher = self.source.sample(_START_IMAGES), self.data.crops.teacher
        # A checkpoint has all the weights: those that the run once started from may be gone.
        network = replace(self.config.network, start_from=None) if resume else self.config.network
        return Learner(
            replace(self.config, network=network),
            classes=len(self.data.split.classes),
            teacher_size=None if teacher is None else teacher.rows.shape[1],
            device=self.device,
            processes=self.processes,
            start=None if resume else (cut_frame(some.crops), some.targets),
        )

    @property
    def share_done(self) -> float:
        """0..1 of the run: of its samples, or of its minutes where those end first."""
        return self._share_at(self.at)

    def open(self) -> None:
        """Make the run's folder, with its recipe, and go on with its logs."""
        if self.processes.leads:
            try:
                self.output.mkdir(parents=True, exist_ok=True)
                with write_private(self.output / CONFIG) as file:  # of a run that is resumed, it is all there is
                    file.write(dump_config(self.config).encode())
            except OSError as error:
                raise OutputError(f"cannot write to {self.output} ({error}); choose another `output`") from error
            self._logbook = Logbook(self.output, step=self.at.step)

    def work(self, stop: StopRequest, on_progress: Callable[[Progress], None] | None = None) -> TrainingReport:
        """Train to the end, or until a stop is requested."""
        saved = self._clock = time.monotonic()
        alone = self.processes.count == 1  # several must agree to stop, and do so when they look
        stopped = False
        if self.at.step == 0 and self.config.network.start_from is not None:
            self._validate()  # what is kept is never worse than what was there
        while self.share_done < 1 and not stopped:
            epoch = self.at.data.epoch
            self._train_step()
            epoch_ended = self.at.data.epoch > epoch
            if epoch_ended or self.at.step % self.config.log_steps == 0 or (alone and stop.requested):
                self._look(on_progress)
                return_unused_memory()
                stopped = self.processes.any(stop.requested)
                if epoch_ended and self.at.data.epoch % self.config.validate_epochs == 0:
                    self._validate()
                if epoch_ended or time.monotonic() - saved > 60 * self.config.save_minutes:
                    self._save()
                    saved = time.monotonic()
        if not stopped and self._validated != self.at.step:
            self._look(on_progress)
            self._validate()
        self._save()
        if self._logbook is not None:
            self._logbook.close()
            draw_curves(self.output)
        return TrainingReport(self.output, self.at, finished=not stopped, best=self.best, leads=self.processes.leads)

    def _train_step(self) -> None:
        stage = find_stage(self.stages, progress=self.share_done)
        at, rate = self.at, self._learning_rate()
        images, batch, data = self._make_batch(at, stage)
        window = find_window(stage, step=at.step)
        corner_px = None if window is None else window.corner_px
        losses = self.learner.learn(images, batch.targets, learning_rate=rate, step=at.step, corner_px=corner_px)
        self._unread.append((at, stage, losses))
        self.at = replace(at, step=at.step + 1, samples=at.samples + stage.batch_size, data=data)

    def _make_batch(self, at: RunPosition, stage: Stage) -> tuple[Tensor, Batch, DataPosition]:
        """The augmented images of the step at `at`, or the window of them that it sees; the same whenever asked for."""
        batch, after = self.source.take(at.data, stage.batch_size)
        _seed_step(self.config.seed, at.step, self.processes.rank)
        images = augment(batch.crops, size_px=stage.size_px, augmentation=self.config.augmentation)
        window = find_window(stage, step=at.step)
        return images if window is None else window.cut(images), batch, after

    def _learning_rate(self) -> float:
        share = learning_rate_share(self.config.schedule, progress=self.share_done, step=self.at.step)
        return self.config.optimiser.learning_rate * share

    def _look(self, on_progress: Callable[[Progress], None] | None) -> None:
        """Read the losses since the last look, which waits for the device, and the clock; report them.

        TrainingError when a loss is not finite.
        """
        if not self._unread:
            return
        losses = torch.stack([step_losses for *_, step_losses in self._unread]).cpu()
        finite = losses.isfinite().all(dim=1).numpy()
        if self.processes.any(not finite.all()):
            self._give_up(losses, np.flatnonzero(~finite))
        stage, last_look = self._unread[-1][1], self._looked_at
        self._unread = []
        seconds = self._tick()
        self.at = self._looked_at = replace(self.at, elapsed_s=self.processes.from_leader(self._spent_s))
        progress = Progress(
            at=self.at,
            share=min(1.0, self.share_done),
            seconds_left=self._estimate_rest(last_look),
            images_per_second=(self.at.samples - last_look.samples) / seconds,
            size_px=stage.size_px,
            losses=self.learner.name_losses(losses.mean(dim=0)),
            figures=dict(self._figures),
        )
        if self._logbook is not None:
            self._logbook.write("train", self.at.step, _to_row(progress, self._learning_rate()))
            if on_progress is not None:
                on_progress(progress)

    def _give_up(self, losses: Tensor, bad: IntArray) -> NoReturn:
        """Save the batch that the first loss without a number came from, and stop. The last checkpoint stays."""
        if not len(bad):
            raise TrainingError("another process met a loss that is not finite; see its message")
        at, stage, _ = self._unread[bad[0]]
        images, batch, _ = self._make_batch(at, stage)
        path = self.output / f"bad-batch-{at.step}-{self.processes.rank}.npz"
        rows, labels = batch.rows.cpu().numpy(), batch.targets.labels.cpu().numpy()
        try:
            with write_private(path) as file:
                np.savez(file, images=images.cpu().numpy(), rows=rows, labels=labels, losses=losses[bad[0]].numpy())
            where = f"is in {path}"
        except OSError as error:
            where = f"could not be written to {path} ({error.strerror})"
        raise TrainingError(
            f"the loss of step {at.step}, or its gradient, is not finite; its batch {where}. Lower learning_rate, set "
            "clip_norm or use precision fp32, then start again"
        )

    def _validate(self) -> None:
        """Measure the averaged network on people who are not trained on, and keep it when it is the best so far.

        What counts is recognition's image size, with the normalisation that export gives it. A network of an early
        stage does badly there, so that its own size is measured, too, as it is.
        """
        self._validated = self.at.step
        if not self.processes.leads:
            return
        pixels = self.data.crops.decoded.pixels[self.data.split.dev_rows]
        network, precision = self.learner.average.network, self.learner.precision
        finished = network
        if self.config.network.norm:
            finished = copy.deepcopy(network)
            settle_on(finished, self.data.crops, self.data.split, precision=precision)
        self._figures = {}
        for size_px in sorted({find_stage(self.stages, progress=self.share_done).size_px, FRAME_PX}):
            figures = measure(
                finished if size_px == FRAME_PX else network,
                pixels,
                self.data.pairs,
                device=self.device,
                precision=precision,
                size_px=size_px,
            )
            self._figures[size_px] = figures
            if self._logbook is not None:
                known = {name: value for name, value in asdict(figures).items() if value is not None}
                row = {"samples": self.at.samples, **known}
                self._logbook.write(f"validation at {size_px} px", self.at.step, row)
        if self._figures[FRAME_PX].is_better_than(self.best):
            self.best = self._figures[FRAME_PX]
            content = {
                "network": network.state_dict(),
                "at": asdict(self.at),
                "max_minutes": self.max_minutes,
                "data": self.data.fingerprint,
                "device": _describe(self.device, self.processes.count),
            }
            save_checkpoint(self.output / BEST, content)
        self._tick()

    def _save(self) -> None:
        if not self.processes.leads:
            return
        content = {
            **self.learner.state(),
            "at": asdict(self.at),
            "best": None if self.best is None else asdict(self.best),
            "validated": self._validated,
            "max_minutes": self.max_minutes,
            "data": self.data.fingerprint,
        }
        save_checkpoint(self.output / LAST, content)
        self._tick()

    def _restore(self, content: dict[str, Any]) -> None:
        if content.get("data") != self.data.fingerprint:
            raise TrainingError(
                f"the data, its teachers, pairs or groups are not those that the run in {self.output} began with; "
                "start another run"
            )
        try:
            self.learner.load_state(content)
        except (RuntimeError, KeyError, ValueError) as error:
            raise TrainingError(
                f"the checkpoint in {self.output} is of another recipe; put its {CONFIG} back ({str(error)[:200]})"
            ) from error
        at = content["at"]
        self.at = self._looked_at = RunPosition(**{**at, "data": DataPosition(**at["data"])})
        self.best = None if content["best"] is None else Figures(**content["best"])
        self._validated = content["validated"]
        self._spent_s = self.at.elapsed_s

    def _share_at(self, at: RunPosition) -> float:
        done = at.samples / (self.config.schedule.epochs * len(self.source))
        return done if self.max_minutes is None else max(done, at.elapsed_s / (60 * self.max_minutes))

    def _tick(self) -> float:
        """Add the seconds since the last tick to the time spent, and return them."""
        now = time.monotonic()
        seconds, self._clock = now - self._clock, now
        self._spent_s += seconds
        return seconds

    def _estimate_rest(self, last_look: RunPosition) -> float:
        """Seconds to the end, at the pace since the last look."""
        share, share_then = self.share_done, self._share_at(last_look)
        if share <= share_then:
            return 0.0
        return max(0.0, 1 - share) * (self.at.elapsed_s - last_look.elapsed_s) / (share - share_then)


def _seed_step(seed: int, step: int, rank: int) -> None:
    (state,) = np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)
    torch.manual_seed(int(state >> np.uint64(1)))  # of every device


def _describe(device: torch.device, processes: int) -> str:
    threads = torch.get_num_threads()
    cpu = "one CPU thread" if threads == 1 else f"{threads} CPU threads"
    one = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu
    return one if processes == 1 else f"{processes} processes with {one} each"


def _to_row(progress: Progress, learning_rate: float) -> dict[str, float]:
    """A report as a row of the history."""
    return {
        "samples": progress.at.samples,
        "epoch": progress.at.data.epoch,
        "size_px": progress.size_px,
        "learning_rate": learning_rate,
        "images_per_second": round(progress.images_per_second, 1),
        "elapsed_s": round(progress.at.elapsed_s, 1),
        **progress.losses,
    }


# The way into training: from a recipe and a folder to a finished run.


def train(
    config: TrainingConfig,
    output: Path,
    *,
    device: str = "auto",
    resume: bool = False,
    max_minutes: float | None = None,
    stop: StopRequest | None = None,
    on_preflight: Callable[[Preflight], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainingReport:
    """Train as `config` says, into the run folder `output`, or go on with the run that is there.

    A run of more than `max_minutes` (over all its parts) is shortened to that: its schedule and stages then follow the
    clock. A run that is resumed keeps those that it had, unless others are given. Ctrl-C, SIGTERM and `stop` save the
    run and return. Under torchrun, every process calls this.

    Raises TrainingError when the data cannot train, when a loss is no longer finite (its batch is saved), or when there
    is no run to resume; ConfigError, DeviceError, WeightsError and OutputError as their names say.
    """
    if not resume and (output / LAST).exists():  # before the data is prepared, which can take long
        raise TrainingError(f"{output} holds a run already; resume it, or choose another `output`")
    keep_freed_memory()
    stop = stop or StopRequest()
    with join_processes(device) as (processes, chosen):
        data = prepare_data(config, processes)
        if on_preflight is not None and processes.leads:
            on_preflight(data.preflight)
        run = TrainingRun(
            config, data, output, device=chosen, processes=processes, max_minutes=max_minutes, resume=resume
        )
        run.open()
        # Images come in few sizes, so that trying cuDNN's algorithms once for each pays.
        with stop_on_signals(stop), torch.backends.cudnn.flags(enabled=True, benchmark=True):
            report = run.work(stop, on_progress)
        del run  # and with it what refers to the processes' group
        return report


# The records by which a run says how far it has come.


@dataclass(frozen=True, slots=True)
class RunPosition:
    """How far a run has come."""

    step: int = 0
    samples: int = 0  # crops seen
    elapsed_s: float = 0.0  # over all its parts, where it was resumed
    data: DataPosition = field(default_factory=DataPosition)


@dataclass(frozen=True, slots=True)
class Progress:
    """A report of a running run."""

    at: RunPosition
    share: float  # 0..1 of the run
    seconds_left: float
    images_per_second: float
    size_px: int
    losses: Mapping[str, float]  # mean since the last report, unweighted; "loss" is their weighted sum
    figures: Mapping[int, Figures]  # of the last validation, by image size; empty before the first


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What came of a run."""

    output: Path
    at: RunPosition
    finished: bool  # False when it was asked to stop; resume it
    best: Figures | None
    leads: bool  # whether this process is the one to report and to export


# Where a run stands decides its learning rate, its resolution and its batches.


logger = logging.getLogger(__name__)

_CELL_PX = 16  # of the frame, to a cell of the last map


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the frame, about in its middle."""

    top_px: int
    left_px: int
    height_px: int
    width_px: int

    @property
    def corner_px(self) -> tuple[int, int]:
        """Row and column of the first pixel."""
        return self.top_px, self.left_px

    def cut(self, images: Tensor) -> Tensor:
        """(N, C, 128, 128) -> (N, C, height, width)."""
        bottom_px, right_px = self.top_px + self.height_px, self.left_px + self.width_px
        return images[..., self.top_px : bottom_px, self.left_px : right_px]


def fit_batches(config: TrainingConfig, *, processes: int, crops: int) -> tuple[Stage, ...]:
    """The stages, with smaller batches where there are fewer crops than fill one.

    ConfigError unless every stage's batch divides into equal parts of two crops or more.
    """
    parts = processes * config.accumulate
    most = crops - crops % parts
    stages = tuple(replace(stage, batch_size=min(stage.batch_size, most)) for stage in config.stages)
    if stages != config.stages:
        logger.info("a batch is all %s crops, which are fewer than the recipe's batches", f"{most:,}")
    for stage in stages:
        if stage.batch_size % parts or stage.batch_size < 2 * parts:
            raise ConfigError(
                f"batch_size {stage.batch_size} does not divide into {parts} parts of two or more crops "
                f"({processes} processes, accumulate = {config.accumulate}); change one of them"
            )
    return stages


def learning_rate_share(settings: ScheduleSettings, *, progress: float, step: int) -> float:
    """The share, 0..1, of the recipe's learning rate at `progress` (0..1 of the run), in the step after `step`."""
    warm = min(1.0, (step + 1) / settings.warmup_steps) if settings.warmup_steps else 1.0
    if settings.kind == "cosine":
        cosine = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
        return warm * (settings.final_rate + (1 - settings.final_rate) * cosine)
    falls = math.floor(progress * settings.epochs / settings.step_epochs + 1e-9)
    return warm * float(settings.step_factor**falls)


def find_stage(stages: Sequence[Stage], *, progress: float) -> Stage:
    """The stage at `progress`, 0..1 of the run."""
    end = 0.0
    for stage in stages:
        end += stage.share
        if progress < end - 1e-9:
            return stage
    return stages[-1]


def find_window(stage: Stage, *, step: int) -> Window | None:
    """The part of the frame that a step looks at; None for all of it."""
    if not stage.windows_px:
        return None
    height_px, width_px = stage.windows_px[step % len(stage.windows_px)]
    top_px, left_px = ((FRAME_PX - side) // (2 * _CELL_PX) * _CELL_PX for side in (height_px, width_px))
    return Window(top_px, left_px, height_px, width_px)
