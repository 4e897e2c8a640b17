"""`lightface train`: weights from photographs."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from lightface.cli.console import complain, note
from lightface.cli.options import with_settings
from lightface.cli.results import print_line
from lightface.cli.settings import Settings
from lightface.errors import ConfigError
from lightface.words import count_of

if TYPE_CHECKING:
    from lightface.models.registry import WeightsRecord
    from lightface.training.export import Exported
    from lightface.training.loop import Progress
    from lightface.training.preparation import Preflight
    from lightface.training.validation import Figures

_SECONDS_BETWEEN_NOTES = 10.0
_SHOWN = 5  # pictures that were left out


@with_settings("device")
def train(
    settings: Settings,
    *,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="The recipe, a TOML file (default with --data: people.toml)."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DIR", help="A folder with a folder for each person, or with an index of crops in shards."
        ),
    ] = None,
    objective: Annotated[
        str | None, typer.Option("--objective", help="Tell people apart by softmax, cosface or arcface.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="The run's folder (default: runs/ and the recipe's name)."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="What to call the weights (default: by the folder of the run).")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Go on with the run in this folder.")
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option("--max-minutes", help="Shorten the run to so many minutes of training, over all its parts."),
    ] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="Try it on drawn faces, for a minute.")] = False,
) -> None:
    """Train a LightCNN: on your own people, by a recipe, or on with a run that was stopped."""
    from lightface.models.registry import list_weights

    if smoke:
        given = {
            "--config": config,
            "--data": data,
            "--objective": objective,
            "--name": name,
            "--resume": resume,
            "--max-minutes": max_minutes,
        }
        useless = [flag for flag, value in given.items() if value is not None]
        if useless:
            raise ConfigError(f"--smoke draws its own faces and has its own recipe; leave out {' and '.join(useless)}")
        with tempfile.TemporaryDirectory() as folder:
            _smoke(Path(folder), settings, output)
        return
    if resume is not None and output is not None:
        raise ConfigError("a run that is resumed stays in its folder; leave out --output")
    recipe = _find_recipe(config, data=data, resume=resume)
    run = resume or output or Path("runs", recipe.stem)
    minutes = "" if max_minutes is None else f" --max-minutes {max_minutes:g}"
    named = "" if name is None else f" --name {quote(name)}"
    record = _train(
        recipe,
        run,
        settings,
        if_stopped=f"go on with: lightface train --resume {quote(str(run))}{minutes}{named}",
        data=data,
        objective=objective,
        name=name,
        resume=resume,
        max_minutes=max_minutes,
    )
    if record is not None:
        free = record.name if all(known.name != record.name for known in list_weights()) else f"my-{record.name}"
        note(f"use them: lightface models import {quote(str(record.file))} --name {quote(free)}")


def _smoke(folder: Path, settings: Settings, output: Path | None) -> None:
    from lightface.training.synthetic import write_synthetic_set

    write_synthetic_set(folder, people=26, dev_people=10, crops_per_person=10)
    _train(
        _shipped_recipe("smoke"),
        output or folder / "smoke",
        settings,
        if_stopped="nothing is kept of a smoke run"
        if output is None
        else f"a smoke run cannot be resumed, delete {output} before the next",
        data=folder,
        cache=folder,
    )
    note("training works on this machine" + ("; these weights are thrown away" if output is None else ""))


def _find_recipe(config: Path | None, *, data: Path | None, resume: Path | None) -> Path:
    from lightface.training.run_folder import CONFIG

    if resume is not None:
        if config is not None:
            raise ConfigError("a run that is resumed has its recipe in its folder; leave out --config")
        recipe = resume / CONFIG
        if not recipe.is_file():
            raise ConfigError(f"{resume} is not a run's folder, it has no {CONFIG}; name the folder of a run")
        return recipe
    if config is not None:
        return config
    if data is None:
        raise ConfigError("nothing to train on; give --data with your people, --config with a recipe, or --smoke")
    return _shipped_recipe("people")


def _shipped_recipe(name: str) -> Path:
    from lightface.models.registry import shipped_folder

    return shipped_folder() / "recipes" / f"{name}.toml"


def _train(
    recipe: Path,
    run: Path,
    settings: Settings,
    *,
    if_stopped: str,
    data: Path | None,
    cache: Path | None = None,
    objective: str | None = None,
    name: str | None = None,
    resume: Path | None = None,
    max_minutes: float | None = None,
) -> WeightsRecord | None:
    """Train, export and report; None in those processes of a run that do not report."""
    from lightface.models.registry import check_name
    from lightface.training.config import load_config, replace_objective
    from lightface.training.export import export_run
    from lightface.training.loop import train as train_network

    # Aligning and decoding can take long: what training logs of it is shown as notes are.
    logging.getLogger("lightface.training").setLevel(logging.getLogger("lightface.cli").level)
    name = name or run.absolute().name
    check_name(name)
    config = load_config(recipe, folder=data, cache=cache)
    if objective is not None:
        config = replace_objective(config, objective)
    report = train_network(
        config,
        run,
        device=settings.device or "auto",
        resume=resume is not None,
        max_minutes=max_minutes,
        on_preflight=_note_preflight,
        on_progress=_progress_notes(),
    )
    if not report.leads:
        return None
    if not report.finished:
        note(f"stopped after {count_of(report.at.samples, 'crop')}; {if_stopped}")
        raise typer.Exit(2)
    note("measuring the best network of the run")
    exported = export_run(config, run, run, name=name)
    _print_result(exported)
    if exported.step == 0:
        complain("training made these weights no better on the validation people: they are those it started from")
    return exported.record


def _note_preflight(found: Preflight) -> None:
    smallest, median, largest = found.class_sizes
    note(f"training: {count_of(found.crops, 'crop')}, {found.unlabelled:,} of them without a class")
    if found.classes:
        sizes = f"{smallest} to {largest} crops each (median {median})"
        if smallest == largest:
            sizes = f"{count_of(smallest, 'crop')} each"
        note(f"classes: {count_of(found.classes, 'person')} with {sizes}")
    note(
        f"validation: {count_of(found.validation_crops, 'crop')} of "
        f"{count_of(found.validation_people, 'other person', 'other people')}, "
        f"{found.genuine_pairs:,} genuine and {count_of(found.impostor_pairs, 'impostor pair')}"
    )
    for objective, loss in found.expected_first_losses.items():
        note(f"expected first loss of {objective}: {loss:.2f}")
    if found.duplicates or found.leaked:
        note(
            f"{count_of(found.duplicates, 'crop is', 'crops are')} there more than once "
            f"({count_of(found.conflicts, 'picture')} under several names); "
            f"{found.leaked:,} left out, since validation has them, too"
        )
    if found.validation_conflicts:
        pictures = count_of(found.validation_conflicts, "picture of validation is", "pictures of validation are")
        complain(f"{pictures} there under several names; the figures and thresholds will suffer, mend the names first")
    if found.unreadable:
        note(f"left out {count_of(len(found.unreadable), 'picture')}:")
        for reason in found.unreadable[:_SHOWN]:
            note(f"  {reason}")


def _progress_notes() -> Callable[[Progress], None]:
    """Says how it goes, not more often than can be read."""
    said_at = -_SECONDS_BETWEEN_NOTES
    said_of: Mapping[int, Figures] = {}

    def say(progress: Progress) -> None:
        nonlocal said_at, said_of
        if progress.figures != said_of:
            said_of = progress.figures
            for size_px, figures in progress.figures.items():
                tars = {"1e-2": figures.tar_at_1e2, "1e-3": figures.tar_at_1e3}
                known = "".join(f", TAR {tar:.1%} at FAR {far}" for far, tar in tars.items() if tar is not None)
                note(f"validation at {size_px} px: EER {figures.equal_error_rate:.1%}{known}")
        if time.monotonic() - said_at >= _SECONDS_BETWEEN_NOTES:
            said_at = time.monotonic()
            at, pace = progress.at, f"{progress.images_per_second:.0f} images/s"
            losses = ", ".join(f"{name} {loss:.4f}" for name, loss in progress.losses.items())
            note(
                f"{progress.share:6.1%}  step {at.step:,}  epoch {at.data.epoch}  {progress.size_px} px  "
                f"{losses}  {pace}  {_duration(progress.seconds_left)} left"
            )

    return say


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"


def _print_result(exported: Exported) -> None:
    record = exported.record
    print_line(f"weights: {record.file}")
    print_line(f"model card: {exported.card}")
    if not record.accuracy:
        note("the validation people are too few to measure anything on; measure the weights with 'lightface evaluate'")
    for figure, value in record.accuracy.items():
        print_line(f"{figure}: {value:.3f}")
    for far, threshold in exported.thresholds.items():
        print_line(f"threshold at FAR {far}: {threshold.estimate:.3f} ({threshold.low:.3f} to {threshold.high:.3f})")
